"""What recording and reading a trace costs, beside OpenTelemetry and `json.loads`, in one run.

    python benchmarks/bench_trace.py [--rounds 5] [--steps 1000000] [--json FILE]

Every ratio is the median over rounds in which the contestants take turns, in processor time (user and
system), on steps of about 614 bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from masfire.recorder import Recorder
from masfire.trace.io import TraceWriter, iter_records, scan
from masfire.trace.model import Action, Header, Observation, Step
from masfire.trace.payload import pack
from masfire.trace.redact import Redactor

TEXT = "Order 4711 is confirmed: two fountain pens, blue ink, to be delivered on Tuesday. "


def arguments(index: int) -> dict[str, object]:
    """Return the arguments of one tool call; with them a line has about 614 bytes."""
    return {
        "args": {
            "order": index, "sku": f"pen-{index % 97}", "amount": 2, "price": 12.5, "express": True,
            "note": TEXT * 2 + "Call\nbefore noon, please, or leave it.",
            "address": {"street": "Long Lane 12", "city": "Ghent"},
            "tags": ["blue", "gift", "repeat"], "customer": f"customer-{index % 1000}",
        }
    }  # fmt: skip


def attributes(index: int) -> dict[str, str | int | float | bool | list[str]]:
    """Return the same facts as a span carries them: flat, one attribute each."""
    return {
        "agent": "planner", "kind": "tool_call", "call": "call_12", "parent": 0, "order": index,
        "sku": f"pen-{index % 97}", "amount": 2, "price": 12.5, "express": True,
        "note": TEXT * 2 + "Call\nbefore noon, please, or leave it.", "address.street": "Long Lane 12",
        "address.city": "Ghent", "tags": ["blue", "gift", "repeat"], "customer": f"customer-{index % 1000}",
    }  # fmt: skip


def record_masfire(path: Path, count: int, start: int = 0) -> float:
    """Return seconds per step through recorder, context, redaction, checksum, lock and file."""
    header = Header(run="bench")
    recorder = Recorder(header, sink=TraceWriter(path, header, redactor=Redactor()))
    recorder.budget = type(recorder.budget)(steps=0, calls=0)
    began = time.process_time()
    for index in range(start, start + count):
        recorder.submit(
            "planner", Action("tool_call", "reserve", pack(arguments(index)), id="call_12"), parents=(0,)
        )
    spent = time.process_time() - began
    recorder.finish("completed")
    return spent / count


def record_spans(count: int) -> float:
    """Return seconds per OpenTelemetry span with the same facts and the in-memory exporter."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    tracer = provider.get_tracer("bench")
    began = time.process_time()
    for index in range(count):
        with tracer.start_as_current_span("reserve") as span:
            for name, value in attributes(index).items():  # one by one, like instrumentations do
                span.set_attribute(name, value)
    return (time.process_time() - began) / count


def write_file(path: Path, count: int) -> None:
    """Write a trace of `count` steps fast (without the recorder)."""
    with TraceWriter(path, Header(run="bench")) as writer:
        for index in range(count):
            body = Action("tool_call", "reserve", pack(arguments(index)), id="call_12")
            if index % 2:
                body = Observation("tool_result", "reserve", index - 1, pack(arguments(index)))
            writer.write(Step(index, 1700000000.25 + index, "planner", body, parents=(max(index - 1, 0),)))


def drain(records: object) -> None:
    """Consume an iterator."""
    for _ in records:  # type: ignore[attr-defined]
        pass


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.process_time()
    action()
    return time.process_time() - began


def load_json(path: Path) -> None:
    """Decode every line with the standard library."""
    with path.open("rb") as file:
        for line in file:
            json.loads(line)


LOAD = """
import json, resource, sys, time
from masfire.trace.io import read_trace
import masfire.trace.reader
def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
before = resident()
began = time.process_time()
trace = read_trace(sys.argv[1])
seconds = time.process_time() - began
print(json.dumps({"seconds": seconds, "rss": resident(), "grown": resident() - before, "n": len(trace)}))
"""


def load_apart(path: Path) -> dict[str, float]:
    """Load a whole trace in a process of its own; return seconds and resident bytes."""
    out = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True)
    loaded: dict[str, float] = json.loads(out.stdout)
    return loaded


def measure(rounds: int, steps: int, folder: Path) -> list[tuple[str, str, float, bool, str]]:
    """Return rows of (what, bar, measured ratio, passed, detail)."""
    median = statistics.median
    record_masfire(folder / "warm", 500)
    record_spans(500)
    ours, spans = [], []
    for _ in range(rounds):
        ours.append(record_masfire(folder / "run", 4000))
        spans.append(record_spans(4000))
    recording = median(a / b for a, b in zip(ours, spans, strict=True))

    mid = folder / "mid"
    write_file(mid, 50_000)
    size = mid.stat().st_size / 50_000
    plain, typed, seen = [], [], []
    for _ in range(rounds):
        plain.append(timed(lambda: load_json(mid)))
        typed.append(timed(lambda: drain(iter_records(mid))))
        seen.append(timed(lambda: drain(scan(mid))))
    verified = median(a / b for a, b in zip(plain, typed, strict=True))
    scanned = median(a / b for a, b in zip(plain, seen, strict=True))

    small, tenth, full = folder / "small", folder / "tenth", folder / "full"
    write_file(small, max(steps // 1000, 100))
    write_file(tenth, steps // 10)
    write_file(full, steps)
    loads = [(load_apart(tenth), load_apart(full)) for _ in range(rounds)]
    growth = median(big["seconds"] / little["seconds"] for little, big in loads)
    memory = median(big["rss"] for _, big in loads) / full.stat().st_size

    read_flat = []
    many = max(steps // 1000, 100)
    for _ in range(rounds):
        drain(iter_records(small))
        few = median(timed(lambda: drain(iter_records(small))) for _ in range(15)) / many
        read_flat.append(timed(lambda: drain(iter_records(full))) / steps / few)
    reading = median(read_flat)
    long_run = flat_recording(folder / "long", steps)
    us = 1e6
    return [
        ("record a step / OpenTelemetry span", "≤ 0.30", recording, recording <= 0.30,
         f"{median(ours) * us:.1f} / {median(spans) * us:.1f} µs a step"),
        ("`json.loads` / verified typed read", "≥ 2.5", verified, verified >= 2.5,
         f"{median(plain) / 50_000 * us:.2f} / {median(typed) / 50_000 * us:.2f} µs of {size:.0f} bytes"),
        ("`json.loads` / header scan", "≥ 5", scanned, scanned >= 5,
         f"{median(seen) / 50_000 * us:.2f} µs a step"),
        (f"load {steps:,} / {steps // 10:,} steps", "≤ 12", growth, growth <= 12,
         f"{median(big['seconds'] for _, big in loads):.2f} s"),
        ("resident memory / file", "≤ 4", memory, memory <= 4, f"{full.stat().st_size / 1e6:.0f} MB file"),
        (f"reading a step at {steps:,} / at {many:,}", "≤ 1.5", reading, reading <= 1.5, ""),
        (f"recording a step at {steps:,} / at 1,000", "≤ 1.5", long_run, long_run <= 1.5, ""),
    ]  # fmt: skip


def flat_recording(path: Path, steps: int) -> float:
    """Record one run of `steps` steps; return the cost of its last stretch over that of its first."""
    header = Header(run="bench")
    recorder = Recorder(header, sink=TraceWriter(path, header, redactor=Redactor()))
    recorder.budget = type(recorder.budget)(steps=0, calls=0)
    stretches = []
    stretch = max(steps // 200, 1000)
    for block in range(max(steps // stretch, 2)):
        began = time.process_time()
        for index in range(block * stretch, (block + 1) * stretch):
            recorder.submit("planner", Action("tool_call", "reserve", pack(arguments(index)), id="call_12"))
        stretches.append(time.process_time() - began)
    recorder.finish("completed")
    edge = max(len(stretches) // 20, 1)
    return statistics.median(stretches[-edge:]) / statistics.median(stretches[:edge])


def main() -> int:
    """Measure, print the table, return 1 when a bar is missed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--steps", type=int, default=1_000_000)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given.rounds, given.steps, Path(folder))
    print("| measure | bar | measured | | detail |\n|---|---|---|---|---|")
    for what, bar, ratio, passed, detail in rows:
        print(f"| {what} | {bar} | {ratio:.2f} | {'pass' if passed else 'FAIL'} | {detail} |")
    if given.json:
        result = {
            "python": platform.python_version(), "cpus": os.cpu_count(), "rounds": given.rounds,
            "steps": given.steps,
            "rows": [
                dict(zip(("measure", "bar", "ratio", "passed", "detail"), row, strict=True)) for row in rows
            ],
        }  # fmt: skip
        given.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return 0 if all(row[3] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
