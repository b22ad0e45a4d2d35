"""Blame put to the test: the failed run again, with the suspect step as its clean twin has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from masfire.campaign.repair import Repair
from masfire.campaign.rerun import Rerunner
from masfire.campaign.results import Results, RunResult
from masfire.campaign.runner import RESULTS_FILE, TRACES
from masfire.diagnosis.model import Attribution
from masfire.diagnosis.shapley import shapley
from masfire.errors import UsageError
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

CONFIRMED, REFUTED, INCONCLUSIVE = "confirmed", "refuted", "inconclusive"


class Trial(Struct, frozen=True):
    """What the repair of one suspect showed.

    `verdict` is `confirmed` (the repaired run passed), `refuted` (it failed as well) or `inconclusive`
    (`why` says what kept it from being tried); `scope` is `step`, or `agent` when all deviations that
    the agent began were repaired, since a fault may strike again after the first.
    """

    step: int
    agent: str
    scope: str
    verdict: str
    why: str = ""


class Confirmed(Struct, frozen=True):
    """The trials of a run's suspects, in their order, and what they cost in re-runs.

    `blame` holds each agent's Shapley value when that was asked for.
    """

    run: str
    trials: tuple[Trial, ...]
    reruns: int
    blame: tuple[tuple[str, float], ...] = ()

    @property
    def first(self) -> Trial | None:
        """Return the first confirmed trial, or None."""
        return next((one for one in self.trials if one.verdict == CONFIRMED), None)


class Pair(Struct, frozen=True):
    """A failed run of a campaign and its solved control: same system, task and seed, no fault."""

    row: RunResult
    trace: Trace
    twin: Trace


def pair_of(folder: Path, run: str) -> Pair:
    """Return a run of a campaign folder with its twin; raise UsageError when there is none."""
    if not (folder / RESULTS_FILE).is_file():
        raise UsageError(f"{folder} holds no campaign.", hint="Name the --out folder of a campaign.")
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        rows = list(results)
    row = next((one for one in rows if one.id == run), None)
    if row is None:
        raise UsageError(f"{folder} has no run {run!r}.", hint="A trace's run id is in its first line.")
    cell = (row.system, row.task, row.seed)
    twins = [one for one in rows if one.control and one.success and (one.system, one.task, one.seed) == cell]
    if not twins or row.control:
        raise UsageError(
            f"Run {run!r} has no solved control of its system, task and seed to be repaired from.",
            hint="A campaign makes controls of the seeds in its plan's `control_seeds`.",
        )
    return Pair(row, read_trace(folder / TRACES / row.trace), read_trace(folder / TRACES / twins[0].trace))


def confirm(
    rerunner: Rerunner,
    pair: Pair,
    attribution: Attribution,
    *,
    suspects: int = 3,
    blame: bool = False,
    watch: Callable[[], None] = lambda: None,
) -> Confirmed:
    """Repeat the run with the likeliest suspects repaired, one after the other, until one is confirmed.

    First the run is repeated as it was: when it does not fail again nothing can be confirmed. A step
    whose repair does not help is followed by a trial of its agent. With `blame`, the Shapley value of
    each agent over all coalitions of repaired agents.
    """
    lab = _Lab(rerunner, pair, watch)
    tried: list[Trial] = []
    chosen = attribution.suspects[:suspects]
    if lab.passes(Repair(pair.twin)) is not False:
        why = "the run did not fail again when it was repeated as it was"
        tried = [Trial(one.step, one.agent, "step", INCONCLUSIVE, why) for one in chosen]
        return Confirmed(pair.row.id, tuple(tried), lab.reruns)
    for one in chosen:
        tried.append(lab.step(one.step, one.agent))
        if tried[-1].verdict != CONFIRMED and not any(
            trial.scope == "agent" and trial.agent == one.agent for trial in tried
        ):
            tried.append(lab.agent(one.step, one.agent))
        if tried[-1].verdict == CONFIRMED:
            break
    shares: tuple[tuple[str, float], ...] = ()
    if blame:
        shares = shapley(lab.deviating(), lab.worth)
    return Confirmed(pair.row.id, tuple(tried), lab.reruns, shares)


class _Lab:
    """Re-runs of one failed run."""

    def __init__(self, rerunner: Rerunner, pair: Pair, watch: Callable[[], None]) -> None:
        self.rerunner, self.pair, self.watch = rerunner, pair, watch
        self.reruns = 0

    def passes(self, repair: Repair) -> bool | None:
        """Return what the check says of the run with this repair."""
        self.reruns += 1
        self.watch()
        return self.rerunner.again(self.pair.row, (repair,)).success

    def step(self, index: int, agent: str) -> Trial:
        repair = Repair(self.pair.twin, at=(index,))
        passed = self.passes(repair)
        why = ""
        if repair.same:
            why = "the step is the same in the clean twin"
        elif repair.without:
            why = "the clean twin has no such step"
        elif not repair.repaired:
            why = "the repeated run did not come to this step"
        return _trial(index, agent, "step", passed, why)

    def agent(self, index: int, agent: str) -> Trial:
        repair = Repair(self.pair.twin, agents=(agent,))
        passed = self.passes(repair)
        return _trial(index, agent, "agent", passed, "" if repair.repaired else "it began no deviation")

    def worth(self, coalition: frozenset[str]) -> float:
        return float(self.passes(Repair(self.pair.twin, agents=coalition)) or 0.0)

    def deviating(self) -> Sequence[str]:
        """Return the agents of the failed run, the user among them when it spoke."""
        return self.pair.trace.agents


def _trial(step: int, agent: str, scope: str, passed: bool | None, why: str) -> Trial:
    if why:
        verdict = REFUTED if scope == "agent" or why.startswith("the step is the same") else INCONCLUSIVE
        return Trial(step, agent, scope, verdict, why)
    if passed is None:
        return Trial(step, agent, scope, INCONCLUSIVE, "the check could not judge the repaired run")
    return Trial(step, agent, scope, CONFIRMED if passed else REFUTED)
