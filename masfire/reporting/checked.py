"""What contracts said of traces and logs: the value that every report of a check is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from masfire.contracts.model import Contract, Status, Verdict, Violation, worst
from masfire.trace.model import Step


class Told(Struct, frozen=True):
    """A violation with what a report shows of its run.

    `lineage` are the steps through which the step at fault came about, oldest first, itself last;
    `steps` the slice of the trace around all of them, by index.
    """

    violation: Violation
    lineage: tuple[int, ...] = ()
    steps: dict[int, Step] = {}


class Checked(Struct, frozen=True):
    """What the contracts said of one trace or log.

    `steps` counts its steps; `ended` is how it ended (empty: it did not); `lines` gives the 1-based line
    of a step in its file, where known; `log` says that it is an event log, which has lines but no steps;
    `told` are the violations shown in full; `damage` is why not all of it could be read. `replay` is the
    command that runs it again, up to the step that is put for ``{step}``.
    """

    source: str
    steps: int
    ended: str
    verdicts: tuple[Verdict, ...]
    told: tuple[Told, ...] = ()
    lines: dict[int, int] = {}
    log: bool = False
    damage: str = ""
    replay: str = ""

    @property
    def status(self) -> Status:
        """Return the worst status; a contract that is no error counts as satisfied when it applied."""
        return worst(
            [
                verdict.status
                if verdict.severity == "error" or verdict.status is Status.VACUOUS
                else Status.SATISFIED
                for verdict in self.verdicts
            ]
        )

    @property
    def violations(self) -> Iterator[Violation]:
        """Return every violation of every contract."""
        for verdict in self.verdicts:
            yield from verdict.violations


class Check(Struct, frozen=True):
    """Several traces or logs under the same contracts."""

    contracts: tuple[Contract, ...]
    checked: tuple[Checked, ...]

    @property
    def exit_code(self) -> int:
        """Return 1 when an error-severity contract is violated, 0 when what applied passed, else 3.

        Inconclusive and pending are no pass, and neither is a check in which nothing applied.
        """
        status = worst([one.status for one in self.checked])
        if status is Status.VIOLATED:
            return 1
        damaged = any(one.damage for one in self.checked)
        return 0 if status is Status.SATISFIED and not damaged else 3

    @property
    def never_applied(self) -> tuple[str, ...]:
        """Return the contracts that applied to no step of anything that was checked."""
        fired = {
            verdict.contract
            for one in self.checked
            for verdict in one.verdicts
            if verdict.status is not Status.VACUOUS
        }
        return tuple(contract.id for contract in self.contracts if contract.id not in fired)

    @property
    def causes(self) -> dict[str, dict[str, int]]:
        """Return contract → cause → number of steps at which it could not be judged."""
        found: dict[str, Counter[str]] = {}
        for one in self.checked:
            for verdict in one.verdicts:
                for cause, steps in verdict.causes:
                    found.setdefault(verdict.contract, Counter())[cause] += steps
        return {contract: dict(counts.most_common()) for contract, counts in found.items()}

    def count(self, status: Status) -> int:
        """Return in how many traces the worst verdict is `status`."""
        return sum(one.status is status for one in self.checked)


def shortened(lineage: Sequence[int]) -> tuple[int, ...]:
    """Return the steps of a lineage that a report names: where it began, and how it came to its end."""
    return (*lineage[:2], *lineage[-6:]) if len(lineage) > 8 else tuple(lineage)


def violating(verdict: Verdict) -> list[int]:
    """Return the steps at which a contract was violated, ascending, each once."""
    return sorted({violation.violated_at for violation in verdict.violations})
