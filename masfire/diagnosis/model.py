"""What a diagnosis says: labels, evidence, suspects, and the ranked attribution they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from masfire.trace.model import Trace

EARLIEST_DECISIVE = "earliest_decisive"
"""Convention: blame the earliest step whose correction would have saved the run (Who&When, 2505.00212)."""

MISSED_RECOVERY = "missed_recovery"
"""Convention: blame the step that could still have repaired the run and did not (TraceElephant)."""

CONVENTIONS = (EARLIEST_DECISIVE, MISSED_RECOVERY)

MEANINGS = {
    EARLIEST_DECISIVE: "to blame is the earliest step whose correction would have saved the run",
    MISSED_RECOVERY: "to blame is the step that could still have repaired the run and did not",
}
"""Convention → what it means, in words."""


class Label(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody who knows says: the agent and the 0-based step at fault.

    `convention` says which step is meant; `source` who said it (a data set, an injection, a person).
    `category` is an id of `taxonomy`, both may be empty.
    """

    agent: str
    step: int
    reason: str = ""
    category: str = ""
    taxonomy: str = ""
    convention: str = EARLIEST_DECISIVE
    source: str = ""


class Case(Struct, frozen=True):
    """A run whose culprit is known, for fitting and for measuring.

    `group` names what must stay on one side of a split (a question, a task); `system` the kind of
    system it ran on; `label` is None when only pass or fail is known.
    """

    trace: Trace
    label: Label | None
    group: str
    system: str = ""
    failed: bool = True


class Evidence(Struct, frozen=True, omit_defaults=True):
    """One reason to suspect a step: which layer says so, in words, at which steps, how strongly.

    `weight` is the layer's own score in 0..1; `category` an error category the evidence points to.
    """

    layer: str
    text: str
    steps: tuple[int, ...] = ()
    weight: float = 0.0
    category: str = ""


class Suspect(Struct, frozen=True):
    """One step of the ranked list.

    `confidence` is the calibrated probability that this step is the culprit; `score` what it was
    ranked by; `because` the evidence, strongest first; `path` the steps from here to the failure.
    """

    step: int
    agent: str
    score: float
    confidence: float
    category: str = ""
    because: tuple[Evidence, ...] = ()
    path: tuple[int, ...] = ()


class Attribution(Struct, frozen=True):
    """Who is to blame for a failed run: suspects, likeliest first, and each agent's share.

    `known` is False when the evidence does not tell: `reason` then says why, and the ranking is a
    guess. `agents` holds (agent, probability), likeliest first. `layers` lists what was asked.
    """

    run: str
    suspects: tuple[Suspect, ...]
    agents: tuple[tuple[str, float], ...]
    known: bool = True
    reason: str = ""
    convention: str = EARLIEST_DECISIVE
    layers: tuple[str, ...] = ()

    @property
    def top(self) -> Suspect | None:
        """Return the likeliest suspect, or None when no step could be blamed."""
        return self.suspects[0] if self.suspects else None


class Finding(Struct, frozen=True):
    """What one layer says of one step: a score in 0..1 and the evidence behind it."""

    step: int
    score: float
    evidence: Evidence


class Layer(Protocol):
    """One kind of evidence; each is usable alone."""

    @property
    def name(self) -> str:
        """Return the name under which its evidence is reported."""

    def examine(self, trace: Trace) -> Sequence[Finding]:
        """Return what it finds in a blind trace; nothing when it has no opinion."""


class Recognition(Struct, frozen=True):
    """A known error recognised at a step: which schema, how similar (0..1), and its category."""

    step: int
    schema: str
    similarity: float
    category: str = ""
    text: str = ""


class Recognizer(Protocol):
    """A memory of past errors that recognises them in a trace (the knowledge store satisfies it)."""

    def recognize(self, trace: Trace) -> Sequence[Recognition]:
        """Return known errors that steps of this trace resemble, above the store's own threshold."""
