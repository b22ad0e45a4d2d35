"""The terminal section at the end: what was injected, witnessed and survived; how to replay failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from masfire.pytest_plugin import contracts
from masfire.pytest_plugin.excerpt import shown
from masfire.pytest_plugin.expansion import CLEAN
from masfire.pytest_plugin.settings import Settings

WITNESSED = "witnessed"


def render(
    terminal: Any,
    results: Sequence[dict[str, Any]],
    settings: Settings,
    notes: Sequence[dict[str, Any]] = (),
) -> None:
    """Write the section to pytest's terminal reporter; nothing with --masfire-report=none."""
    if settings.report == "none":
        return
    terminal.section("masfire")
    for line in table(results):
        terminal.write_line(line)
    for line in contracts.summary(notes):
        terminal.write_line(line)
    for run in results:
        if settings.report != "all" and survived(run):
            continue
        terminal.write_line("")
        terminal.write_line(_run_line(run), red=not survived(run))
        if run["trace"]:
            terminal.write_line(f"  trace:  {run['trace']}")
        if not survived(run):
            terminal.write_line(f"  replay: {run['replay']}")
    if any(run["trace"] for run in results):
        terminal.write_line("")
        terminal.write_line(f"traces: {shown(settings.directory)}")


def survived(run: dict[str, Any]) -> bool:
    """Return whether the run's block raised nothing, and its test did not fail or did so by another run."""
    return bool(run["ok"]) and (bool(run["cleared"]) or run["outcome"] != "failed")


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a table: a row per fault (controls first), how many runs ended how."""
    rows: dict[str, Counter[str]] = {}
    for run in results:
        for fault in run["faults"] or [{"address": CLEAN, "state": WITNESSED}]:
            row = rows.setdefault(fault["address"], Counter())
            row["runs"] += 1
            row["injected"] += fault["state"] in ("injected", WITNESSED) and fault["address"] != CLEAN
            row["witnessed"] += fault["state"] == WITNESSED and fault["address"] != CLEAN
            row["survived"] += fault["state"] == WITNESSED and survived(run)
            if fault["state"] not in ("injected", WITNESSED):
                row[fault["state"]] += 1
    names = sorted(rows, key=lambda name: (name != CLEAN, name))
    width = max(len("fault"), *(len(name) for name in names))
    lines = [f"{'fault':<{width}}  {'runs':>5}  {'injected':>8}  {'witnessed':>9}  survived"]
    for name in names:
        row = rows[name]
        clean = name == CLEAN
        of = row["runs"] if clean else row["witnessed"]
        rest = ", ".join(
            f"{count} {state}" for state, count in row.items() if state not in _COLUMNS and count
        )
        lines.append(
            f"{name:<{width}}  {row['runs']:>5}  {'-' if clean else row['injected']:>8}  "
            f"{'-' if clean else row['witnessed']:>9}  {row['survived']} of {of}"
            f"{f'  ({rest})' if rest else ''}"
        )
    return lines


_COLUMNS = ("runs", "injected", "witnessed", "survived")


def _run_line(run: dict[str, Any]) -> str:
    faults = ", ".join(f"{fault['address']} {fault['state']}" for fault in run["faults"]) or CLEAN
    end = "survived" if survived(run) else "failed"
    return f"{shown(run['nodeid'])}: {faults}, seed {run['seed']}, {end}"
