"""What must still be answered: the open obligations of a contract's bounded responses."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from masfire.contracts.core import free
from masfire.contracts.model import Response


class Obligation:
    """A trigger that waits for its response; `maybe`: a step may have answered it."""

    __slots__ = ("closed", "index", "key", "maybe", "rule", "time", "values", "who")

    def __init__(
        self, rule: int, key: Any, values: tuple[Any, ...], index: int, time: float, who: tuple[str, str]
    ) -> None:
        self.rule, self.key, self.values = rule, key, values
        self.index, self.time, self.who = index, time, who
        self.maybe = self.closed = False


class Obligations:
    """Open obligations by rule, slice and the values shared with the response; amortised O(1) a step."""

    def __init__(self, rules: dict[int, Any]) -> None:
        self.windows: dict[int, Any] = {}
        self._shared: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.waiting: dict[Any, list[Obligation]] = {}
        """What waits, by rule, slice and shared values; the same object for good."""
        self._queues: dict[int, deque[Obligation]] = {}
        self.due_step: float = math.inf
        self.due_time: float = math.inf
        for number, ready in rules.items():
            rule = ready.rule
            assert isinstance(rule, Response)  # noqa: S101 - only those are handed over
            self.windows[number] = rule.within
            triggers, answers = sorted(free(ready.left)), sorted(free(ready.right))
            both = [name for name in triggers if name in answers]
            self._shared[number] = (
                tuple(triggers.index(name) for name in both),
                tuple(answers.index(name) for name in both),
            )
            self._queues[number] = deque()
        self.bounded = any(window is not None for window in self.windows.values())

    def open(
        self, rule: int, key: Any, values: tuple[Any, ...], index: int, time: float, who: tuple[str, str]
    ) -> None:
        """Note that a step must be answered."""
        self._add(Obligation(rule, key, values, index, time, who))

    def _add(self, obligation: Obligation) -> None:
        rule, shared = obligation.rule, self._shared[obligation.rule][0]
        values = tuple([obligation.values[place] for place in shared]) if shared else ()
        place = (rule, obligation.key, values)
        waiting = self.waiting.get(place)
        if waiting is None:
            self.waiting[place] = [obligation]
        else:
            waiting.append(obligation)
        if self.windows[rule] is not None:
            self._queues[rule].append(obligation)
            self._aim(obligation)

    def _aim(self, obligation: Obligation) -> None:
        window = self.windows[obligation.rule]
        if window.unit == "steps":
            due = obligation.index + window.amount
            if due < self.due_step:
                self.due_step = due
        else:  # a little early; `overdue` is exact
            self.due_time = min(self.due_time, math.nextafter(obligation.time + window.amount, -math.inf))

    def answer(
        self,
        rule: int,
        key: Any,
        values: tuple[Any, ...],
        index: int,
        history: int,
        *,
        certain: bool,
        commit: bool,
    ) -> bool:
        """Answer the open obligations of the same values; return whether there were any (certainly).

        `history` is a mask of the steps that count as earlier; -1: all.
        """
        shared = self._shared[rule][1]
        place = (rule, key, tuple([values[at] for at in shared]) if shared else ())
        waiting = self.waiting.get(place)
        if not waiting:
            return False
        if certain and commit and history == -1:  # the usual case: all of them, for good
            del self.waiting[place]
            for each in waiting:
                each.closed = True
            self._forget_closed(rule)
            return True
        met = [each for each in waiting if each.index < index and history >> each.index & 1]
        if commit:
            for each in met:
                each.maybe = True
                each.closed = certain
            if certain and met:
                rest = [each for each in waiting if not each.closed]
                if rest:
                    self.waiting[place] = rest
                else:
                    del self.waiting[place]
        return bool(met) and certain

    def _forget_closed(self, rule: int) -> None:
        """Drop answered obligations from the head of a rule's queue; then a deadline may be later."""
        queue = self._queues[rule]
        if queue and queue[0].closed:
            while queue and queue[0].closed:
                queue.popleft()
            self._aim_again()

    def overdue(self, index: int, time: float, *, commit: bool) -> list[Obligation]:
        """Return (and close) the obligations whose deadline is before this step, oldest first."""
        late: list[Obligation] = []
        for rule, queue in self._queues.items():
            window = self.windows[rule]
            taken = 0
            for each in queue:
                if not each.closed:
                    distance = index - each.index if window.unit == "steps" else time - each.time
                    if distance <= window.amount:
                        break
                    late.append(each)
                taken += 1
            if commit:
                for _ in range(taken):
                    queue.popleft()
        if commit:
            for each in late:
                self._close(each)
            self._aim_again()
        return sorted(late, key=lambda each: (each.index, each.rule))

    def _aim_again(self) -> None:
        self.due_step = self.due_time = math.inf
        for queue in self._queues.values():
            if queue:
                self._aim(queue[0])

    def _close(self, obligation: Obligation) -> None:
        obligation.closed = True
        shared = tuple(obligation.values[place] for place in self._shared[obligation.rule][0])
        place = (obligation.rule, obligation.key, shared)
        rest = [each for each in self.waiting.get(place, ()) if not each.closed]
        if rest:
            self.waiting[place] = rest
        else:
            self.waiting.pop(place, None)

    def drop(self, key: Any) -> bool:
        """Forget the obligations of a slice; return whether there were any."""
        mine = [each for waiting in self.waiting.values() for each in waiting if each.key == key]
        for each in mine:
            self._close(each)
        return bool(mine)

    def any_open(self) -> bool:
        """Return whether something waits."""
        return bool(self.waiting)

    def all_open(self) -> list[Obligation]:
        """Return what waits, oldest first."""
        found = [each for waiting in self.waiting.values() for each in waiting]
        return sorted(found, key=lambda each: (each.index, each.rule))

    def save(self) -> list[Any]:
        """Return the open obligations as plain values."""
        return [
            (each.rule, each.key, each.values, each.index, each.time, each.who, each.maybe)
            for each in self.all_open()
        ]

    def restore(self, saved: list[Any]) -> None:
        """Take over saved obligations."""
        for rule, key, values, index, time, who, maybe in saved:
            obligation = Obligation(rule, key, values, index, time, who)
            obligation.maybe = maybe
            self._add(obligation)
