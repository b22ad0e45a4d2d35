"""Failed runs as tests: a pytest file, with the plan beside it, that fails while a failure still happens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from masfire.campaign.planfile import dump_plan, load_plan
from masfire.errors import MasfireError
from masfire.trace.model import Trace

Cell = tuple[str, str, str, str, str, int]
"""Plan and campaign folder as seen from the tests, system, task, fault address, seed."""


class Written(Struct, frozen=True):
    """What was written: the files, how many tests they hold, and (run, why) of runs without a test."""

    files: tuple[Path, ...] = ()
    tests: int = 0
    left: tuple[tuple[str, str], ...] = ()


def write_regression_tests(found: Iterable[tuple[Path, Trace]], target: Path) -> Written:
    """Write a pytest file at `target` that runs each failed run's cell again; return what came of it.

    `found` are trace files with their traces. Each plan is copied beside the tests, so that these need no
    results folder; where that folder is still there its controls and reply cache are used. Runs recorded by
    a test of one's own are named in a comment with the command that repeats them. Nothing is written when
    there is nothing to test.
    """
    cells: dict[Cell, None] = {}
    commands: dict[str, None] = {}
    left: list[tuple[str, str]] = []
    plans: dict[Path, Path] = {}
    for path, trace in found:
        launch, run = trace.header.launch, trace.header.run
        if "pytest" in launch:
            commands[f"#   pytest {str(launch['pytest'])!r}"] = None
            continue
        if "plan" not in launch:
            left.append((run, "its trace does not say how it was started"))
            continue
        source = (path.parent / str(launch["plan"])).resolve()
        try:
            copied = plans.get(source) or _copied(source, target, len(plans))
        except MasfireError as error:
            left.append((run, " ".join(str(error).split())))
            continue
        plans[source] = copied
        cells[_cell(launch, copied, source, target)] = None
    if not cells and not commands:
        return Written(left=tuple(left))
    target.parent.mkdir(parents=True, exist_ok=True)
    own = ["", "# Recorded by tests of your own, which are their regression tests:", *commands]
    rows = [f"    {cell!r}," for cell in cells]
    body = [_HEAD, "CELLS = [", *rows, "]", _TEST] if cells else [_ALONE]
    target.write_text("\n".join([*body, *(own if commands else []), ""]), encoding="utf-8")
    return Written((target, *plans.values()), len(cells), tuple(left))


def _copied(source: Path, target: Path, count: int) -> Path:
    """Copy a plan beside the tests, its root still where it was; raise MasfireError for one that is none."""
    plan = load_plan(source)
    copy = target.with_name(f"{target.stem}{f'-{count + 1}' if count else ''}.plan.yaml")
    target.parent.mkdir(parents=True, exist_ok=True)
    dump_plan(plan, copy)
    return copy


def _cell(launch: dict[str, Any], plan: Path, source: Path, target: Path) -> Cell:
    return (
        plan.name,
        os.path.relpath(source.parent, target.parent.resolve()),
        str(launch["system"]),
        str(launch["task"]),
        str(launch.get("fault", "")),
        int(launch["seed"]),
    )


_ALONE = '''"""Failures that masfire has learnt from."""'''

_HEAD = '''"""Failures that masfire has learnt from: each test fails while its failure still happens."""

import shlex
from pathlib import Path

import pytest

from masfire.campaign.planfile import load_plan
from masfire.campaign.single import run_cell

# plan, campaign (its controls and replies are used while it is there), system, task, fault address, seed'''

_TEST = """

@pytest.mark.parametrize(("plan", "campaign", "system", "task", "fault", "seed"), CELLS)
def test_it_does_not_happen_again(plan, campaign, system, task, fault, seed, tmp_path):
    here, out = Path(__file__).parent, tmp_path / "run.jsonl"
    plan = here / plan
    result = run_cell(
        load_plan(plan), system, task, out=out, fault=fault, seed=seed, folder=here / campaign, source=plan
    )
    if not result.success:
        under = f"under the fault {fault}" if fault else "without any fault"
        words = ["masfire", "run", plan, "--system", system, "--task", task, "--seed", seed]
        words += ["--fault", fault] if fault else []
        pytest.fail(
            f"{system} fails {task} again, {under}, seed {seed}: {result.error or result.status}\\n"
            f"trace:  {out}\\n"
            f"why:    masfire diagnose {shlex.quote(str(out))} --contracts all\\n"
            f"replay: {shlex.join(map(str, words))}",
            pytrace=False,
        )"""
