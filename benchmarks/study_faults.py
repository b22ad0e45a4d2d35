"""The fault study: five systems, 15 faults, once and every time, the model beside a perfect copier.

    masfire campaign examples/order_desk/study.yaml --out DIR
    python benchmarks/study_faults.py DIR

reads DIR/summary.json and writes benchmarks/results/study_faults.json (the counts) and
study_faults.md (the tables with intervals). `--readme` also renews the short table in README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "study_faults.json"
REPORT = HERE / "results" / "study_faults.md"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- begin:study -->", "<!-- end:study -->"
TITLES = {"once": "The fault strikes once", "every": "The fault strikes every time"}
STUB = "~stub"
ALPHA = 0.05


def main() -> None:
    """Turn a finished campaign into committed results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "folder", type=Path, nargs="?", help="campaign folder; default: render the committed counts"
    )
    parser.add_argument("--readme", action="store_true", help="renew the table in README.md")
    asked = parser.parse_args()
    if asked.folder is not None:
        found = distil(json.loads((asked.folder / "summary.json").read_text("utf-8")))
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    found = json.loads(RESULTS.read_text("utf-8"))
    REPORT.write_text(report(found), "utf-8")
    if asked.readme:
        README.write_text(renewed(README.read_text("utf-8"), found), "utf-8")
    print(
        f"{sum(cell['n'] for cell in found['cells'])} witnessed runs in {len(found['cells'])} cells: {REPORT}"
    )


def distil(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what is worth keeping of a campaign's summary: counts, not run ids."""
    return {
        "date": datetime.datetime.fromtimestamp(summary["created"], datetime.UTC).date().isoformat(),
        "command": "make study-faults",
        "version": summary["version"],
        "complete": summary["complete"],
        "wanted": summary["wanted"],
        "runs": summary["runs"],
        "controls": summary["controls"],
        "model": summary["model"],
        "systems": [
            {"name": s["name"], "tasks": s["tasks"], "solved": len(s["solved"]), "control": s["control"]}
            for s in summary["systems"]
        ],
        "cells": [
            {
                "system": c["system"], "fault": c["fault"], "times": c["times"],
                "verdict": c["verdict"], "kept": c["rs"]["successes"], "n": c["rs"]["n"],
                "low": c["rs"]["low"], "high": c["rs"]["high"],
                "states": c["states"], "endings": c["endings"],
            }
            for c in summary["cells"]
        ],
    }  # fmt: skip


def short_table(found: dict[str, Any], times: str) -> str:
    """Return fault x system, kept / witnessed with the model and, in brackets, with the copier."""
    systems = [s["name"] for s in found["systems"] if not s["name"].endswith(STUB)]
    cells = {(c["system"], c["fault"]): c for c in found["cells"] if c["times"] == times}
    lines = [
        f"| {TITLES[times].lower()} | " + " | ".join(systems) + " |",
        "|---|" + "---|" * len(systems),
    ]
    for fault in dict.fromkeys(c["fault"] for c in found["cells"] if c["times"] == times):
        row = [_cell(cells.get((name, fault)), cells.get((name + STUB, fault))) for name in systems]
        lines.append(f"| {fault} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def report(found: dict[str, Any]) -> str:
    """Return the whole report as Markdown."""
    model = found["model"]
    lines = [
        "# Study: 15 faults on five order desks",
        "",
        f"{found['date']}, `{found['command']}`, masfire {found['version']}, model {model['name']} "
        f"at temperature {model['temperature']}, {found['runs']} injected runs "
        f"and {found['controls']} fault-free ones{'' if found['complete'] else ' (NOT COMPLETE)'}. Replies: "
        + ", ".join(f"{count} from {source}" for source, count in model["replies"].items())
        + " (the reply cache is on; repeats under other seeds miss it).",
        "",
        "A cell reads *kept / witnessed (copier: kept / witnessed)*: of the runs in which the fault was seen",
        "to arrive, on tasks that the fault-free system solves, how many were still solved. The copier is a",
        "stub that copies from its prompt without error; where both agree, the result says something about",
        f"the system's code, not about the model. Cells in bold differ (Fisher's exact test, p < {ALPHA},",
        "not corrected for the number of cells).",
        "",
        "| system | tasks | solved fault-free by the model | RS_control | solved by the copier |",
        "|---|---|---|---|---|",
    ]
    by_name = {s["name"]: s for s in found["systems"]}
    for name, system in by_name.items():
        if not name.endswith(STUB):
            stub = by_name.get(name + STUB, {"solved": "-"})
            lines.append(
                f"| {name} | {system['tasks']} | {system['solved']} | {_rate(system['control'])} "
                f"| {stub['solved']} |"
            )
    for times in TITLES:
        if any(c["times"] == times for c in found["cells"]):
            lines += ["", f"## {TITLES[times]}", "", short_table(found, times)]
    lines += ["", "## Where model and copier differ", "", *_differences(found)]
    lines += ["", "## Intervals (Wilson, 95 %) and states", ""]
    lines += [
        "| system | fault | times | kept/n | interval | states | endings |",
        "|---|---|---|---|---|---|---|",
    ]
    for c in found["cells"]:
        span = "-" if c["low"] is None else f"{c['low']:.0%}-{c['high']:.0%}"
        lines.append(
            f"| {c['system']} | {c['fault']} | {c['times']} | {c['kept']}/{c['n']} | {span} | "
            f"{_counts(c['states'])} | {_counts(c['endings'])} |"
        )
    return "\n".join(lines) + "\n"


def renewed(readme: str, found: dict[str, Any]) -> str:
    """Return the README with the tables between its study markers renewed."""
    head, rest = readme.split(BEGIN)
    tail = rest.split(END)[1]
    tables = "\n\n".join(
        short_table(found, t) for t in TITLES if any(c["times"] == t for c in found["cells"])
    )
    return f"{head}{BEGIN}\n{tables}\n{END}{tail}"


def fisher(a: int, b: int, c: int, d: int) -> float:
    """Return Fisher's exact two-sided p of the table [[a, b], [c, d]]."""
    row, column, n = a + b, a + c, a + b + c + d

    def p(x: int) -> float:
        return math.comb(row, x) * math.comb(n - row, column - x) / math.comb(n, column)

    here = p(a)
    return min(
        1.0,
        sum(
            q
            for x in range(max(0, column - (n - row)), min(row, column) + 1)
            if (q := p(x)) <= here * (1 + 1e-9)
        ),
    )


def _differs(cell: dict[str, Any], stub: dict[str, Any]) -> bool:
    return bool(cell["n"] and stub["n"]) and (
        fisher(cell["kept"], cell["n"] - cell["kept"], stub["kept"], stub["n"] - stub["kept"]) < ALPHA
    )


def _differences(found: dict[str, Any]) -> list[str]:
    cells = {(c["system"], c["fault"], c["times"]): c for c in found["cells"]}
    pairs = [(c, cells.get((s + STUB, f, t))) for (s, f, t), c in cells.items() if not s.endswith(STUB)]
    both = [(cell, stub) for cell, stub in pairs if stub and cell["n"] and stub["n"]]
    differing = [(cell, stub) for cell, stub in both if _differs(cell, stub)]
    lines = [f"{len(differing)} of {len(both)} cells."]
    for cell, stub in differing:
        lines.append(
            f"- {cell['system']}, {cell['fault']}, {cell['times']}: model {cell['kept']}/{cell['n']}, "
            f"copier {stub['kept']}/{stub['n']}"
        )
    return lines


def _cell(cell: dict[str, Any] | None, stub: dict[str, Any] | None) -> str:
    if cell is None:
        return "-"
    if cell["verdict"] == "inapplicable":
        return "inapplicable"
    own = f"{cell['kept']}/{cell['n']}"
    if stub is None:
        return own
    text = f"{own} ({stub['kept']}/{stub['n']})"
    return f"**{text}**" if _differs(cell, stub) else text


def _rate(rate: dict[str, Any]) -> str:
    return (
        "-"
        if rate["rate"] is None
        else f"{rate['rate']:.0%} (n {rate['n']}, {rate['low']:.0%}-{rate['high']:.0%})"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


if __name__ == "__main__":
    main()
