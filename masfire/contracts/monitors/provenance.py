"""What a step was made from: the monitor of `no_flow`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from masfire.claims import Claim, claims_of
from masfire.contracts.model import Status, StepStatus, Witness
from masfire.contracts.monitors.local import Selects, absent
from masfire.contracts.monitors.support import parts
from masfire.contracts.view import RESULT_KINDS, View

Answer = tuple[StepStatus, str, Sequence[Witness]]

_MOST = 8
"""Sources that are remembered of one step; the earliest ones, which are the ones to name."""

_DISTINCTIVE = ("number", "entity")


class Flow:
    """Marks every step made from a source, through `parents`, until `via`; fails at a marked sink.

    An observation is made from its action too. State: the sources of each marked step; with
    `carrying` also the distinctive values of each source.
    """

    def __init__(self, source: Selects, sink: Selects, *, via: Selects | None, carrying: bool) -> None:
        self._source, self._sink, self._via, self._carrying = source, sink, via, carrying
        self._marked: dict[int, list[int]] = {}
        self._values: dict[int, list[str]] = {}
        self._applied = False

    def judge(self, view: View, *, commit: bool) -> Answer:
        """Fail at a sink that a source reaches."""
        sources = self._sources(view)
        sink = self._sink(view)
        if sink is None:
            return StepStatus.INCONCLUSIVE, "a field of `sink` is absent", ()
        status: Answer = (StepStatus.VACUOUS, "", ())
        if sink:
            status = self._reached(view, sources)
        if commit:
            self._applied = self._applied or bool(sink)
            self._keep(view, sources)
        return status

    def _sources(self, view: View) -> list[int]:
        if self._via is not None and self._via(view):
            return []
        causes = list(view.step.parents)
        of = getattr(view.step.body, "of", -1)
        if of >= 0:
            causes.append(of)
        return sorted({source for cause in causes for source in self._marked.get(cause, ())})[:_MOST]

    def _reached(self, view: View, sources: list[int]) -> Answer:
        if self._carrying:
            said = distinctive(_payload(view))
            sources = [source for source in sources if said.intersection(self._values.get(source, ()))]
        if not sources:
            return StepStatus.PASS, "", ()
        return (
            StepStatus.FAIL,
            f"made from step {sources[0]}",
            [Witness(source, "where it comes from") for source in sources],
        )

    def _keep(self, view: View, sources: list[int]) -> None:
        if self._source(view):
            sources = [*sources[: _MOST - 1], view.index]
            if self._carrying:
                self._values[view.index] = sorted(distinctive(_payload(view)))
        if sources:
            self._marked[view.index] = sources

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return satisfied when there was a sink."""
        return (Status.SATISFIED if self._applied else Status.VACUOUS), "", ()

    def save(self) -> Any:
        """Return the state as JSON."""
        return {
            "marked": [[step, sources] for step, sources in self._marked.items()],
            "values": [[step, values] for step, values in self._values.items()],
            "applied": self._applied,
        }

    def restore(self, state: Any) -> None:
        """Take over a saved state."""
        self._marked = {step: list(sources) for step, sources in state["marked"]}
        self._values = {step: list(values) for step, values in state["values"]}
        self._applied = state["applied"]


def distinctive(value: Any) -> set[str]:
    """Return the values by which something copied is recognised: longer numbers, names and codes."""
    claims: list[Claim] = []
    for claim in claims_of(value):
        claims += parts(claim) if claim.kind == "slot" else [claim]
    return {
        claim.value
        for claim in claims
        if claim.kind in _DISTINCTIVE and len(claim.value) >= (2 if claim.kind == "number" else 3)
    }


def _payload(view: View) -> Any:
    for path in (("args",), ("content",), ("outcome",)):
        value = view.get(path)
        if not absent(value) and not (path == ("args",) and view.kind in RESULT_KINDS):
            return value
    return None
