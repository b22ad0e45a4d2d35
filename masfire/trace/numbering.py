"""One dense numbering for the steps of several writers of one file (forks, joining processes)."""

from __future__ import annotations

from typing import Any

import msgspec

from masfire.errors import RefusedValue
from masfire.trace.context import LISTS, REF
from masfire.trace.lines import MAIN, Join
from masfire.trace.model import Action, Decision, Observation, Original, Step
from masfire.trace.payload import Payload, pack, unpack


class Numbering:
    """Maps each writer's own step indices to places in the file; what a writer knew keeps its place."""

    def __init__(self, steps: int) -> None:
        self.total = steps
        self._places: dict[str, list[int]] = {MAIN: list(range(steps))}
        self._hidden: list[tuple[str, int]] = []

    def join(self, writer: str, join: Join) -> None:
        """Take in a further writer; raise ValueError when it claims to know steps that are not there."""
        known = range(self.total) if join.origin is None else self._places.get(join.origin, [])
        if join.steps > len(known):
            raise ValueError(f"a writer joins at step {join.steps}, but only {len(known)} are there")
        self._places[writer] = list(known[: join.steps])

    def place(self, writer: str, step: Step, *, hidden: bool) -> Step:
        """Return the step under its place in the file; raise ValueError when it is out of its writer's order.

        A hidden step is placed provisionally; `settle` knows better once all steps were seen.
        """
        places = self._places[writer]
        if hidden:
            self._hidden.append((writer, step.step))
            return msgspec.structs.replace(step, step=self._look_up(writer, step.step))
        if step.step != len(places):
            raise ValueError(f"step {step.step} stands where step {len(places)} of its writer was due")
        changes: dict[str, Any] = {"step": self.total}
        if step.parents:
            changes["parents"] = tuple(sorted(self._look_up(writer, parent) for parent in step.parents))
        body = step.body
        if isinstance(body, (Observation, Decision)) and body.of >= 0:
            changes["body"] = msgspec.structs.replace(body, of=self._look_up(writer, body.of))
        elif isinstance(body, Action) and b'"' + REF.encode() + b'"' in bytes(body.proposed):
            changes["body"] = msgspec.structs.replace(body, proposed=self._moved(writer, body.proposed))
        places.append(self.total)
        self.total += 1
        return msgspec.structs.replace(step, **changes)

    def settle(self, injections: list[Step]) -> list[Step]:
        """Return hidden steps with final places; the last ones are those that `place` saw."""
        first = len(injections) - len(self._hidden)
        moved = [
            msgspec.structs.replace(step, step=self._look_up(writer, own))
            for step, (writer, own) in zip(injections[first:], self._hidden, strict=True)
        ]
        return injections[:first] + moved

    def moved(self, writer: str, original: Original) -> Original:
        """Return an original under the place of the step whose call it answers."""
        return msgspec.structs.replace(original, call=self._look_up(writer, original.call))

    def _look_up(self, writer: str, own: int) -> int:
        places = self._places[writer]
        return places[own] if 0 <= own < len(places) else (own if own < 0 else self.total)

    def _moved(self, writer: str, request: Payload) -> Payload:
        """Return a request whose references point to the places of the steps they mean."""
        try:
            body = unpack(request)
        except RefusedValue:  # unreadable: nothing in it means a step
            return request
        if not isinstance(body, dict):
            return request
        for name in LISTS:
            items = body.get(name)
            for item in items if isinstance(items, list) else ():
                if not (isinstance(item, dict) and len(item) == 1):
                    continue
                match item.get(REF):
                    case [int(own), *_]:  # anything else was not written by a ContextTable
                        item[REF][0] = self._look_up(writer, own)
        return pack(body)
