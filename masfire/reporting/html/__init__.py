"""A campaign on one page that needs no network."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from masfire.campaign.results import RunResult
from masfire.campaign.summary import CellSummary, Summary
from masfire.errors import MissingDependency
from masfire.reporting import words
from masfire.reporting.printable import printable

_TEMPLATE = Path(__file__).with_name("page.html.j2")


class Square(Struct, frozen=True):
    """A cell as the heat map shows it; `shade` is 0 (nothing survived) to 100, None without data."""

    anchor: str
    cell: CellSummary
    shade: float | None
    first: str
    second: str
    title: str
    runs: tuple[dict[str, Any], ...]


def write_page(summary: Summary, results: Sequence[RunResult], path: Path) -> None:
    """Write the page to `path`, atomically; links lead to ``traces/`` beside it.

    Raise MissingDependency when Jinja2 is not installed.
    """
    text = render(summary, results)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def render(summary: Summary, results: Sequence[RunResult]) -> str:
    """Return the page as text. Everything that a system or a model wrote is escaped."""
    try:
        import jinja2
    except ImportError:
        raise MissingDependency(
            "report.html was not written: Jinja2 is not installed.", hint="Run: pip install 'masfire[report]'"
        ) from None
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["printable"] = printable
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    by_id = {result.id: result for result in results}
    controls = {(result.system, result.task, result.seed): result for result in results if result.control}
    squares = {
        (cell.fault, cell.times, cell.system): _square(index, cell, by_id, controls)
        for index, cell in enumerate(summary.cells)
    }
    return template.render(
        summary=summary,
        headline=words.headline(summary),
        remarks=words.remarks(summary),
        rows=[
            {
                "fault": fault,
                "times": times,
                "squares": [squares[fault, times, system.name] for system in summary.systems],
                "states": words.counts(words.states_of(summary, fault, times)),
            }
            for fault, times in words.rows(summary)
        ],
        squares=list(squares.values()),
        controls=[_control_runs(system.name, results) for system in summary.systems],
        number=words.number,
        against=functools.partial(words.against_control, summary),
        interval=words.interval,
        counts=words.counts,
        when=datetime.fromtimestamp(summary.created, UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _square(
    index: int,
    cell: CellSummary,
    by_id: dict[str, RunResult],
    controls: dict[tuple[str, str, int], RunResult],
) -> Square:
    first, second = words.cell_lines(cell)
    found = [by_id[run] for run in cell.runs if run in by_id]
    title = f"{cell.fault}, {cell.times}, on {cell.system}: {first} {second}"
    return Square(
        anchor=f"cell-{index}",
        cell=cell,
        shade=None if cell.rs.rate is None else round(100 * cell.rs.rate, 1),
        first=first,
        second=second,
        title=title,
        runs=tuple(_run(result, controls.get((result.system, result.task, result.seed))) for result in found),
    )


def _control_runs(system: str, results: Sequence[RunResult]) -> dict[str, Any]:
    own = [_run(result, None) for result in results if result.control and result.system == system]
    return {"system": system, "runs": sorted(own, key=lambda run: (run["task"], run["seed"]))}


def _run(result: RunResult, control: RunResult | None) -> dict[str, Any]:
    command = ["masfire", "run", "plan.yaml", "--system", result.system, "--task", result.task]
    command += ["--fault", result.address] if result.address else []
    return {
        "task": result.task,
        "seed": result.seed,
        "address": result.address,
        "state": result.state.replace("_", " "),
        "reason": result.reason,
        "place": f"{result.agent} #{result.step}" if result.step >= 0 else "",
        "outcome": _outcome(result),
        "before": _outcome(control) if control else "",
        "lost": bool(control and control.success and result.success is False),
        "steps": result.steps,
        "calls": result.calls,
        "seconds": result.seconds,
        "trace": f"traces/{result.trace}",
        "id": result.id,
        "error": result.error,
        "replay": shlex.join([*command, "--seed", str(result.seed)]),
    }


def _outcome(result: RunResult) -> str:
    if result.success is None:
        return "not judged"
    verdict = "solved" if result.success else "failed"
    return verdict if result.status == "completed" else f"{verdict} ({result.status})"
