"""What the failed runs of a folder teach: schemata, and notes on trial."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from masfire.campaign.recurrence import recognised
from masfire.campaign.rerun import Rerunner
from masfire.campaign.results import Results, RunResult
from masfire.campaign.runner import RESULTS_FILE, TRACES
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual
from masfire.diagnosis.evidence import Provenance
from masfire.diagnosis.model import Attribution, Layer, Recognizer
from masfire.diagnosis.recognition import SchemaEvidence
from masfire.errors import MasfireError, UsageError
from masfire.knowledge.distill import RuleDistiller
from masfire.knowledge.memory import Memory
from masfire.knowledge.model import ErrorSchema, Item, MistakeNote
from masfire.knowledge.notebook import Failure, Notebook, judge
from masfire.knowledge.replaying import Stored, replay
from masfire.knowledge.store import SqliteStore
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
    diagnosis does not tell. `compared`: there was a solved control to compare the run with.
    """

    path: Path
    trace: Trace
    attribution: Attribution
    failure: Failure | None
    known: str = ""
    compared: bool = False


class Lesson(Struct, frozen=True):
    """What `learn` made: counts of failed and undiagnosed runs, recurrences, schemata and notes.

    `uncompared` counts the failed runs for which the folder holds no solved control.
    """

    failed: int
    unknown: int
    recurrences: tuple[tuple[str, str], ...]
    schemata: tuple[str, ...]
    notes: tuple[MistakeNote, ...]
    uncompared: int = 0


def failures(
    folder: Path, memory: Memory, *, only: Callable[[Trace], bool] = lambda trace: True
) -> Iterator[Failed]:
    """Yield every failed run of a campaign folder, or of a folder of traces, diagnosed blindly.

    A solved fault-free run of the same system, task and seed in that folder is the clean twin to compare
    with. Only runs that a check refused count as failed; those that nobody judged are passed over, as are
    those that `only` refuses (held-out tasks).
    """
    twins = controls(folder)
    for path in _traces(folder):
        trace = read_trace(path)
        if trace.end is None or trace.end.success is not False or not only(trace):
            continue
        clean = twins.get(cell_of(trace), ())
        yield diagnosed(path, trace, memory, clean=[read_trace(twin) for twin in clean if twin != path])


def diagnosed(
    path: Path, trace: Trace, memory: Memory, *, clean: Sequence[Trace] = (), own: Recognizer | None = None
) -> Failed:
    """Return one failed run with its diagnosis; nothing of the ground truth is looked at.

    What the memory has learnt from this very folder is no evidence: a folder that is learnt from again
    teaches the same again. `own` recognises what the folder's other failures show.
    """
    origin = _origin(path)
    layers: list[Layer] = [Provenance(), SchemaEvidence(memory.apart_from(origin))]
    if own is not None:
        layers.append(SchemaEvidence(own))
    if clean:
        layers.insert(0, Counterfactual([twin.blind() for twin in clean]))
    blind = trace.blind()
    attribution = diagnose(blind, layers)
    known = recognised(memory, blind)
    told = Failed(path, trace, attribution, None, known.schema if known else "", bool(clean))
    if attribution.top is None or not attribution.known:
        return told
    failure = failure_of(trace, attribution, task=_task_of(trace), origin=origin, clean=clean)
    return msgspec.structs.replace(told, failure=failure)


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
    each: Callable[[Failed], None] = lambda failed: None,
) -> Lesson:
    """Distil a schema from each diagnosed failure of a folder, and propose one note a subject.

    Proposed notes are put on file as such; only a trial makes one accepted (see `trials`). With `ask`, a
    model (named `model`) words them; without, they are worded by rule. `way` is how they are to be used: a
    note that was rejected as a prompt may still be proposed as a rewrite. What the role did in the
    folder's solved fault-free runs goes with its note as habits. `each` is shown every failed run. A folder
    may be learnt from again: a failure is counted once.
    """
    distiller = RuleDistiller() if ask is None else ModelDistiller(ask)
    learnt: list[_Learnt] = []
    undecided: list[Path] = []
    recurrences: list[tuple[str, str]] = []
    failed = uncompared = 0
    for one in failures(folder, memory, only=only):
        watch()
        each(one)
        failed += 1
        uncompared += not one.compared
        if one.known:
            recurrences.append((one.trace.header.run, one.known))
        if one.failure is None:
            undecided.append(one.path)
        else:
            learnt.append(_learnt(one.trace, one.failure, distiller))
    learnt += _by_likeness(undecided, learnt, memory, folder, distiller)
    # Filed after all were diagnosed: what the memory knew before is what it is asked.
    schemata = [memory.learn(one.schema).id for one in learnt]
    if learnt:
        replay(memory, [one.stored for one in learnt])
    habits = habits_of(solved(folder, only=only))
    notes = [
        msgspec.structs.replace(note, habits=habits.get(note.subject.role) or note.habits)
        for note in notebook.propose([one.failure for one in learnt], way=way)
    ]
    if ask is not None:
        notes = [reworded(note, ask, model=model) for note in notes]
    notebook.file(notes)
    return Lesson(
        failed=failed,
        unknown=failed - len(learnt),
        recurrences=tuple(recurrences),
        schemata=tuple(dict.fromkeys(schemata)),
        notes=tuple(notes),
        uncompared=uncompared,
    )


class _Learnt(Struct, frozen=True):
    failure: Failure
    schema: ErrorSchema
    stored: Stored


def _learnt(trace: Trace, failure: Failure, distiller: RuleDistiller | ModelDistiller) -> _Learnt:
    schema = distiller.distill(
        trace,
        agent=failure.role,
        step=failure.source.step,
        fault=failure.fault,
        origin=failure.source.origin,
        traits=failure.traits,
    )
    return _Learnt(failure, schema, Stored(tuple(traits_of(trace.blind())), failure.source.step))


def _by_likeness(
    undecided: Sequence[Path],
    learnt: Sequence[_Learnt],
    memory: Memory,
    folder: Path,
    distiller: RuleDistiller | ModelDistiller,
) -> list[_Learnt]:
    """Diagnose what was undecided once more, with the folder's own diagnosed failures as known errors."""
    if not undecided or not learnt:
        return []
    more, twins = [], controls(folder)
    with tempfile.TemporaryDirectory() as scratch, SqliteStore(Path(scratch, "own.sqlite")) as store:
        own = Memory(store, embedder=memory.embedder)
        for one in learnt:
            own.learn(one.schema)
        for path in undecided:
            trace = read_trace(path)
            clean = [read_trace(twin) for twin in twins.get(cell_of(trace), ()) if twin != path]
            again = diagnosed(path, trace, memory, clean=clean, own=own)
            if again.failure is not None:
                more.append(_learnt(trace, again.failure, distiller))
    return more


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


def _traces(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder.", hint="Name a campaign's --out folder, or one of traces.")
    inner = folder / TRACES
    found = sorted((inner if inner.is_dir() else folder).glob("*.jsonl"))
    if not found:
        raise UsageError(f"{folder} holds no traces (*.jsonl).")
    return found


def controls(folder: Path) -> dict[tuple[str, str, int], list[Path]]:
    """Return the traces of a folder's solved fault-free runs, by the `cell_of` that a failed twin has.

    The folder is a campaign's or one of traces; other files in it are passed over.
    """
    found: dict[tuple[str, str, int], list[Path]] = {}
    if not (folder / RESULTS_FILE).is_file():
        for path in sorted(folder.glob("*.jsonl")):
            with contextlib.suppress(MasfireError):
                trace = read_trace(path)
                if trace.end is not None and trace.end.success and not trace.header.faults:
                    found.setdefault(cell_of(trace), []).append(path)
        return found
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        for row in results:
            if row.control and row.success and row.trace and (folder / TRACES / row.trace).is_file():
                found.setdefault((row.system, row.task, row.seed), []).append(folder / TRACES / row.trace)
    return found


def _origin(path: Path) -> str:
    """Return the name of the folder that a trace belongs to: a campaign's, or the one it lies in."""
    folder = path.resolve().parent
    return folder.parent.name if folder.name == TRACES else folder.name


def cell_of(trace: Trace) -> tuple[str, str, int]:
    """Return the system, task and seed of a run."""
    launch = trace.header.launch
    task = launch.get("task") or bytes(trace.header.task).decode("utf-8", "replace") or _task_of(trace)
    return trace.header.system, str(task), trace.header.seed


def _task_of(trace: Trace) -> str:
    launch: dict[str, Any] = trace.header.launch
    return str(launch.get("task") or launch.get("pytest") or trace.header.run)
