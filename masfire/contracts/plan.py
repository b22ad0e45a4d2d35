"""Which tables the formulas of a contract need, and whether they can be monitored at all."""

from __future__ import annotations

from typing import Any

from masfire.contracts.core import atoms, definite, free
from masfire.contracts.language.show import show
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Compare,
    Const,
    Exists,
    Formula,
    Interval,
    Not,
    Once,
    Or,
    Prev,
    Since,
    Term,
    Var,
    Window,
)
from masfire.contracts.tables import Table
from masfire.errors import UsageError


class Unmonitorable(UsageError):
    """A formula whose truth hangs on values that no step has shown; `formula` is the part at fault."""

    def __init__(self, part: Formula, missing: frozenset[str], *, where: str = "") -> None:
        self.formula = part
        names = ", ".join(sorted(missing))
        super().__init__(
            f"This cannot be monitored: nothing in `{show(part)}` binds {names} at the step it looks at, so "
            "its truth would hang on values that no step has shown yet.",
            hint=f"Name a step that binds {names} beside it (… and event('x', {names})).",
            where=where,
        )


def binds(formula: Formula, bound: frozenset[str]) -> frozenset[str]:
    """Return the variables that are bound once a step has been found to satisfy `formula`."""
    if isinstance(formula, Atom):
        bound |= {part.term.name for part in formula.arguments if isinstance(part.term, Var)}
        return bound if formula.condition is None else binds(formula.condition, bound)
    if isinstance(formula, And):
        before = None
        while bound != before:
            before = bound
            for part in formula.operands:
                bound |= binds(part, bound)
        return bound
    if isinstance(formula, Compare) and choices(formula) and isinstance(formula.left, Var):
        return bound | {formula.left.name}
    if isinstance(formula, Or):
        return frozenset.intersection(*(binds(part, bound) for part in formula.operands))
    if isinstance(formula, Once):
        return bound | (free(formula) if sparse(formula.operand) else frozenset())
    if isinstance(formula, Since):
        return bound | (free(formula.right) if sparse(formula.right) else frozenset())
    if isinstance(formula, Interval):
        return bound | (free(formula.open) if sparse(formula.open) else frozenset())
    if isinstance(formula, Prev):
        return bound | binds(formula.operand, bound)
    if isinstance(formula, Exists):
        inner = binds(formula.operand, bound - {formula.name}) - {formula.name}
        return bound | inner
    return bound


def choices(formula: Compare) -> tuple[Any, ...]:
    """Return the constants that a comparison allows its variable to be; empty when they are not listed."""
    if not isinstance(formula.left, Var) or not isinstance(formula.right, Const):
        return ()
    if formula.op == "==":
        return (formula.right.value,)
    return formula.right.value if formula.op == "in" and isinstance(formula.right.value, tuple) else ()


def sparse(operand: Formula) -> bool:
    """Return whether a step satisfies `operand` for few values of its variables, found without guessing."""
    return free(operand) <= binds(operand, frozenset())


def densely(operand: Formula) -> bool:
    """Return whether the operand is the same for all values but those in a step's own atoms."""
    names = free(operand)
    return _plain(operand, names) and all(_binds_all(atom, names) for atom in atoms(operand))


def _binds_all(atom: Atom, names: frozenset[str]) -> bool:
    mine = {part.term.name for part in atom.arguments if isinstance(part.term, Var)}
    return not free(atom) or (mine == names and (atom.condition is None or not free(atom.condition)))


def _plain(formula: Formula, names: frozenset[str]) -> bool:
    if isinstance(formula, Atom) or not free(formula):
        return True
    if isinstance(formula, Not):
        return _plain(formula.operand, names)
    return isinstance(formula, (And, Or)) and all(_plain(part, names) for part in formula.operands)


class Plan:
    """The tables of one contract, by what they serve; their order is the order of updates."""

    def __init__(self, causal: bool, first_slot: int, where: str) -> None:
        self.causal, self.where = causal, where
        self.tables: dict[Any, Table] = {}
        self.order: list[Table] = []
        self.slots = first_slot
        self.scopes: dict[Any, Formula] = {}

    def slot(self) -> int:
        """Reserve a place in the state."""
        self.slots += 1
        return self.slots - 1

    def last(
        self, owner: Formula, part: str, operand: Formula, certain: bool, level: int, window: Window | None
    ) -> Table:
        """Return the table of the latest step at which `operand` was certainly (or possibly) true."""
        certain = certain or definite(operand)
        names = tuple(sorted(free(operand)))
        timed = window is not None and window.unit == "seconds" and not self.causal
        return self._table(
            ("last", owner, part, certain, self._level(level)),
            "last",
            names,
            operand,
            certain,
            level,
            window=window,
            timed=timed,
        )

    def count(self, owner: Term, operand: Formula, certain: bool, level: int, window: Window | None) -> Table:
        """Return the table of how often `operand` held."""
        certain = certain or definite(operand)
        return self._table(
            ("count", owner, certain, self._level(level)),
            "count",
            tuple(sorted(free(operand))),
            operand,
            certain,
            level,
            window=window,
        )

    def valued(
        self, kind: str, owner: Term, when: Formula, term: Any, level: int, window: Window | None
    ) -> Table:
        """Return the table of a sum (`kind` sum) or a latest value (`kind` value)."""
        return self._table(
            (kind, owner, self._level(level)),
            kind,
            tuple(sorted(free(when) | free(term))),
            when,
            False,
            level,
            window=window,
            term=term,
        )

    def domain(self, name: str, scope: Formula, level: int) -> Table:
        """Return the table of the values seen so far at the places in `scope` that bind `name`."""
        return self._table(("domain", name, scope, self._level(level)), "domain", (name,), scope, True, level)

    def index(self, table: Table, bound: tuple[str, ...]) -> int:
        """Return the slot of an index of a table by some of its variables."""
        if bound not in table.indexes:
            table.indexes[bound] = self.slot()
        return table.indexes[bound]

    def _level(self, level: int) -> int:
        return 0 if self.causal else level

    def _table(
        self,
        key: Any,
        kind: str,
        names: tuple[str, ...],
        operand: Formula,
        certain: bool,
        level: int,
        **more: Any,
    ) -> Table:
        try:
            known = self.tables.get(key)
        except TypeError:  # a constant that cannot be hashed
            key = repr(key)
            known = self.tables.get(key)
        if known is not None:
            return known
        dense = False
        if names and kind != "domain" and not frozenset(names) <= binds(operand, frozenset()):
            dense = kind == "last" and not self.causal and not more.get("timed") and densely(operand)
            if not dense:
                missing = frozenset(names) - binds(operand, frozenset())
                raise Unmonitorable(operand, missing, where=self.where)
        table = Table(-1, kind, names, operand, certain, self._level(level), dense=dense, indexes={}, **more)
        self.tables[key] = table
        return table

    def settle(self, table: Table) -> None:
        """Give a table its slot, after those that its operand needs."""
        if table.slot < 0:
            table.slot = self.slot()
            self.order.append(table)
