"""What the failed runs of a folder teach: schemata, notes on trial, and tests that reproduce the failures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from masfire.campaign.rerun import Rerunner
from masfire.campaign.results import Results, RunResult
from masfire.campaign.runner import RESULTS_FILE, TRACES
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual
from masfire.diagnosis.evidence import Provenance
from masfire.diagnosis.model import Attribution, Layer
from masfire.diagnosis.recognition import SchemaEvidence
from masfire.errors import UsageError
from masfire.knowledge.distill import RuleDistiller
from masfire.knowledge.memory import Memory
from masfire.knowledge.model import Item, MistakeNote
from masfire.knowledge.notebook import Failure, Notebook, judge
from masfire.knowledge.replaying import Stored, replay
from masfire.knowledge.traits import traits_of
from masfire.knowledge.wording import ModelDistiller, reworded
from masfire.recorder import Interceptor, PerRun
from masfire.recovery import NotesInRequests, rewriter
from masfire.recovery.blaming import failure_of
from masfire.recovery.habits import habits_of
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

Way = Literal["prompt", "rewrite"]
"""How a note is used: in the agents' prompts, or to rewrite what they propose."""
CONTROLS = 8
"""Runs that passed, enrolled in each trial beside the failed ones: a note must not break them."""
HELD_OUT = 4


class Failed(Struct, frozen=True):
    """One failed run, diagnosed: whose fault it was, and whether the memory knew the error already.

    `known` is the id of the schema that it recurs ("" when it is new); `failure` is None when the
    diagnosis does not tell.
    """

    path: Path
    trace: Trace
    attribution: Attribution
    failure: Failure | None
    known: str = ""


class Lesson(Struct, frozen=True):
    """What `learn` made: counts of failed and undiagnosed runs, recurrences, schemata and notes."""

    failed: int
    unknown: int
    recurrences: tuple[tuple[str, str], ...]
    schemata: tuple[str, ...]
    notes: tuple[MistakeNote, ...]


def failures(
    folder: Path, memory: Memory, *, only: Callable[[Trace], bool] = lambda trace: True
) -> Iterator[Failed]:
    """Yield every failed run of a campaign folder, or of a folder of traces, diagnosed blindly.

    A campaign's solved control of the same system, task and seed is the clean twin to compare with.
    Only runs that a check refused count as failed; those that nobody judged are passed over, as are
    those that `only` refuses (held-out tasks).
    """
    twins = _twins(folder)
    for path in _traces(folder):
        trace = read_trace(path)
        if trace.end is None or trace.end.success is not False or not only(trace):
            continue
        clean = twins.get(_key(trace), ())
        yield diagnosed(path, trace, memory, clean=[read_trace(twin) for twin in clean if twin != path])


def diagnosed(path: Path, trace: Trace, memory: Memory, *, clean: Sequence[Trace] = ()) -> Failed:
    """Return one failed run with its diagnosis; nothing of the ground truth is looked at."""
    layers: list[Layer] = [Provenance(), SchemaEvidence(memory)]
    if clean:
        layers.insert(0, Counterfactual([twin.blind() for twin in clean]))
    blind = trace.blind()
    attribution = diagnose(blind, layers)
    top = attribution.top
    if top is None or not attribution.known:
        return Failed(path, trace, attribution, None)
    origin = str(path.parent.parent.name or path.parent.name)
    failure = failure_of(trace, attribution, task=_task_of(trace), origin=origin, clean=clean)
    if failure is None:
        return Failed(path, trace, attribution, None)
    recognised = next((one for one in memory.recognize(blind) if one.step == top.step), None)
    return Failed(path, trace, attribution, failure, recognised.schema if recognised else "")


def learn(
    folder: Path,
    memory: Memory,
    notebook: Notebook,
    *,
    watch: Callable[[], None] = lambda: None,
    only: Callable[[Trace], bool] = lambda trace: True,
    ask: Callable[[str], str] | None = None,
    model: str = "",
    way: Way = "prompt",
) -> Lesson:
    """Distil a schema from each diagnosed failure of a folder, and propose one note a subject.

    Proposed notes are put on file as such; only a trial makes one accepted (see `trials`). With `ask`, a
    model (named `model`) words them; without, they are worded by rule. `way` is how they are to be used: a
    note that was rejected as a prompt may still be proposed as a rewrite. What the role did in the
    folder's solved fault-free runs goes with its note as habits.
    """
    distiller = RuleDistiller() if ask is None else ModelDistiller(ask)
    found: list[Failure] = []
    stored: list[Stored] = []
    recurrences, schemata = [], []
    failed = unknown = 0
    for one in failures(folder, memory, only=only):
        watch()
        failed += 1
        if one.failure is None:
            unknown += 1
            continue
        if one.known:
            recurrences.append((one.trace.header.run, one.known))
        found.append(one.failure)
        schema = distiller.distill(
            one.trace,
            agent=one.failure.role,
            step=one.failure.source.step,
            fault=one.failure.fault,
            origin=one.failure.source.origin,
            traits=one.failure.traits,
        )
        schemata.append(memory.learn(schema).id)
        stored.append(Stored(tuple(traits_of(one.trace.blind())), one.failure.source.step))
    if stored:
        replay(memory, stored)
    habits = habits_of(solved(folder, only=only))
    notes = [
        msgspec.structs.replace(note, habits=habits.get(note.subject.role))
        for note in notebook.propose(found, way=way)
    ]
    if ask is not None:
        notes = [reworded(note, ask, model=model) for note in notes]
    notebook.store.put(*notes)
    return Lesson(failed, unknown, tuple(recurrences), tuple(dict.fromkeys(schemata)), tuple(notes))


def solved(folder: Path, *, only: Callable[[Trace], bool] = lambda trace: True) -> Iterator[Trace]:
    """Yield the fault-free runs of a folder that their check accepted: what going well looks like."""
    for path in _traces(folder):
        trace = read_trace(path)
        if trace.end is not None and trace.end.success and not trace.header.faults and only(trace):
            yield trace.blind()


def trials(
    rerunner: Rerunner,
    notebook: Notebook,
    notes: Sequence[MistakeNote],
    *,
    watch: Callable[[], None] = lambda: None,
    way: Way = "prompt",
) -> list[MistakeNote]:
    """Put each note on trial and file it as accepted or rejected.

    `way` is how it is used: in the agents' prompts, or by a rewriter of what they propose. A note that
    was accepted as a rewrite never enters a prompt.
    Enrolled are the failed runs that the note stems from and solved runs of the same systems; the last
    `HELD_OUT` failed runs of the folder with the same agent that it does not stem from are held out.
    Every run is repeated without and with the note, under the same task, seed and fault.
    """
    with Results(rerunner.folder / RESULTS_FILE, readonly=True) as results:
        rows = {row.id: row for row in results}
    settled = []
    for note in notes:
        own = {source.run for source in note.evidence}
        batch = [rows[run] for run in own if run in rows]
        systems = {row.system for row in batch}
        solved = [row for row in rows.values() if row.control and row.success and row.system in systems]
        other = [
            row
            for row in rows.values()
            if row.success is False and row.system in systems and row.id not in own
        ]
        enrolled = [*batch, *solved[:CONTROLS]]
        held = [*solved[CONTROLS : CONTROLS + HELD_OUT], *other[-HELD_OUT:]]
        trial = judge(
            [_item(rerunner, row, note, watch, way) for row in enrolled],
            [_item(rerunner, row, note, watch, way) for row in held],
            way=way,
        )
        settled.append(notebook.settle(note, trial))
    return settled


def _item(rerunner: Rerunner, row: RunResult, note: MistakeNote, watch: Callable[[], None], way: str) -> Item:
    watch()
    on_trial = [msgspec.structs.replace(note, status="accepted", trial=None)]
    using: Interceptor | PerRun = NotesInRequests(on_trial)
    if way == "rewrite":
        using = rewriter(on_trial).always
    after = rerunner.again(row, [using])
    return Item(row.id, row.success, after.success, always=row.control and bool(row.success))


def regression_tests(found: Sequence[Failed], target: Path) -> str:
    """Return a pytest file that runs each failed cell again and fails while it still fails.

    Runs recorded by a test of one's own are named in a comment with the command that repeats them.
    """
    rows, commands = [], []
    for one in found:
        launch = one.trace.header.launch
        if "plan" in launch:
            plan = os.path.relpath((one.path.parent / str(launch["plan"])).resolve(), target.parent.resolve())
            cell = (
                plan,
                str(launch["system"]),
                str(launch["task"]),
                str(launch.get("fault", "")),
                int(launch["seed"]),
            )
            rows.append(f"    {cell!r},")
        elif "pytest" in launch:
            commands.append(f"#   pytest {str(launch['pytest'])!r}")
    own = (
        ["", "# Recorded by tests of your own, which are their regression tests:", *commands]
        if commands
        else []
    )
    return "\n".join([_HEAD, "CELLS = [", *dict.fromkeys(rows), "]", _TEST, *own, ""])


_HEAD = '''"""Failures that masfire has learnt from: each test fails while its failure still happens."""

from pathlib import Path

import pytest

from masfire.campaign.planfile import load_plan
from masfire.campaign.single import run_cell

# plan, system, task, fault address, seed'''

_TEST = '''

@pytest.mark.parametrize(("plan", "system", "task", "fault", "seed"), CELLS)
def test_it_does_not_happen_again(plan, system, task, fault, seed, tmp_path):
    source = Path(__file__).parent / plan
    out = tmp_path / "run.jsonl"
    result = run_cell(load_plan(source), system, task, out=out, fault=fault, seed=seed, folder=source.parent)
    assert result.success, f"{system} fails {task} again: {result.error or result.status}"'''


def _traces(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", hint="Name a campaign's --out folder, or one of traces.")
    inner = folder / TRACES
    found = sorted((inner if inner.is_dir() else folder).glob("*.jsonl"))
    if not found:
        raise UsageError(f"{folder} holds no traces (*.jsonl).")
    return found


def _twins(folder: Path) -> dict[tuple[str, str, int], list[Path]]:
    """Return the traces of solved fault-free runs by (system, task, seed)."""
    if not (folder / RESULTS_FILE).is_file():
        return {}
    found: dict[tuple[str, str, int], list[Path]] = {}
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        for row in results:
            if row.control and row.success and row.trace and (folder / TRACES / row.trace).is_file():
                found.setdefault((row.system, row.task, row.seed), []).append(folder / TRACES / row.trace)
    return found


def _key(trace: Trace) -> tuple[str, str, int]:
    return trace.header.system, _task_of(trace), trace.header.seed


def _task_of(trace: Trace) -> str:
    launch: dict[str, Any] = trace.header.launch
    return str(launch.get("task") or launch.get("pytest") or trace.header.run)
