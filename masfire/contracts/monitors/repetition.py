"""Counting steps that say the same: the monitor of `no_repeat`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from masfire.contracts.language.syntax import Path, Window
from masfire.contracts.model import Status, StepStatus, Witness
from masfire.contracts.monitors.local import Selects, absent
from masfire.contracts.view import View

Answer = tuple[StepStatus, str, Sequence[Witness]]


class Repetition:
    """How often each combination of values was seen (in the window); the `times`-th one fails.

    Fields that are texts, numbers or objects are compared as JSON with sorted keys. State: one digest
    and at most `times` - 1 steps a combination.
    """

    def __init__(
        self,
        when: Selects,
        *,
        same: tuple[Path, ...],
        times: int,
        within: Window | None,
        unless: Selects | None,
    ) -> None:
        self._when, self._same, self._times = when, same, times
        self._within, self._unless = within, unless
        self._seen: dict[str, list[list[float]]] = {}
        self._applied = False

    def judge(self, view: View, *, commit: bool) -> Answer:
        """Fail at the step that is the `times`-th of its kind."""
        if self._unless is not None and self._unless(view):
            if commit:
                self._seen.clear()
            return StepStatus.VACUOUS, "", ()
        concerned = self._when(view)
        if concerned is None:
            return StepStatus.INCONCLUSIVE, "a field of `when` is absent", ()
        if not concerned:
            return StepStatus.VACUOUS, "", ()
        values = [view.get(path) for path in self._same]
        for path, value in zip(self._same, values, strict=True):
            if absent(value):
                return StepStatus.INCONCLUSIVE, f"{'.'.join(map(str, path))} is absent", ()
        key = view.derived(("digest", self._same), lambda: digest(values))
        before = [at for at in self._seen.get(key, ()) if self._live(at, view)]
        if commit:
            self._applied = True
            self._seen[key] = [*before, [view.index, view.time]][-(self._times - 1) :]
        if len(before) + 1 < self._times:
            return StepStatus.PASS, "", ()
        witnesses = [Witness(int(step), "the same before") for step, _ in before]
        names = ", ".join(".".join(map(str, path)) for path in self._same)
        return StepStatus.FAIL, f"at least {self._times} times the same {names}", witnesses

    def _live(self, at: Sequence[float], view: View) -> bool:
        if self._within is None:
            return True
        gone = view.index - at[0] if self._within.unit == "steps" else view.time - at[1]
        return gone <= self._within.amount

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return satisfied when anything was counted."""
        return (Status.SATISFIED if self._applied else Status.VACUOUS), "", ()

    def save(self) -> Any:
        """Return the state as JSON."""
        return {"seen": self._seen, "applied": self._applied}

    def restore(self, state: Any) -> None:
        """Take over a saved state."""
        self._seen = {key: [list(at) for at in steps] for key, steps in state["seen"].items()}
        self._applied = state["applied"]


_encoder = msgspec.json.Encoder(order="deterministic")


def digest(value: Any) -> str:
    """Return a SHA-256 (hex, 32 digits) of a JSON value; the order of an object's keys does not matter."""
    try:
        text = _encoder.encode(value)
    except UnicodeEncodeError:  # half a character, which only escapes can hold
        text = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:32]
