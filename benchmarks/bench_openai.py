"""What masfire adds to an openai call over loopback, and what its patches cost when no run is active.

python benchmarks/bench_openai.py [--rounds 7] [--calls 200] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import openai

from masfire.recorder import Recorder, agent, paused
from masfire.session import _adapters, run

SERVER = '''
import asyncio
BODY = b"""{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":
{"role":"assistant","content":"a short answer"},"finish_reason":"stop","logprobs":null}],
"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}"""
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(BODY)
EVENT = b"""data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":
[{"index":0,"delta":{%s},"finish_reason":%s}]}""".replace(b"\\n", b"")
EVENTS = [EVENT % (b'"content":"word "', b"null")] * 30 + [EVENT % (b"", b'"stop"'), b"data: [DONE]"]
STREAM = b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
STREAM += b"".join(b"%x\\r\\n%s\\n\\n\\r\\n" % (len(event) + 2, event) for event in EVENTS) + b"0\\r\\n\\r\\n"
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            size = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            body = await reader.readexactly(size)
            writer.write(STREAM if b'"stream":true' in body else HEAD + BODY)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
'''  # its own process: the client's Python is not disturbed by the server's

MESSAGES: Any = [
    {"role": "system", "content": "You are a clerk who reads orders and answers briefly."},
    {"role": "user", "content": "Please order three brass desk lamps for the Zurich office by Friday. " * 3},
]


def call(client: openai.OpenAI, number: int, *, stream: bool) -> None:
    """Make one call whose prompt was never seen before; with `stream`, read its 32 events to the end."""
    messages = [MESSAGES[0], {"role": "user", "content": f"{MESSAGES[1]['content']} ({number})"}]
    if not stream:
        client.chat.completions.create(model="m", messages=messages)
        return
    for _ in client.chat.completions.create(model="m", messages=messages, stream=True):
        pass


class Times(NamedTuple):
    """How long a piece of work took, in microseconds: on the clock, and on the processor."""

    wall: float
    cpu: float


def timed(work: Callable[[], None]) -> Times:
    """Return how long `work` takes in this thread."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    work()
    return Times((time.perf_counter_ns() - wall) / 1000, (time.thread_time_ns() - cpu) / 1000)


def measure(rounds: int, calls: int, *, stream: bool) -> dict[str, float]:
    """Return medians over rounds, in microseconds; plain and recorded calls take turns in each."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    plain: list[float] = []
    recorded: list[float] = []
    cpu: list[float] = []
    share: list[float] = []
    try:
        with openai.OpenAI(base_url=url, api_key="k") as client, tempfile.TemporaryDirectory() as folder:
            for number in range(50):
                call(client, number, stream=stream)
            for number in range(rounds):
                with run(path=Path(folder) / f"{number}.jsonl", task="Order lamps") as r, agent("clerk"):
                    pairs = [_pair(client, r.recorder, turn, stream) for turn in range(calls)]
                plain.append(statistics.median(p.wall for p, _ in pairs))
                recorded.append(statistics.median(r.wall for _, r in pairs))
                own = statistics.median(p.cpu for p, _ in pairs)
                cpu.append(statistics.median(r.cpu for _, r in pairs) - own)
                share.append(cpu[-1] / own)
    finally:
        server.terminate()
        server.wait()
    return {
        "plain_us": statistics.median(plain),
        "recorded_us": statistics.median(recorded),
        "added_us": statistics.median(r - p for r, p in zip(recorded, plain, strict=True)),
        "added_cpu_us": statistics.median(cpu),
        "added_cpu_share": statistics.median(share),
    }


def _pair(client: openai.OpenAI, recorder: Recorder, turn: int, stream: bool) -> tuple[Times, Times]:
    """Return the times of a plain and a recorded call, taken in changing order."""
    times = {}
    for active in (False, True) if turn % 2 else (True, False):
        with contextlib.nullcontext() if active else paused(recorder):
            times[active] = timed(lambda: call(client, turn, stream=stream))
    return times[False], times[True]


class _Stub:
    """Stands in for an HTTP client, so that only the wrapper around `send` is timed."""


def inactive_us(repeats: int = 20_000) -> float:
    """Return what the installed patch adds to one `Client.send` while no run is active."""
    import httpx2

    def nothing(self: Any, request: Any, *, stream: bool = False, **options: Any) -> None:
        return None

    original = httpx2.Client.send
    httpx2.Client.send = nothing  # type: ignore[method-assign, assignment]
    try:
        bare = _per_call(httpx2.Client.send, repeats)
        with _adapters().installed():
            patched = _per_call(httpx2.Client.send, repeats)
    finally:
        httpx2.Client.send = original  # type: ignore[method-assign]
    return patched - bare


def _per_call(send: Any, repeats: int) -> float:
    stub = _Stub()
    started = time.perf_counter_ns()
    for _ in range(repeats):
        send(stub, None, stream=False)
    return (time.perf_counter_ns() - started) / 1000 / repeats


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--calls", type=int, default=200)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    whole = measure(chosen.rounds, chosen.calls, stream=False)
    streamed = measure(chosen.rounds, chosen.calls, stream=True)
    inactive = statistics.median(inactive_us() for _ in range(chosen.rounds))
    if chosen.json:
        both = {**whole, **{f"streamed_{key}": value for key, value in streamed.items()}}
        print(json.dumps({**both, "inactive_us": inactive}))
        return
    print("| openai call (sync, loopback), µs | not streamed | bar | streamed (32 events) | bar |")
    print("|---|---|---|---|---|")
    print(f"| without masfire | {whole['plain_us']:.0f} | | {streamed['plain_us']:.0f} | |")
    print(f"| recorded to a file | {whole['recorded_us']:.0f} | | {streamed['recorded_us']:.0f} | |")
    print(f"| added | {whole['added_us']:.0f} | ≤ 150 | {streamed['added_us']:.0f} | ≤ 400 |")
    print(f"| … processor time | {whole['added_cpu_us']:.0f} | | {streamed['added_cpu_us']:.0f} | |")
    shares = f"{whole['added_cpu_share']:.2f} | | {streamed['added_cpu_share']:.2f}"
    print(f"| … as a share of the call's own | {shares} | |")
    print(f"\nWith no run active, the patch adds {inactive:.2f} µs to `Client.send` (bar: ≤ 1).")


if __name__ == "__main__":
    main()
