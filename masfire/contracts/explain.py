"""Why a contract is violated: the false part, the values it saw, and the steps that explain it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from masfire.contracts.core import core, free, twins
from masfire.contracts.language.show import show, show_path, show_term
from masfire.contracts.language.syntax import (
    And,
    Apply,
    Atom,
    Compare,
    Count,
    Exists,
    Field,
    Forall,
    Formula,
    Implies,
    Interval,
    Last,
    Not,
    Once,
    Or,
    Present,
    Since,
    Sum,
    Truth,
)
from masfire.contracts.model import Witness
from masfire.contracts.program import Program
from masfire.contracts.rules import Ready
from masfire.contracts.values import MISSING, Absence, thaw

MOST = 8
"""Most values and witnesses that a violation lists."""


class Explanation:
    """Looks at one moment of one slice; values come from the tables as they stand after the step."""

    def __init__(
        self,
        program: Program,
        ready: Ready,
        state: list[Any],
        view: Any,
        moment: Any,
        values: tuple[Any, ...],
        *,
        end: bool = False,
    ) -> None:
        self.program, self.ready, self.state, self.view = program, ready, state, view
        self.moment, self.end = moment, end
        self.env = dict(zip(ready.names, values, strict=False))

    def parts(self) -> tuple[str, tuple[tuple[str, Any], ...], tuple[Witness, ...]]:
        """Return the false sub-formula, what its parts were, and witness steps."""
        part = self._wrong(self.ready.shown)
        saw: dict[str, Any] = {}
        self._collect(part, saw)
        witnesses: dict[str, Witness] = {}
        text, operators = self._once_only("parts", part, lambda: (show(part), _operators(self._core(part))))
        for node in operators:
            self._witness(node, witnesses)
        return text, tuple(list(saw.items())[:MOST]), tuple(list(witnesses.values())[:MOST])

    def _once_only(self, what: str, node: Any, make: Callable[[], Any]) -> Any:
        """Return what never changes about a part of this contract's formulas; made once."""
        key = (what, id(node), self.end)
        known = self.program.remembered.get(key)
        if known is None or known[0] is not node:
            known = self.program.remembered[key] = (node, make())
        return known[1]

    def cause(self) -> str:
        """Return why the formula is unknown: the fields that are absent."""
        saw: dict[str, Any] = {}
        for part in (self.ready.shown,):
            self._collect(part, saw)
        absent = [name for name, value in saw.items() if isinstance(value, str) and value == MISSING.text]
        if absent:
            return f"absent: {', '.join(absent)}"
        return f"unknown: {show(self._wrong(self.ready.shown))}"

    def _core(self, part: Formula) -> Formula:
        whole = self.ready.right if self.ready.left is None else And((self.ready.left, self.ready.right))
        return twins(core(part, frozenset(self.ready.names)), whole)

    def _ask(self, kind: str, node: Any, certain: bool = True) -> Any:
        names, function = self._once_only(f"{kind} {certain}", node, lambda: self._asker(kind, node, certain))
        values = tuple([self.env[name] for name in names])
        return function(self.state, self.view, self.moment, None, values)

    def _asker(self, kind: str, node: Any, certain: bool) -> Any:
        names = tuple(sorted(free(node)))
        reduced = self._core(node) if kind == "truth" else node
        return names, self.program.value(kind, reduced, names, certain, self.end)

    def _true(self, part: Formula, certain: bool) -> bool:
        try:
            return bool(self._ask("truth", part, certain))
        except (LookupError, TypeError, AttributeError, AssertionError):
            return False

    def _wrong(self, part: Formula) -> Formula:
        """Return the smallest part that makes the whole false."""
        if isinstance(part, (Forall, Exists)):
            return part
        if isinstance(part, Implies):
            return self._wrong(part.right)
        if isinstance(part, And):
            known = [each for each in part.operands if free(each) <= self.env.keys()]
            for certain in (False, True):  # what is false before what is unknown
                for each in known:
                    if not self._true(each, certain):
                        return self._wrong(each)
        if isinstance(part, Not) and isinstance(part.operand, Not):
            return self._wrong(part.operand.operand)
        if isinstance(part, Not) and isinstance(part.operand, Implies):
            return part.operand
        return part

    def _collect(self, node: Any, saw: dict[str, Any]) -> None:
        """Note the values of the fields, variables and counts at this step."""
        if isinstance(node, (Field, Present)):
            value = self.view.get(node.path)
            saw[show_path(node.path)] = value.text if isinstance(value, Absence) else value
        elif isinstance(node, (Last, Count, Sum)):
            self._collect_term(node, saw)
        elif isinstance(node, (Compare, Apply, Truth, And, Or, Not, Implies)):
            for name in node.__struct_fields__:
                self._collect(getattr(node, name), saw)
        elif isinstance(node, tuple):
            for part in node:
                self._collect(part, saw)
        elif isinstance(node, Atom):
            for argument in node.arguments:
                self._collect(Field(argument.path), saw)
            self._collect(node.condition, saw)
        elif hasattr(node, "name") and type(node).__name__ == "Var" and node.name in self.env:
            saw[node.name] = thaw(self.env[node.name])

    def _collect_term(self, term: Any, saw: dict[str, Any]) -> None:
        try:
            value = self._ask("term", self._once_only("core", term, lambda: self._core_term(term)))
        except (LookupError, TypeError, AttributeError, AssertionError):
            return
        saw[show_term(term)] = value.text if isinstance(value, Absence) else thaw(value)

    def _core_term(self, term: Any) -> Any:
        wanted = core(Compare("==", term, term), frozenset(self.ready.names))
        assert isinstance(wanted, Compare)  # noqa: S101 - a comparison stays one
        return wanted.left

    def _witness(self, node: Formula, witnesses: dict[str, Witness]) -> None:
        if not free(node) <= self.env.keys():
            return
        try:
            began, ended = self._ask("stamps", node)
        except (LookupError, TypeError, AttributeError, AssertionError):
            return
        what, rival = self._once_only("named", node, lambda: _named(node))
        if began < 0:
            return
        if isinstance(node, Once):
            witnesses[what] = Witness(began, f"{what} last held at {began}")
        elif ended > began or (ended == began and isinstance(node, Interval)):
            witnesses[what] = Witness(began, f"{what} at {began} was cleared by {rival} at {ended}")
            witnesses[rival] = Witness(ended, f"{rival} at {ended} cleared {what} at {began}")
        else:
            witnesses[what] = Witness(began, f"{what} at {began} still holds")


def _named(node: Formula) -> tuple[str, str]:
    if isinstance(node, Interval):
        return show(node.open), show(node.close)
    if isinstance(node, Since):
        left = node.left.operand if isinstance(node.left, Not) else Not(node.left)
        return show(node.right), show(left)
    assert isinstance(node, Once)  # noqa: S101 - the only operator left
    return show(node.operand), ""


def _operators(node: Any) -> list[Formula]:
    """Return the temporal operators that a formula asks of this step."""
    if isinstance(node, (Once, Since, Interval)):
        return [node]
    if isinstance(node, Not):
        return _operators(node.operand)
    if isinstance(node, (And, Or)):
        return [found for part in node.operands for found in _operators(part)]
    return []
