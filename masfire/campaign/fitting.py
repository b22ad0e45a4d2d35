"""Learning to diagnose from a folder of runs: a step scorer, and what each layer's word is worth."""

from __future__ import annotations

import hashlib
import textwrap
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from masfire.adapters.foreign import read_runs
from masfire.campaign.results import Results
from masfire.campaign.runner import RESULTS_FILE, TRACES
from masfire.diagnosis.causality import Counterfactual
from masfire.diagnosis.combine import LEAST_RUNS, Combiner, Reading, strongest
from masfire.diagnosis.evidence import Provenance
from masfire.diagnosis.fitted import Fitted
from masfire.diagnosis.model import Case, Finding, Layer
from masfire.diagnosis.sample import Sample, sample_of
from masfire.diagnosis.scorer import StepScorer
from masfire.diagnosis.turns import turns_of
from masfire.diagnosis.weak import WeakScorer
from masfire.errors import MasfireError, TraceError, UsageError
from masfire.metrics.truth import truth_of
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

FOLDS = 3
"""The layers are weighed on runs whose groups the scorer was not fitted on."""

MOST = 60
"""Labelled runs of one system that are used by default: more cost time and change little."""


class Lesson(Struct, frozen=True):
    """One run to learn from, and the solved control of the same system, task and seed when there is one."""

    case: Case
    twin: Path | None = None


class Gathered(Struct, frozen=True):
    """What a folder holds: lessons, how many runs were read, and what was passed over and why."""

    lessons: tuple[Lesson, ...]
    runs: int
    skipped: dict[str, int]


def gather(folder: Path, *, weak: bool = False, most: int = MOST) -> Gathered:
    """Read the runs of a folder: a campaign's traces, or every trace and foreign log below it.

    At most `most` runs of a system are used, drawn by the hash of their names. Files that hold no run
    are passed over and counted, by reason. Raise UsageError when no run is left.
    """
    skipped: Counter[str] = Counter()
    chosen, twins = _files(folder, weak, most, skipped)
    lessons, runs = [], 0
    taken: Counter[tuple[str, bool]] = Counter()
    for path in chosen:
        try:
            found = read_runs(path)
        except MasfireError as error:
            skipped[f"{path.suffix} files that are no runs ({_reason(error)})"] += 1
            continue
        for run in found:
            runs += 1
            label = run.label or truth_of(run.trace)
            end = run.trace.end
            failed = end is None or end.success is not True
            system = run.trace.header.system
            if not weak and (label is None or not failed):
                skipped["runs without a known culprit" if label is None else "runs that passed"] += 1
            elif taken[system, failed] >= most:
                skipped[f"more than {most} runs of one system"] += 1
            else:
                taken[system, failed] += 1
                case = Case(run.trace.blind(), label, run.group, system, failed=failed)
                lessons.append(Lesson(case, twins.get(path.name)))
    if not lessons:
        reasons = "; ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise UsageError(
            f"{folder} holds no run to learn from.", hint=f"Passed over: {reasons or 'nothing at all'}."
        )
    return Gathered(tuple(lessons), runs, dict(skipped))


def _reason(error: MasfireError) -> str:
    """Return what is wrong with a file in few words, without its place: many files share a reason."""
    text = error.reason if isinstance(error, TraceError) else error.message
    return textwrap.shorten(text.split(": ")[0].rstrip("."), 80, placeholder="…")


def learn_to_diagnose(
    gathered: Gathered,
    layers: Sequence[Layer] = (),
    *,
    weak: bool = False,
    watch: Callable[[], None] = lambda: None,
) -> Fitted:
    """Return a scorer, and a combiner of it with `layers`, provenance and clean twins.

    The combiner needs LEAST_RUNS labelled runs of at least FOLDS groups; without them there is none.
    """
    lessons = gathered.lessons
    if weak:
        return Fitted(WeakScorer.fit([one.case for one in lessons]))
    samples = [sample_of(one.case) for one in lessons]
    scorer = StepScorer.fit(samples)
    groups = {one.case.group for one in lessons}
    if len(lessons) < LEAST_RUNS or len(groups) < FOLDS:
        return Fitted(scorer)
    readings = list(_read(lessons, samples, layers, watch))
    usable = sum(one.culprit in one.steps for one in readings)
    return Fitted(scorer, Combiner.fit(readings) if usable >= LEAST_RUNS else None)


def _read(
    lessons: Sequence[Lesson], samples: Sequence[Sample], layers: Sequence[Layer], watch: Callable[[], None]
) -> Iterator[Reading]:
    groups = sorted({one.case.group for one in lessons}, key=lambda group: zlib.crc32(group.encode()))
    fold = {group: index % FOLDS for index, group in enumerate(groups)}
    for held in range(FOLDS):
        train = [sample for sample in samples if fold[sample.group] != held]
        if sum(sample.culprit >= 0 for sample in train) < 2:
            continue
        scorer = StepScorer.fit(train)
        for lesson in lessons:
            if fold[lesson.case.group] == held:
                watch()
                yield _reading(lesson, [scorer, Provenance(), *layers])


def _reading(lesson: Lesson, layers: list[Layer]) -> Reading:
    trace = lesson.case.trace
    if lesson.twin is not None:
        layers = [*layers, Counterfactual([read_trace(lesson.twin)])]
    found: dict[str, list[Finding]] = defaultdict(list)
    for layer in layers:
        found[layer.name].extend(layer.examine(trace))
    turns = turns_of(trace)
    blamable = {turn.step for turn in turns if turn.blamable}
    steps = sorted(blamable | {one.step for findings in found.values() for one in findings})
    label = lesson.case.label
    return Reading(
        steps=tuple(steps),
        scores=strongest(found),
        culprit=-1 if label is None else label.step,
        group=lesson.case.group,
        agents=tuple(turns[step].agent for step in steps),
    )


def _files(folder: Path, weak: bool, most: int, skipped: Counter[str]) -> tuple[list[Path], dict[str, Path]]:
    """Return the files to read, and for traces of a campaign the trace of the solved control."""
    if not (folder / RESULTS_FILE).is_file():
        files = [path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl") and path.is_file()]
        return sorted(files, key=_drawn), {}
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        rows = [row for row in results if row.trace and (folder / TRACES / row.trace).is_file()]
    solved = {
        (row.system, row.task, row.seed): folder / TRACES / row.trace
        for row in rows
        if row.control and row.success
    }
    wanted = [
        row
        for row in rows
        if (weak and row.success is not None) or (row.state == "witnessed" and row.success is False)
    ]
    skipped["runs without a witnessed fault that failed"] += len(rows) - len(wanted)
    twins = {
        row.trace: solved[row.system, row.task, row.seed]
        for row in wanted
        if not row.control and (row.system, row.task, row.seed) in solved
    }
    wanted.sort(key=lambda row: _drawn(Path(row.trace)))
    kept, taken = [], Counter[tuple[str, bool]]()
    for row in wanted:
        kind = row.system, row.success is not True
        taken[kind] += 1
        if taken[kind] <= most:
            kept.append(folder / TRACES / row.trace)
        else:
            skipped[f"more than {most} runs of one system"] += 1
    return kept, twins


def _drawn(path: Path) -> str:
    return hashlib.sha256(path.name.encode("utf-8", "surrogatepass")).hexdigest()


def siblings(folder: Path, trace: Trace) -> tuple[list[Trace], list[Trace]]:
    """Return the failed and the passed runs of the same system and task among the traces of a folder.

    `trace` itself is left out; runs that nobody judged are, too.
    """
    inner = folder / TRACES
    failed: list[Trace] = []
    passed: list[Trace] = []
    for path in sorted((inner if inner.is_dir() else folder).glob("*.jsonl")):
        other = read_trace(path)
        same = (other.header.system, bytes(other.header.task)) == (
            trace.header.system,
            bytes(trace.header.task),
        )
        if not same or other.header.run == trace.header.run or other.end is None:
            continue
        if other.end.success is not None:
            (passed if other.end.success else failed).append(other.blind())
    return failed, passed
