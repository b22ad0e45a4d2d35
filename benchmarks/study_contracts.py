"""Which contract notices which fault: stored runs of a campaign, judged by the packs.

    masfire campaign examples/order_desk/study.yaml --out DIR
    python benchmarks/study_contracts.py DIR [DIR…] [--readme]

Judges every stored trace, blind, by all packs and by the order desk's own contracts; writes
benchmarks/results/study_contracts.json (counts) and study_contracts.md (tables). `--readme` also renews
the table in README.md. Without a folder the committed counts are rendered again.

The packs were tuned on the runs of tasks with an even number; the others are reported (`--half even`
shows the former), so that no number comes from a run that a contract was written with in view.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "study_contracts.json"
REPORT = HERE / "results" / "study_contracts.md"
README = HERE.parent / "README.md"
DOMAIN = HERE.parent / "examples" / "order_desk" / "contracts.yaml"
BEGIN, END = "<!-- begin:contracts -->", "<!-- end:contracts -->"
STUB = "~stub"
HALVES = {"even": 0, "odd": 1}


def main() -> None:
    """Judge stored campaigns, or render the committed counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="CAMPAIGN_FOLDER")
    parser.add_argument("--readme", action="store_true", help="renew the table in README.md")
    parser.add_argument(
        "--half", choices=sorted(HALVES), default="odd", help="tasks by number (default: odd)"
    )
    parser.add_argument("--print", action="store_true", dest="shown", help="print the tables, write nothing")
    asked = parser.parse_args()
    found = study(asked.folders, asked.half) if asked.folders else json.loads(RESULTS.read_text("utf-8"))
    if asked.shown:
        sys.stdout.write(report(found))
        return
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    REPORT.write_text(report(found), "utf-8")
    if asked.readme:
        README.write_text(renewed(README.read_text("utf-8"), found), "utf-8")
    print(f"{found['runs']} runs, {len(found['contracts'])} contracts: {REPORT}")


def study(folders: list[Path], half: str) -> dict[str, Any]:
    """Return how often each contract was violated, per system, fault and times, and on clean runs."""
    from masfire import __version__
    from masfire.contracts.engine import judge
    from masfire.contracts.loader import load_contracts, pack
    from masfire.trace.io import read_trace

    packs = sorted(path.stem for path in (HERE.parent / "contracts").glob("*.yaml"))
    sets = {**{name: pack(name) for name in packs}, "order_desk": load_contracts(DOMAIN)}
    contracts = tuple(contract for name in sets for contract in sets[name])
    cells: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    clean: dict[tuple[str, bool], Counter[str]] = defaultdict(Counter)
    steps, began = 0, time.process_time()
    for row, path in _rows(folders, half):
        trace = read_trace(path).blind()
        steps += len(trace)
        verdicts = judge(trace, contracts)
        counts = (
            cells[row.system, row.fault, row.times] if row.fault else clean[row.system, bool(row.success)]
        )
        counts["n"] += 1
        said = {(v.contract, v.status.value) for v in verdicts}
        counts.update(f"{status}:{name}" for name, status in said if status in ("violated", "inconclusive"))
        errors = {v.contract for v in verdicts if v.severity == "error" and v.status.value == "violated"}
        for group, own in (("packs", packs), ("all", list(sets))):
            if errors & {contract.id for name in own for contract in sets[name]}:
                counts[f"any:{group}"] += 1
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": "python benchmarks/study_contracts.py DIR --readme",
        "version": __version__,
        "half": half,
        "runs": sum(counts["n"] for counts in (*cells.values(), *clean.values())),
        "steps": steps,
        "seconds": round(time.process_time() - began, 1),
        "contracts": [
            {"id": c.id, "set": name, "catches": list(c.catches), "severity": c.severity}
            for name, own in sets.items()
            for c in own
        ],
        "cells": [
            {"system": system, "fault": fault, "times": times, **_split(counts)}
            for (system, fault, times), counts in sorted(cells.items())
        ],
        "clean": [
            {"system": system, "solved": solved, **_split(counts)}
            for (system, solved), counts in sorted(clean.items())
        ],
    }  # fmt: skip


def _rows(folders: list[Path], half: str) -> Iterator[tuple[Any, Path]]:
    """Yield the runs to judge: fault-free ones, and those whose fault was seen to arrive."""
    from masfire.campaign.results import Results

    for folder in folders:
        with Results(folder / "results.sqlite", readonly=True) as results:
            rows = [row for row in results if row.trace and (row.control or row.state == "witnessed")]
        for row in rows:
            if int(row.task.rsplit("-", 1)[-1]) % 2 == HALVES[half]:
                yield row, folder / "traces" / row.trace


def _split(counts: Counter[str]) -> dict[str, Any]:
    parts: dict[str, Any] = {"n": counts["n"], "any": counts["any:packs"], "any_domain": counts["any:all"]}
    for status in ("violated", "inconclusive"):
        mark = f"{status}:"
        parts[status] = {
            key.removeprefix(mark): count for key, count in sorted(counts.items()) if key.startswith(mark)
        }
    return parts


def table(found: dict[str, Any], *, stub: bool = False, sets: set[str] | None = None) -> str:
    """Return contract x fault in per cent of the witnessed runs, with the alarms on clean runs beside it."""
    faults, names = _faults()
    cells = [c for c in found["cells"] if c["system"].endswith(STUB) is stub]
    clean = [c for c in found["clean"] if c["system"].endswith(STUB) is stub]
    by_fault = {name: [c for c in cells if c["fault"].split("?")[0] == name] for name in faults}
    head = ["contract", *(names[name] for name in faults), "clean, solved", "clean, not solved"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---|" * (len(head) - 1)]
    whole = [("any of the packs", "any", ()), ("any, with the desk's own", "any_domain", ())]
    for contract in found["contracts"]:
        name = contract["id"]
        hit = any(name in c["violated"] for c in cells + clean)
        if (sets is None or contract["set"] in sets) and (hit or contract["catches"]):
            whole.append((f"`{contract['set']}/{name}`", name, tuple(contract["catches"])))
    for label, name, catches in whole:
        row = [label]
        for fault in faults:
            text = _share(by_fault[fault], name)
            row.append(f"**{text}**" if fault in catches and text else text)
        row += [_count([c for c in clean if c["solved"] is solved], name) for solved in (True, False)]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def short_table(found: dict[str, Any]) -> str:
    """Return one row a fault: how often anything noticed it, and the contracts that did (10 % and more)."""
    faults, names = _faults()
    cells = [c for c in found["cells"] if not c["system"].endswith(STUB)]
    clean = [c for c in found["clean"] if not c["system"].endswith(STUB)]
    lines = [
        "| fault | runs | packs, % | with the desk's own, % | noticed by, % of the runs |",
        "|---|---|---|---|---|",
    ]
    for fault in faults:
        runs = [c for c in cells if c["fault"].split("?")[0] == fault]
        told = []
        for contract in found["contracts"]:
            hits, n = _hits(runs, contract["id"])
            if hits and hits / n >= 0.1:
                text = f"`{contract['id']}` {100 * hits / n:.0f}"
                told.append((-hits, f"**{text}**" if fault in contract["catches"] else text))
        row = (_share(runs, "any") or "0", _share(runs, "any_domain") or "0")
        n = sum(c["n"] for c in runs)
        lines.append(f"| {names[fault]} `{fault}` | {n} | {row[0]} | {row[1]} | {_joined(told)} |")
    for label, solved in (("none, solved", True), ("none, not solved", False)):
        runs = [c for c in clean if c["solved"] is solved]
        told = [
            (-hits, f"`{contract['id']}` {hits}")
            for contract in found["contracts"]
            if (hits := _hits(runs, contract["id"])[0])
        ]
        n = sum(c["n"] for c in runs)
        row = (_count(runs, "any"), _count(runs, "any_domain"))
        lines.append(f"| {label} (counts) | {n} | {row[0]} | {row[1]} | {_joined(told)} |")
    return "\n".join(lines)


def _joined(told: list[tuple[int, str]]) -> str:
    return ", ".join(text for _, text in sorted(told, key=lambda each: each[0])) or "-"


def _faults() -> tuple[list[str], dict[str, str]]:
    from masfire.taxonomy import load

    entries = load().entries
    return [entry.name for entry in entries], {entry.name: entry.id for entry in entries}


def _hits(cells: list[dict[str, Any]], name: str) -> tuple[int, int]:
    hits = sum(c[name] if name in ("any", "any_domain") else c["violated"].get(name, 0) for c in cells)
    return hits, sum(c["n"] for c in cells)


def _share(cells: list[dict[str, Any]], name: str) -> str:
    hits, n = _hits(cells, name)
    if not n:
        return "-"
    return f"{100 * hits / n:.0f}" if hits else ""


def _count(cells: list[dict[str, Any]], name: str) -> str:
    hits, n = _hits(cells, name)
    return f"{hits}/{n}"


def report(found: dict[str, Any]) -> str:
    """Return the whole report as Markdown."""
    n = dict.fromkeys(_faults()[0], 0)
    for cell in found["cells"]:
        n[cell["fault"].split("?")[0]] += 0 if cell["system"].endswith(STUB) else cell["n"]
    speed = found["seconds"] / max(found["steps"], 1) * 1e6
    lines = [
        "# Study: which contract notices which fault",
        "",
        f"{found['date']}, `{found['command']}`, masfire {found['version']}: {found['runs']} stored runs",
        f"of the fault study (tasks with an {found['half']} number; the packs were tuned on the others),",
        f"judged blind by {len(found['contracts'])} contracts; {speed:.0f} µs of CPU a step.",
        "",
        "A number is the share (per cent) of the runs with that fault, witnessed, in which the contract was",
        f"violated: {_span(n)} runs a fault over five systems, once and every time. Empty: never. Bold:",
        "the contract says that it is meant to notice this fault. The last columns count violations on",
        "fault-free runs: on solved ones they are false alarms; of those on runs that the small model failed",
        "by itself many are true. *Any* counts contracts of severity `error` only. Role ambiguity and blind",
        "trust are noticed by the wording of system prompts, which is regular here: other wordings may pass.",
        "",
        "## With the model",
        "",
        short_table(found),
        "",
        "### Contract by contract",
        "",
        table(found),
        "",
        "## With the perfect copier in the model's place",
        "",
        table(found, stub=True),
        "",
        "## False alarms a system (fault-free, solved)",
        "",
        "| system | runs | any of the packs | violated |",
        "|---|---|---|---|",
    ]
    for cell in found["clean"]:
        if cell["solved"]:
            told = ", ".join(f"{name} {count}" for name, count in cell["violated"].items()) or "-"
            lines.append(f"| {cell['system']} | {cell['n']} | {cell['any']} | {told} |")
    unclear = Counter[str]()
    for cell in (*found["cells"], *found["clean"]):
        unclear.update(cell["inconclusive"])
    lines += ["", "## Inconclusive", ""]
    lines += [f"- `{name}`: {count} runs" for name, count in unclear.most_common()] or ["None."]
    return "\n".join(lines) + "\n"


def _span(counts: dict[str, int]) -> str:
    few, most = min(counts.values()), max(counts.values())
    return str(few) if few == most else f"{few} to {most}"


def renewed(readme: str, found: dict[str, Any]) -> str:
    """Return the README with the table between its contract markers renewed."""
    head, rest = readme.split(BEGIN)
    return f"{head}{BEGIN}\n{short_table(found)}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    main()
