"""The naive evaluator of contracts: direct recursion over the whole prefix, for differential tests.

It shares with the engine how a field of one step is read (`View`) and nothing else: it knows no tables,
no rewriting and no order of evaluation, and quantifies by trying every value seen so far.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from masfire.contracts.language.syntax import (
    And,
    Apply,
    Atom,
    Compare,
    Const,
    Count,
    Exists,
    Field,
    Forall,
    Formula,
    Historically,
    Implies,
    Interval,
    Last,
    Literal,
    Not,
    Once,
    Or,
    Present,
    Prev,
    Since,
    Sum,
    Truth,
    Var,
    Window,
)
from masfire.contracts.model import Always, AtEnd, Contract, Response, StepStatus
from masfire.contracts.values import FOREIGN, MISSING, compare, freeze, is_number, thaw
from masfire.contracts.view import View
from masfire.trace.model import Step

Env = dict[str, Any]


def kleene_and(values: Sequence[bool | None]) -> bool | None:
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True


def kleene_or(values: Sequence[bool | None]) -> bool | None:
    if any(value is True for value in values):
        return True
    return None if any(value is None for value in values) else False


def kleene_not(value: bool | None) -> bool | None:
    return None if value is None else not value


class Reference:
    """Judges one contract over a list of steps."""

    def __init__(self, contract: Contract, steps: Sequence[Step]) -> None:
        self.contract = contract
        self.views: list[View] = []
        calls: dict[int, Step] = {}
        time = float("-inf")
        for step in steps:
            time = max(time, step.time)
            of = getattr(step.body, "of", -1) if step.kind in ("tool_result", "memory_value") else -1
            self.views.append(View(step, calls.pop(of, None), time))
            if step.kind == "tool_call":
                calls[step.step] = step
        self.steps = steps
        self.ancestors = self._closure()

    def _closure(self) -> list[set[int]]:
        found: list[set[int]] = []
        newest: dict[str, int] = {}
        for step in self.steps:
            mine: set[int] = set()
            for parent in (*step.parents, newest.get(step.agent, -1)):
                if 0 <= parent < step.step:
                    mine |= found[parent] | {parent}
            found.append(mine)
            newest[step.agent] = step.step
        return found

    def slice_of(self, index: int) -> Any:
        values = tuple(freeze(self.views[index].get(path)) for path in self.contract.key)
        return None if any(value in (MISSING, FOREIGN) for value in values) else values

    def earlier(self, index: int) -> list[int]:
        """Return the earlier points of the step's slice (and history), ascending."""
        mine = self.slice_of(index)
        causal = self.contract.order == "causal"
        return [
            j for j in range(index) if self.slice_of(j) == mine and (not causal or j in self.ancestors[index])
        ]

    def upto(self, index: int) -> list[int]:
        return [*self.earlier(index), index]

    def inside(self, window: Window | None, j: int, index: int) -> bool:
        if window is None:
            return True
        if window.unit == "steps":
            return index - j <= window.amount
        return self.views[index].time - self.views[j].time <= window.amount

    # Values

    def domain(self, name: str, scope: Any, index: int) -> list[Any]:
        seen: dict[Any, None] = {}
        for j in self.upto(index):
            for atom in atoms_of(scope, name):
                for value in self._shown(atom, name, j):
                    seen[value] = None
        return list(seen)

    def _shown(self, atom: Atom, name: str, j: int) -> Iterator[Any]:
        view = self.views[j]
        if not self._named(atom, view):
            return
        values = []
        for argument in atom.arguments:
            value = freeze(view.get(argument.path))
            if value in (MISSING, FOREIGN):
                return
            if isinstance(argument.term, Const) and value != freeze(argument.term.value):
                return
            values.append((argument.term, value))
        for term, value in values:
            if isinstance(term, Var) and term.name == name:
                yield value

    def _named(self, atom: Atom, view: View) -> bool:
        if atom.kinds and view.kind not in atom.kinds:
            return False
        return not atom.name or fnmatchcase(view.name, atom.name)

    def term(self, term: Any, i: int, env: Env) -> Any:
        view = self.views[i]
        if isinstance(term, Const):
            return term.value
        if isinstance(term, Var):
            return thaw(env[term.name])
        if isinstance(term, Field):
            return view.get(term.path)
        if isinstance(term, Apply):
            return self._apply(term, i, env)
        if isinstance(term, Count):
            held = [self.value(term.formula, j, env) for j in self.upto(i) if self.inside(term.window, j, i)]
            return MISSING if None in held else held.count(True)
        if isinstance(term, Sum):
            return self._sum(term, i, env)
        return self._last(term, i, env)

    def _apply(self, term: Apply, i: int, env: Env) -> Any:
        values = [self.term(part, i, env) for part in term.arguments]
        if FOREIGN in values:
            return FOREIGN
        if MISSING in values or not all(map(is_number, values)):
            return MISSING
        return {
            "+": lambda: values[0] + values[1],
            "-": lambda: values[0] - values[1],
            "*": lambda: values[0] * values[1],
        }[term.function]()

    def _sum(self, term: Sum, i: int, env: Env) -> Any:
        total: Any = 0
        for j in self.upto(i):
            if not self.inside(term.window, j, i):
                continue
            held = True if term.when is None else self.value(term.when, j, env)
            value = self.term(term.term, j, env)
            if held is False or value is FOREIGN:
                continue
            if held is None or not is_number(value):
                return MISSING
            total += value
        return total

    def _last(self, term: Last, i: int, env: Env) -> Any:
        for j in reversed(self.earlier(i)):
            value = self.views[j].get(term.path)
            if value in (MISSING, FOREIGN):
                continue
            held = True if term.when is None else self.value(term.when, j, env)
            if held is not False:
                return (value if held else MISSING) if self.inside(term.window, j, i) else MISSING
        return MISSING

    # Formulas

    def value(self, formula: Formula, i: int, env: Env) -> bool | None:
        """Return what the formula is at step i: true, false or unknown."""
        match formula:
            case Literal(value=value):
                return value
            case Atom():
                return self._atom(formula, i, env)
            case Compare():
                return compare(formula.op, self.term(formula.left, i, env), self.term(formula.right, i, env))
            case Truth():
                value = self.term(formula.term, i, env)
                return False if value is FOREIGN else value if isinstance(value, bool) else None
            case Present():
                return self.views[i].get(formula.path) not in (MISSING, FOREIGN)
            case Not():
                return kleene_not(self.value(formula.operand, i, env))
            case And():
                return kleene_and([self.value(part, i, env) for part in formula.operands])
            case Or():
                return kleene_or([self.value(part, i, env) for part in formula.operands])
            case Implies():
                return kleene_or(
                    [kleene_not(self.value(formula.left, i, env)), self.value(formula.right, i, env)]
                )
            case Exists() | Forall() if formula.name not in free_of(formula.operand):
                return self.value(formula.operand, i, env)
            case Exists() | Forall():
                values = [
                    self.value(formula.operand, i, {**env, formula.name: value})
                    for value in self.domain(formula.name, formula.operand, i)
                ]
                return kleene_or(values) if isinstance(formula, Exists) else kleene_and(values)
            case _:
                return self._past(formula, i, env)

    def _past(self, formula: Formula, i: int, env: Env) -> bool | None:
        match formula:
            case Prev():
                earlier = self.earlier(i)
                if not earlier or not self.inside(formula.window, earlier[-1], i):
                    return False
                return self.value(formula.operand, earlier[-1], env)
            case Once() | Historically():
                near = [j for j in self.upto(i) if self.inside(formula.window, j, i)]
                values = [self.value(formula.operand, j, env) for j in near]
                return kleene_or(values) if isinstance(formula, Once) else kleene_and(values)
            case Since():
                return self._since(formula.left, formula.right, formula.window, i, env)
            case Interval():
                closed = Not(formula.close)
                return self._since(closed, And((formula.open, closed)), None, i, env)
        raise AssertionError(formula)

    def _since(self, left: Formula, right: Formula, window: Window | None, i: int, env: Env) -> bool | None:
        points = self.upto(i)
        found = []
        for place, j in enumerate(points):
            if self.inside(window, j, i):
                after = [self.value(left, k, env) for k in points[place + 1 :]]
                found.append(kleene_and([self.value(right, j, env), *after]))
        return kleene_or(found)

    def _atom(self, atom: Atom, i: int, env: Env) -> bool | None:
        view = self.views[i]
        if not self._named(atom, view):
            return False
        for argument in atom.arguments:
            wanted = argument.term.value if isinstance(argument.term, Const) else env[argument.term.name]
            value = freeze(view.get(argument.path))
            if value in (MISSING, FOREIGN) or value != freeze(wanted):
                return False
        return True if atom.condition is None else self.value(atom.condition, i, env)

    # Rules

    def assignments(self, names: Sequence[str], scope: Any, i: int) -> Iterator[Env]:
        for values in itertools.product(*(self.domain(name, scope, i) for name in names)):
            yield dict(zip(names, values, strict=True))

    def status(self, i: int) -> tuple[StepStatus, set[tuple[Any, ...]]]:
        """Return the verdict of an Always contract at step i, and the violating assignments."""
        if self.contract.key and self.slice_of(i) is None:
            return StepStatus.VACUOUS, set()
        seen: set[StepStatus] = set()
        bad: set[tuple[Any, ...]] = set()
        for rule in self.contract.rules:
            assert isinstance(rule, Always)
            self._rule(rule.formula, i, seen, bad)
        for status in (StepStatus.FAIL, StepStatus.INCONCLUSIVE, StepStatus.PASS):
            if status in seen:
                return status, bad
        return StepStatus.VACUOUS, bad

    def _rule(self, formula: Formula, i: int, seen: set[StepStatus], bad: set[tuple[Any, ...]]) -> None:
        while isinstance(formula, Forall):  # outermost, it says of a variable what freedom says
            formula = formula.operand
        names = sorted(free_of(formula))
        if not isinstance(formula, Implies):
            seen.add(StepStatus.PASS)
        for env in self.assignments(names, formula, i):
            applies = True
            if isinstance(formula, Implies):
                applies = self.value(formula.left, i, env)
            value = self.value(formula, i, env)
            if value is False:
                seen.add(StepStatus.FAIL)
                bad.add(tuple(env[name] for name in names))
            elif value is None:
                seen.add(StepStatus.INCONCLUSIVE)
            elif applies is True:
                seen.add(StepStatus.PASS)

    def at_end(self) -> set[StepStatus]:
        """Return what AtEnd rules say of each slice (unkeyed: of the run)."""
        seen: set[StepStatus] = set()
        slices = (
            {self.slice_of(i): i for i in range(len(self.views))}
            if self.contract.key
            else {(): len(self.views) - 1}
        )
        slices.pop(None, None)
        for last in slices.values():
            for rule in self.contract.rules:
                assert isinstance(rule, AtEnd)
                formula = rule.formula
                while isinstance(formula, Forall):  # outermost, as in every rule
                    formula = formula.operand
                if rule.applies is not None:
                    formula = Implies(Once(rule.applies), formula)
                self._rule(formula, last, seen, set())
        return seen

    def broken(self) -> set[tuple[int, int]]:
        """Return (violated_at, blame) of a Response contract without unknowns, over a run that ended."""
        (rule,) = self.contract.rules
        assert isinstance(rule, Response)
        names, total = sorted(free_of(rule.trigger)), len(self.views)
        found = set()
        for i in range(total):
            if self.contract.key and self.slice_of(i) is None:
                continue
            for env in self.assignments(names, (rule.trigger, rule.response), i):
                if self.value(rule.trigger, i, env) is True:
                    at = self._answered(rule, i, env)
                    if at is not None:
                        found.add((at, i))
        return found

    def _answered(self, rule: Response, i: int, env: Env) -> int | None:
        """Return None when the trigger at i is answered, else where it is violated."""
        for j in range(i + 1, len(self.views)):
            if not self.inside(rule.within, i, j):
                return j
            if i in self.earlier(j) and self._answers(rule, j, env):
                return None
        return len(self.views)

    def _answers(self, rule: Response, j: int, env: Env) -> bool:
        response, scope = rule.response, (rule.trigger, rule.response)
        mine = {name: value for name, value in env.items() if name in free_of(response)}
        rest = sorted(free_of(response) - mine.keys())
        return any(
            self.value(response, j, {**mine, **more}) is True for more in self.assignments(rest, scope, j)
        )


def atoms_of(node: Any, name: str) -> list[Atom]:
    """Return the atoms in a tree, the outer before the inner, but for those where another `name` is bound."""
    if isinstance(node, tuple):
        return [atom for part in node for atom in atoms_of(part, name)]
    if not hasattr(node, "__struct_fields__") or (isinstance(node, (Exists, Forall)) and node.name == name):
        return []
    mine = [node] if isinstance(node, Atom) else []
    fields = (getattr(node, field) for field in node.__struct_fields__)
    return mine + [atom for part in fields for atom in atoms_of(part, name)]


def free_of(node: Any) -> frozenset[str]:
    """Return the free variables of a tree."""
    if isinstance(node, Var):
        return frozenset({node.name})
    if isinstance(node, tuple):
        return frozenset().union(*map(free_of, node))
    if not hasattr(node, "__struct_fields__"):
        return frozenset()
    inner = frozenset().union(*(free_of(getattr(node, name)) for name in node.__struct_fields__))
    return inner - {node.name} if isinstance(node, (Exists, Forall)) else inner
