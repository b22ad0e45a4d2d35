"""Resilience of a system under a fault, from what single runs came to (the paper's RS_f)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from masfire.metrics.statistics import Proportion, mcnemar, wilson

WITNESSED = "witnessed"
INAPPLICABLE = "inapplicable"


class Trial(Struct, frozen=True):
    """One run as the metrics see it.

    `task` and `seed` pair an injected run with its control; `success` is None when nobody could judge
    the run (the check itself raised); `state` is the final state of the injection ("" for a control).
    """

    task: str
    seed: int
    success: bool | None
    state: str = ""


class Pairs(Struct, frozen=True):
    """Injected runs against the control of the same task and seed.

    `lost`: the control succeeded and the injected run failed; `won`: the other way round; `p` is the
    exact two-sided McNemar p-value of these two (1 when there is no difference to judge).
    """

    both: int
    lost: int
    won: int
    neither: int
    p: float


class Resilience(Struct, frozen=True):
    """What a cell (one system under one fault) came to.

    `rs` is RS_f: successes of the witnessed, judged runs on tasks the fault-free system solves;
    `ratio` is RS_f / RS_control (None when either is unknown or the control is 0); `states` counts all
    runs by the final state of their injection; `unjudged` counts witnessed runs without a verdict.
    """

    rs: Proportion
    ratio: float | None
    pairs: Pairs
    states: dict[str, int]
    unjudged: int

    @property
    def runs(self) -> int:
        """Return the number of injected runs, witnessed or not."""
        return sum(self.states.values())

    @property
    def witnessed(self) -> int:
        """Return the number of runs whose injection was seen by its receiver."""
        return self.states.get(WITNESSED, 0)

    @property
    def inapplicable(self) -> bool:
        """Return whether every run said that there is nothing here for this fault to change."""
        return self.runs > 0 and self.states.get(INAPPLICABLE, 0) == self.runs

    @property
    def valid(self) -> bool:
        """Return whether the cell says anything at all: at least one witnessed, judged run."""
        return self.rs.n > 0


def solved_tasks(controls: Iterable[Trial]) -> list[str]:
    """Return the tasks that more than half of their fault-free runs solved, in order of appearance."""
    runs, wins = _by_task(controls)
    return [task for task in runs if 2 * wins[task] > runs[task]]


def control_rate(controls: Sequence[Trial]) -> Proportion:
    """Return RS_control: how often the fault-free system solves again what it solves.

    A run counts when the *other* controls of its task, run under other seeds, solve the task by
    majority: choosing tasks by the very runs that are then counted would flatter the system.
    With one control a task there are no others, and n is 0.
    """
    runs, wins = _by_task(controls)
    successes = n = 0
    for trial in controls:
        if trial.success is None:
            continue
        others = runs[trial.task] - 1
        if 2 * (wins[trial.task] - trial.success) > others > 0:
            n += 1
            successes += trial.success
    return wilson(successes, n)


def resilience(trials: Sequence[Trial], controls: Sequence[Trial]) -> Resilience:
    """Return what the injected `trials` of one cell came to, against the `controls` of the same system.

    Trials on tasks the fault-free system does not solve are left out of every count.
    """
    solved = set(solved_tasks(controls))
    counted = [trial for trial in trials if trial.task in solved]
    struck = [trial for trial in counted if trial.state == WITNESSED]
    judged = [trial for trial in struck if trial.success is not None]
    rs = wilson(sum(trial.success is True for trial in judged), len(judged))
    control = control_rate(controls)
    ratio = rs.rate / control.rate if rs.rate is not None and control.rate else None
    states = Counter(trial.state for trial in counted)
    return Resilience(
        rs, ratio, _pairs(judged, controls), dict(sorted(states.items())), len(struck) - len(judged)
    )


def _by_task(controls: Iterable[Trial]) -> tuple[Counter[str], Counter[str]]:
    runs: Counter[str] = Counter()
    wins: Counter[str] = Counter()
    for trial in controls:
        if trial.success is not None:
            runs[trial.task] += 1
            wins[trial.task] += trial.success
    return runs, wins


def _pairs(judged: Sequence[Trial], controls: Sequence[Trial]) -> Pairs:
    control: Mapping[tuple[str, int], bool | None] = {(c.task, c.seed): c.success for c in controls}
    tally: Counter[tuple[bool, bool]] = Counter()
    for trial in judged:
        before = control.get((trial.task, trial.seed))
        if before is not None and trial.success is not None:
            tally[before, trial.success] += 1
    lost, won = tally[True, False], tally[False, True]
    return Pairs(tally[True, True], lost, won, tally[False, False], mcnemar(lost, won))
