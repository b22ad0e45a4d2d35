"""From a failed run to the failure that a note is made of: who, at which step, what kind of error."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import msgspec

from masfire.diagnosis.model import Attribution, Layer
from masfire.knowledge.likeness import rarities
from masfire.knowledge.model import Source, cut
from masfire.knowledge.notebook import ADVICE, Failure
from masfire.knowledge.traits import Traits, traits_of
from masfire.trace.model import USER, Action, Trace

OTHER = "unclassified"


def blame(trace: Trace, *, layers: Sequence[Layer] = ()) -> Failure | None:
    """Return who made this run fail, and how, for `retry`; None when nobody can be blamed.

    Looks at the blind trace by the shipped contracts and provenance, and by further `layers`: for
    example `SchemaEvidence(memory)`, or `Counterfactual` with clean runs of the same task.
    """
    from masfire.diagnosis.attribute import diagnose

    attribution = diagnose(trace, [*layers, *_shipped()])
    return failure_of(trace, attribution, task=trace.header.run)


def failure_of(
    trace: Trace, attribution: Attribution, *, task: str, origin: str = "", clean: Sequence[Trace] = ()
) -> Failure | None:
    """Return the failure of the likeliest suspect; None when the user's own words are at fault.

    Traits that the same agent shows at such steps of `clean` runs are no signs of the error.
    """
    top = attribution.top
    if top is None:
        return None
    blind = trace.blind()
    described = traits_of(blind)
    at = next((window for window in described if window.step == top.step), None)
    if at is None or at.agent == USER:  # no agent can be taught
        return None
    names = at.names - usual(clean, at)
    telling = msgspec.structs.replace(at, names=names)
    return Failure(
        task=task,
        source=Source(trace.header.run, top.step, top.agent, origin),
        fault=top.category or kind_of(telling, rarities(described)),
        role=top.agent,
        about=_about(blind, top.step),
        said=cut(at.text, 200),
        because=tuple(evidence.text for evidence in top.because[:5]),
        traits=tuple(sorted(names)),
    )


def usual(clean: Sequence[Trace], at: Traits) -> frozenset[str]:
    """Return what the same agent shows at such steps when all goes well: no sign of the error."""
    kind = next(name for name in at.names if name.startswith("kind:"))
    return frozenset(
        name
        for twin in clean
        for window in traits_of(twin.blind())
        if window.agent == at.agent and kind in window.names
        for name in window.names - {kind}
    )


def kind_of(window: Traits, rarity: Mapping[str, float]) -> str:
    """Return the class of an error whose fault nobody named: its trait that the run shows least often."""
    telling = [trait for trait in ADVICE if trait in window.names]
    return max(telling, key=lambda trait: rarity.get(trait, 0.0), default=OTHER)


def _about(trace: Trace, step: int) -> str:
    body = trace[step].body
    return body.name if isinstance(body, Action) and body.kind == "tool_call" else ""


@functools.cache
def _shipped() -> tuple[Layer, ...]:
    from masfire.contracts.loader import load_contracts, packs_folder
    from masfire.diagnosis.evidence import ContractEvidence, Provenance

    return ContractEvidence(load_contracts(packs_folder())), Provenance()
