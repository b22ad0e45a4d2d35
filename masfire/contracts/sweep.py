"""What a monitor may forget: rows and slices whose state says no more than that nothing happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from masfire.contracts.core import definite, negated
from masfire.contracts.language.syntax import Interval, Since
from masfire.contracts.plan import Plan
from masfire.contracts.tables import Table

PERIOD = 8_192
"""Least steps between two sweeps; further apart when more rows live, so that a step costs the same."""

RECENT = 4_096
"""For how many steps a row that was cleared is kept, so that a violation can say what cleared it."""


class Ends(NamedTuple):
    """A table of beginnings and the table of what ends them; `projected` makes a key of the latter."""

    table: Table
    rival: Table
    strict: bool
    projected: Callable[[Any], Any]


class Sweeper:
    """Finds rows that can no longer matter in the state of one contract (in recorded order).

    A row of `[p, q)` or of `not q since p` is dead once it was cleared, a row of a windowed operator
    once it left the window: either is as good as no row.
    """

    def __init__(self, plan: Plan, keeps_last: bool) -> None:
        self.keeps_last = keeps_last
        self.ends = [] if plan.causal else _ends(plan)
        self.windowed = (
            []
            if plan.causal
            else [table for table in plan.order if table.window is not None and not table.dense]
        )
        self.dense = [] if plan.causal else [table for table in plan.order if table.dense]
        self.useful = bool(self.ends or self.windowed or self.dense)

    def sweep(self, state: list[Any], index: int, time: float) -> int:
        """Drop what is dead before step `index`; return how many rows were looked at."""
        looked = 0
        for table in self.windowed:
            looked += self._expired(table, state, index, time)
        for table in self.dense:
            default, rows = state[table.slot]
            looked += len(rows)
            for key in [key for key, row in rows.items() if default > row[1]]:
                del rows[key]
        done: set[int] = set()
        for ends in self.ends:
            if ends.table.slot not in done:
                done.add(ends.table.slot)
                looked += self._cleared(ends.table, state, index)
        for slot, rival in {ends.rival.slot: ends.rival for ends in self.ends}.items():
            if not rival.dense:
                looked += self._idle(slot, rival, state, index)
        return looked

    def _expired(self, table: Table, state: list[Any], index: int, time: float) -> int:
        """Drop rows that left their window."""
        assert table.window is not None  # noqa: S101 - only those are handed over
        at = table.level + self.keeps_last
        if at:  # asked from an earlier step: the one that many steps back in the slice
            if state[at] is None:
                return 0
            index, time = state[at].index, state[at].time
        amount, steps = table.window.amount, table.window.unit == "steps"
        now = index if steps else time
        if table.kind == "last":
            place = 0 if steps else 1
            return _drop(table, state, lambda _, stamp: now - _at(table, stamp, place) > amount)
        rows = state[table.slot]
        looked = len(rows)
        dead = []
        for key, row in rows.items():
            if table.kind == "value":
                if now - row[0 if steps else 1] > amount:
                    dead.append(key)
                continue
            while row and now - row[0][0] > amount:
                row.popleft()
            if not row:
                dead.append(key)
        for key in dead:
            del rows[key]
        return looked

    def _cleared(self, table: Table, state: list[Any], index: int) -> int:
        """Drop beginnings that were cleared for every use of their table, and not just now."""
        uses = [ends for ends in self.ends if ends.table is table]

        def dead(key: Any, stamp: Any) -> bool:
            return all(
                ended < index - RECENT and _ended(_at(table, stamp), ended, ends.strict)
                for ends in uses
                for ended in (_stamp(ends.rival, state, ends.projected(key)),)
            )

        return _drop(table, state, dead)

    def _idle(self, slot: int, rival: Table, state: list[Any], index: int) -> int:
        """Drop ends that no beginning is left for."""
        needed: set[Any] = set()
        for ends in self.ends:
            if ends.rival is not rival:
                continue
            for key, stamp in _rows(ends.table, state):
                other = ends.projected(key)
                if _ended(_at(ends.table, stamp), _stamp(rival, state, other), ends.strict):
                    needed.add(other)
        return _drop(rival, state, lambda key, _: key not in needed)


def _ended(began: int, ended: int, strict: bool) -> bool:
    return ended > began if strict else ended >= began


def _at(table: Table, stamp: Any, place: int = 0) -> Any:
    return stamp[place] if table.timed else stamp


def _rows(table: Table, state: list[Any]) -> Iterator[tuple[Any, Any]]:
    if table.vars:
        yield from state[table.slot].items()
    elif _at(table, state[table.slot]) >= 0:
        yield (), state[table.slot]


def _stamp(table: Table, state: list[Any], key: Any) -> int:
    """Return the step at which a row last held; -1: never."""
    rows = state[table.slot]
    if table.dense:
        default, row = rows[0], rows[1].get(key)
        return int(default if row is None or default > row[1] else row[0])
    if table.vars:
        rows = rows.get(key)
        if rows is None:
            return -1
    return int(_at(table, rows))


def _drop(table: Table, state: list[Any], dead: Callable[[Any, Any], bool]) -> int:
    """Drop the dead rows of a table and of its indexes; return how many rows there were."""
    found = list(_rows(table, state))
    for key, stamp in found:
        if not dead(key, stamp):
            continue
        if not table.vars:
            state[table.slot] = table.fresh(causal=False)
            continue
        del state[table.slot][key]
        for bound, slot in table.indexes.items():
            part = _projection(table.vars, bound)(key)
            index = state[slot][part]
            del index[key]
            if not index:
                del state[slot][part]
    return len(found)


def _projection(names: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return the function from a row's key to that of the row of fewer variables."""
    if names == wanted:
        return lambda key: key
    places = [names.index(name) for name in wanted]
    if not places:
        return lambda _: ()
    if len(places) == 1:
        place = places[0]
        return lambda key: key[place]
    return lambda key: tuple([key[place] for place in places])


def _ends(plan: Plan) -> list[Ends]:
    """Return which tables begin and end the same intervals; none of a table that is ended otherwise."""
    found: list[Ends] = []
    unsafe: set[int] = set()
    for key, table in plan.tables.items():
        if not isinstance(key, tuple) or key[0] != "last" or key[2] not in ("open", "right"):
            continue
        _, owner, _, _, level = key
        assert isinstance(owner, (Interval, Since))  # noqa: S101 - who has such parts
        begins, closing = (
            (owner.open, owner.close) if isinstance(owner, Interval) else (owner.right, negated(owner.left))
        )
        other = "close" if isinstance(owner, Interval) else "left"
        for certain in (True, False):
            if plan.tables.get((*key[:3], certain or definite(begins), level)) is not table:
                continue
            rival = plan.tables.get(("last", owner, other, not certain or definite(closing), level))
            if rival is None or rival.slot < 0:
                continue
            if table.dense or not set(rival.vars) <= set(table.vars):
                unsafe |= {table.slot, rival.slot}
                continue
            found.append(Ends(table, rival, isinstance(owner, Since), _projection(table.vars, rival.vars)))
    changed = True
    while changed:
        bad = [ends for ends in found if {ends.table.slot, ends.rival.slot} & unsafe]
        changed = any(not {ends.table.slot, ends.rival.slot} <= unsafe for ends in bad)
        for ends in bad:
            unsafe |= {ends.table.slot, ends.rival.slot}
    return [ends for ends in found if ends.table.slot not in unsafe and ends.table.slot >= 0]
