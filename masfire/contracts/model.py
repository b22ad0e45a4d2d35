"""What a contract is, and what judging says: verdicts of steps, verdicts of traces, violations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from msgspec import Struct

from masfire.contracts.language.syntax import Formula, Path, Window

if TYPE_CHECKING:
    from masfire.contracts.view import View


class StepStatus(Enum):
    """What one contract says of one step; `vacuous`: it does not apply to it."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    VACUOUS = "vacuous"


class Status(Enum):
    """What one contract says of a trace so far; *violated* absorbs, an end settles *pending*."""

    SATISFIED = "satisfied"
    VIOLATED = "violated"
    PENDING = "pending"
    INCONCLUSIVE = "inconclusive"
    VACUOUS = "vacuous"


class Always(Struct, frozen=True):
    """`formula` holds at every step (of every slice). A top-level implication says where it applies."""

    formula: Formula
    text: str = ""


class Response(Struct, frozen=True):
    """Each step where `trigger` holds is answered by a later one where `response` does.

    Within the window (the step or second at which it ends is still in time), or by the end when
    `within` is None. Violated at the first step past the deadline (`violated_at`), blamed on the
    trigger; variables bound by the trigger are shared with the response; a response answers every
    open trigger of its slice. A trace without an end leaves it pending.
    """

    trigger: Formula
    response: Formula
    within: Window | None = None
    text: str = ""


class AtEnd(Struct, frozen=True):
    """`formula` holds at the end of the run (as it stood after the last step), if `applies` ever held.

    `applies` None: always. A key's slices are judged each.
    """

    formula: Formula
    applies: Formula | None = None
    text: str = ""


class Payload(Struct, frozen=True):
    """Where `when` holds, the value at `path` validates against a JSON Schema (draft 2020-12)."""

    when: Formula
    schema: dict[str, Any] | bool
    path: Path = ("args",)
    text: str = ""


class Judge(Struct, frozen=True):
    """Where `when` holds, a Python function says True, False, None (inconclusive) or a reason (fail)."""

    when: Formula
    function: Callable[[View], bool | str | None]
    text: str = ""


class Custom(Struct, frozen=True):
    """A rule with a monitor of its own (provenance, claims, retries, a Python trace contract)."""

    make: Callable[[], CustomMonitor]
    when: Formula | None = None
    """Steps that may concern it, for the index; None: all."""
    text: str = ""


Rule: TypeAlias = Always | Response | AtEnd | Payload | Judge | Custom


class Contract(Struct, frozen=True):
    """One named promise about how agents behave.

    `where` is file:line; `catches` lists faults (names of the taxonomy) that it is meant to notice;
    `severity` is `error`, `warning` or `info` (only errors fail a check); `enforce` says what
    governance does at a violation: `block`, `rewrite` or `warn`; `order` is `recorded` or `causal`;
    `key` slices the trace: a step belongs to the slice of its values at these fields, one that lacks
    any of them to none. `retire` says when a key's state may be forgotten. `pattern` names the YAML
    pattern it was written in (empty: formula or Python). A contract is violated when a rule is.
    """

    id: str
    rules: tuple[Rule, ...]
    where: str = ""
    description: str = ""
    catches: tuple[str, ...] = ()
    severity: str = "error"
    enforce: str = "block"
    order: str = "recorded"
    key: tuple[Path, ...] = ()
    retire: Retire | None = None
    pattern: str = ""
    tags: tuple[str, ...] = ()


class Retire(Struct, frozen=True):
    """When the state of a key is forgotten: at a step, after silence, or beyond a number of keys.

    Retiring a key with an open obligation makes the contract inconclusive, never silently fine.
    """

    at: Formula | None = None
    after: Window | None = None
    keys: int = 0


class Witness(Struct, frozen=True):
    """A step that explains a verdict, and how: "login at 4 was cleared by logout at 12"."""

    step: int
    text: str


class Violation(Struct, frozen=True):
    """One violating step of one contract.

    `violated_at` is the step whose arrival made it violated (the number of steps when the end did),
    `blame` the step that is at fault (the opener of an obligation; else the same). `binding` are key
    fields and variables with their values. `formula` is the false sub-formula, `saw` what its parts
    were: ("args.amount", 25000). `path` is the place in the payload at fault.
    """

    contract: str
    violated_at: int
    blame: int
    where: str = ""
    agent: str = ""
    role: str = ""
    severity: str = "error"
    rule: int = 0
    binding: tuple[tuple[str, Any], ...] = ()
    formula: str = ""
    saw: tuple[tuple[str, Any], ...] = ()
    witnesses: tuple[Witness, ...] = ()
    path: Path = ()
    reason: str = ""


class StepVerdict(Struct, frozen=True):
    """What one contract says of one step; `cause` is why it is inconclusive."""

    contract: str
    status: StepStatus
    violations: tuple[Violation, ...] = ()
    cause: str = ""


class Verdict(Struct, frozen=True):
    """What one contract says of a whole trace (or of a prefix, when it has no end).

    `violations` holds every violating step in order; `first` the earliest. `applied` counts steps it
    passed or failed; `causes` counts why steps were inconclusive.
    """

    contract: str
    status: Status
    violations: tuple[Violation, ...] = ()
    applied: int = 0
    inconclusive: int = 0
    causes: tuple[tuple[str, int], ...] = ()
    severity: str = "error"

    @property
    def first(self) -> Violation | None:
        """Return the violation with the least `violated_at`, or None."""
        return self.violations[0] if self.violations else None


class CustomMonitor(Protocol):
    """The state of one Custom rule over one run."""

    def judge(self, view: View, *, commit: bool) -> tuple[StepStatus, str, Sequence[Witness]]:
        """Return the status at this step, why, and witnesses; change state only when `commit`."""

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return the final status; `ended` is how the run ended ("" when it has no end)."""

    def save(self) -> Any:
        """Return the state as a JSON value."""

    def restore(self, state: Any) -> None:
        """Take over a saved state."""


ORDER = (Status.VACUOUS, Status.SATISFIED, Status.PENDING, Status.INCONCLUSIVE, Status.VIOLATED)
"""From best to worst: over several contracts the worst wins."""


def worst(statuses: Sequence[Status]) -> Status:
    """Return the worst of several statuses; vacuous when there is none."""
    return max(statuses, key=ORDER.index, default=Status.VACUOUS)
