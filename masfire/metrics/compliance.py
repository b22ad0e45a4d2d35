"""How well runs keep their contracts: clean runs, and steps that pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from masfire.contracts.model import Status, Verdict
from masfire.metrics.statistics import Proportion, wilson

CLEAN = frozenset({Status.SATISFIED.value, Status.VACUOUS.value})


class Judged(Struct, frozen=True):
    """What one contract said of one run.

    `status` is satisfied, violated, pending, inconclusive or vacuous; `applied` counts the steps that it
    passed or failed, `failed` those it failed, `inconclusive` those it could not judge; `first` and
    `blame` are the first violating step and the one at fault (-1: none).
    """

    contract: str
    status: str
    severity: str = "error"
    applied: int = 0
    failed: int = 0
    inconclusive: int = 0
    first: int = -1
    blame: int = -1


class Compliance(Struct, frozen=True):
    """How far a number of runs complied.

    `runs`: clean ones of those in which a contract applied; clean is a run whose error-severity
    contracts were each satisfied or vacuous (inconclusive and pending are not). `steps`: passed of those
    passed or failed, that is 1 - fail / (pass + fail). `inconclusive` counts steps that could not be
    judged and `vacuous` runs in which nothing applied: both stand apart.
    """

    runs: Proportion
    steps: Proportion
    inconclusive: int
    vacuous: int


def judged(verdicts: Iterable[Verdict]) -> tuple[Judged, ...]:
    """Return the verdicts of one run as the metrics count them."""
    found = []
    for verdict in verdicts:
        failed = len({violation.violated_at for violation in verdict.violations})
        first = verdict.first
        found.append(
            Judged(
                verdict.contract,
                verdict.status.value,
                verdict.severity,
                max(verdict.applied, failed),
                failed,
                verdict.inconclusive,
                first.violated_at if first is not None else -1,
                first.blame if first is not None else -1,
            )
        )
    return tuple(found)


def compliance(runs: Iterable[Sequence[Judged]]) -> Compliance:
    """Return how far `runs` complied, each given as what its contracts said."""
    clean = applied = vacuous = passed = counted = inconclusive = 0
    for run in runs:
        if all(one.status == Status.VACUOUS.value for one in run):
            vacuous += 1
        else:
            applied += 1
            clean += all(one.status in CLEAN for one in run if one.severity == "error")
        passed += sum(one.applied - one.failed for one in run)
        counted += sum(one.applied for one in run)
        inconclusive += sum(one.inconclusive for one in run)
    return Compliance(wilson(clean, applied), wilson(passed, counted), inconclusive, vacuous)


def statuses(runs: Iterable[Sequence[Judged]]) -> dict[str, dict[str, int]]:
    """Return contract → status → in how many runs."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        for one in run:
            found.setdefault(one.contract, Counter())[one.status] += 1
    return {contract: dict(sorted(counts.items())) for contract, counts in found.items()}
