"""Formulas as Python source: one function for each contract and class of steps.

A class is a step kind and a name; what cannot match it is folded away before anything is generated.
Texts and numbers of a contract are bound as values (`c0`, `c1`, …) and never become source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from masfire.contracts.core import negated
from masfire.contracts.language.syntax import (
    And,
    Apply,
    Argument,
    Atom,
    Compare,
    Const,
    Count,
    Exists,
    Field,
    Formula,
    Interval,
    Last,
    Literal,
    Not,
    Once,
    Or,
    Path,
    Present,
    Prev,
    Since,
    Sum,
    Term,
    Truth,
    Var,
    Window,
)
from masfire.contracts.plan import Plan
from masfire.contracts.tables import Table, like
from masfire.contracts.values import freeze, numeric_twin
from masfire.contracts.view import own_fields
from masfire.contracts.writer import Expr, Writer, all_of, any_of, opposite

Env: TypeAlias = dict[str, str]
"""Variable -> the local name that holds its value."""

Then: TypeAlias = Callable[[Env], None]
EVERYWHERE = frozenset({"step", "time", "agent", "role", "kind", "parents"})
_ORDER = ("<", "<=", ">", ">=")
_TEXTS = frozenset({"agent", "role", "kind", "name", "tool", "model"})


class Conditions(Writer):
    """Formulas whose variables all have values, as Boolean expressions.

    `certain`: true only when the formula is certainly true; else also when it is unknown.
    """

    def __init__(self, plan: Plan, step_class: tuple[str, str] | None, levels: int) -> None:
        super().__init__()
        self.plan, self.step_class, self.levels = plan, step_class, levels
        self.planning = False
        self.journal = False
        self.homes: dict[str, tuple[Formula, int]] = {}

    def truth(self, formula: Formula, certain: bool, level: int, env: Env) -> Expr:
        """Return the condition that the formula is (certainly, or possibly) true."""
        if isinstance(formula, Literal):
            return formula.value
        if isinstance(formula, Not):
            return opposite(self.truth(formula.operand, not certain, level, env))
        if isinstance(formula, And):
            return all_of([self.truth(part, certain, level, env) for part in formula.operands])
        if isinstance(formula, Or):
            return any_of([self.truth(part, certain, level, env) for part in formula.operands])
        if isinstance(formula, Atom):
            return self.atom(formula, certain, level, env)
        if isinstance(formula, Compare):
            return self.comparison(formula, certain, level, env)
        if isinstance(formula, Truth):
            if self.foreign(formula.term, level):
                return False
            text = f"truth({self.term(formula.term, level, env)})"
            return f"({text} is True)" if certain else f"({text} is not False)"
        if isinstance(formula, Present):
            if self.foreign(Field(formula.path), level):
                return False
            return f"(type({self.field(formula.path, level)}) is not Absence)"
        return self.temporal(formula, certain, level, env)

    def temporal(self, formula: Formula, certain: bool, level: int, env: Env) -> Expr:
        """Return the condition of a temporal operator, or of `exists`."""
        if isinstance(formula, Prev):
            return all_of([self.before(formula, level), self.truth(formula.operand, certain, level + 1, env)])
        if isinstance(formula, Exists):
            return self.exists(formula, certain, level, env)
        table = self.table_of(formula, certain, level)
        stamp = self.name("s")
        parts: list[Expr] = [f"({stamp} := {self.stamp(table, level, env)}) is not None"]
        test = self.stamped(formula, certain, level, env, stamp)
        assert isinstance(test, str)  # noqa: S101 - a table was looked at
        return f"(({parts[0]}) and {test})"

    def before(self, formula: Prev, level: int) -> Expr:
        """Return the condition that there is a previous step, inside the window."""
        if level + 1 > self.levels:
            raise AssertionError("a level deeper than planned")
        parts: list[Expr] = [f"v{level + 1} is not None"]
        window = formula.window
        if window is not None:
            unit = "i" if window.unit == "steps" else "t"
            parts.append(f"{unit}{level} - {unit}{level + 1} <= {self.constant(window.amount)}")
        return all_of(parts)

    def table_of(self, formula: Formula, certain: bool, level: int) -> Table:
        """Return the table whose rows can make a temporal operator true."""
        if isinstance(formula, Once):
            return self.use(self.plan.last(formula, "", formula.operand, certain, level, formula.window))
        if isinstance(formula, Since):
            return self.use(self.plan.last(formula, "right", formula.right, certain, level, formula.window))
        assert isinstance(formula, Interval)  # noqa: S101 - the only operator left
        return self.use(self.plan.last(formula, "open", formula.open, certain, level, None))

    def rival_of(self, formula: Formula, certain: bool, level: int) -> Table | None:
        """Return the table of the steps that ended what a row of `table_of` began."""
        if isinstance(formula, Since):
            return self.use(
                self.plan.last(formula, "left", negated(formula.left), not certain, level, formula.window)
            )
        if isinstance(formula, Interval):
            return self.use(self.plan.last(formula, "close", formula.close, not certain, level, None))
        return None

    def stamped(self, formula: Formula, certain: bool, level: int, env: Env, stamp: str) -> Expr:
        """Return the condition on the stamp of a row that it makes the operator true now."""
        table = self.table_of(formula, certain, level)
        rival = self.rival_of(formula, certain, level)
        index = f"{stamp}[0]" if table.timed else stamp
        parts: list[Expr] = [f"{index} >= 0"]
        if rival is not None:
            other = self.stamp(rival, level, env)
            other = f"{other}[0]" if rival.timed else other
            parts.append(f"{index} {'>' if isinstance(formula, Interval) else '>='} {other}")
        window = getattr(formula, "window", None)
        if window is not None:
            amount = self.constant(window.amount)
            if window.unit == "steps":
                parts.append(f"i{level} - {index} <= {amount}")
            else:
                time = f"X.times[{stamp}]" if self.plan.causal else f"{stamp}[1]"
                if self.plan.causal:
                    time = f"(t{level} if {stamp} == i{level} else {time})"
                parts.append(f"t{level} - {time} <= {amount}")
        return all_of(parts)

    def stamp(self, table: Table, level: int, env: Env) -> str:
        """Return the expression of when a table's operand was last true: an index, -1 when never."""
        state = f"S[{table.slot}]"
        if self.plan.causal:
            mask = f"{state}.get({self.key(table.vars, env)}, 0)" if table.vars else state
            return f"(({mask}) & h{level}).bit_length() - 1"
        if table.dense:
            row, key = self.name("r"), self.key(table.vars, env)
            return (
                f"({state}[0] if ({row} := {state}[1].get({key})) is None or {state}[0] > {row}[1] "
                f"else {row}[0])"
            )
        if not table.vars:
            return state
        return f"{state}.get({self.key(table.vars, env)}, {'NEVER' if table.timed else '-1'})"

    def key(self, names: tuple[str, ...], env: Env) -> str:
        """Return the expression of a row's key."""
        if not names:
            return "0"
        return env[names[0]] if len(names) == 1 else f"({', '.join(env[name] for name in names)})"

    # Fields and terms

    def foreign(self, term: Term, level: int) -> bool:
        """Return whether steps of this class never have the field."""
        if not isinstance(term, Field) or level or self.step_class is None:
            return isinstance(term, Apply) and any(self.foreign(part, level) for part in term.arguments)
        head = str(term.path[0])
        return head not in EVERYWHERE and head not in own_fields(self.step_class[0])

    def field(self, path: Path, level: int) -> str:
        """Return the expression of a field of the step at a level."""
        head, view = str(path[0]), f"v{level}"
        if head == "args":
            text = f"{view}.args"
        elif head in ("agent", "role"):
            text = f"{view}.step.{head}"
        elif head == "kind":
            text = f"{view}.kind"
        elif head in ("step", "time"):
            text = f"{view}.{'index' if head == 'step' else 'time'}"
        else:
            text = f"{view}.field({self.constant(head)})"
        for part in path[1:]:
            text = f"item({text}, {self.constant(part)})"
        return text

    def frozen_field(self, path: Path, level: int) -> str:
        """Return the expression of a field in its hashable form."""
        if len(path) > 1:
            return f"frozen({self.field(path[:-1], level)}, {self.constant(path[-1])})"
        text = self.field(path, level)
        return text if path[0] in ("agent", "role", "kind", "step", "time") else f"freeze({text})"

    def term(self, term: Term, level: int, env: Env) -> str:
        """Return the expression of a term's value."""
        if isinstance(term, Const):
            return self.constant(term.value)
        if isinstance(term, Var):
            return env[term.name]
        if isinstance(term, Field):
            return self.field(term.path, level)
        if isinstance(term, Apply):
            inner = ", ".join(self.term(part, level, env) for part in term.arguments)
            return f"apply({self.constant(term.function)}, {inner})"
        if isinstance(term, Last):
            return self.last_value(term, level, env)
        return self.count(term, level, env) if isinstance(term, Count) else self.sum(term, level, env)

    def last_value(self, term: Last, level: int, env: Env) -> str:
        """Return the expression of a field's value at an earlier step."""
        when = term.when if term.when is not None else Literal(True)
        table = self.use(self.plan.valued("value", term, when, Field(term.path), level, term.window))
        row = f"S[{table.slot}].get({self.key(table.vars, env)})"
        window = self._window(term.window)
        if self.plan.causal:
            low = f"window_mask(i{level}, t{level}, {window}, X.times)"
            return f"causal_latest({row}, h{level}, i{level}, {low})"
        return f"latest({row}, i{level}, t{level}, {window})"

    def count(self, term: Count, level: int, env: Env) -> str:
        """Return the expression of a count."""
        texts = []
        for certain in (True, False):
            table = self.use(self.plan.count(term, term.formula, certain, level, term.window))
            key = self.key(table.vars, env)
            if self.plan.causal:
                low = f"window_mask(i{level}, t{level}, {self._window(term.window)}, X.times)"
                texts.append(f"causal_count(S[{table.slot}].get({key}, 0), h{level}, {low})")
            elif term.window is None:
                texts.append(f"S[{table.slot}].get({key}, 0)")
            else:
                texts.append(self._total(table, key, level, True))
        return texts[0] if texts[0] == texts[1] else f"both({texts[0]}, {texts[1]})"

    def sum(self, term: Sum, level: int, env: Env) -> str:
        """Return the expression of a sum."""
        when = term.when if term.when is not None else Literal(True)
        table = self.use(self.plan.valued("sum", term, when, term.term, level, term.window))
        key = self.key(table.vars, env)
        if self.plan.causal:
            low = f"window_mask(i{level}, t{level}, {self._window(term.window)}, X.times)"
            return f"causal_sum(S[{table.slot}].get({key}), h{level}, {low})"
        if term.window is None:
            return f"running(S[{table.slot}].get({key}))"
        return self._total(table, key, level, False)

    def _total(self, table: Table, key: str, level: int, counts: bool) -> str:
        assert table.window is not None  # noqa: S101 - only windows have deques
        now = f"i{level}" if table.window.unit == "steps" else f"t{level}"
        amount = self.constant(table.window.amount)
        return f"total(S[{table.slot}].get({key}), {now}, {amount}, J, {counts})"

    def _window(self, window: Window | None) -> str:
        return "None" if window is None else self.constant((window.amount, window.unit))

    def comparison(self, formula: Compare, certain: bool, level: int, env: Env) -> Expr:
        """Return the condition of a comparison."""
        if self.foreign(formula.left, level) or self.foreign(formula.right, level):
            return False
        fast = self._fast(formula, certain, level, env)
        if fast is not None:
            return fast
        left, right = self.term(formula.left, level, env), self.term(formula.right, level, env)
        text = f"compare({self.constant(formula.op)}, {left}, {right})"
        text = f"{text} is True" if certain else f"{text} is not False"
        if formula.op in _ORDER and isinstance(formula.left, Var) and isinstance(formula.right, Var):
            # two whole numbers are compared at once: a rule may compare with all that was seen
            return f"({left} {formula.op} {right} if type({left}) is type({right}) is int else {text})"
        return f"({text})"

    def _fast(self, formula: Compare, certain: bool, level: int, env: Env) -> str | None:
        left, right = formula.left, formula.right
        if formula.op in ("==", "!=") and not isinstance(right, (Const, Var)):
            left, right = right, left
        if not isinstance(left, (Field, Var)) or formula.op not in ("==", "!=", "in"):
            return None
        if isinstance(right, Const) and formula.op == "in":
            if not isinstance(right.value, tuple):
                return None
            other = self.constant(frozenset(freeze(value) for value in right.value))
        elif isinstance(right, Const):
            other = self.constant(freeze(right.value))
        elif isinstance(right, Var) and formula.op != "in":
            other = env[right.name]
        else:
            return None
        if isinstance(left, Var):
            return f"({env[left.name]} {formula.op} {other})"
        value, text = self.name("x"), self.frozen_field(left.path, level)
        test = f"{value} {formula.op} {other}"
        if formula.op == "!=":
            test = f"{test} and {value} is not FOREIGN"
        if certain:
            absent = f" and {value} is not MISSING" if formula.op == "!=" else ""
            return f"((({value} := {text}) is not None or True) and {test}{absent})"
        return f"(({value} := {text}) is MISSING or ({test}))"

    # Atoms

    def impossible(self, formula: Formula, level: int) -> bool:
        """Return whether no step of this class can match an atom."""
        if not isinstance(formula, Atom) or level or self.step_class is None:
            return False
        kind, name = self.step_class
        if formula.kinds and kind not in formula.kinds:
            return True
        return bool(formula.name) and not like(name, formula.name)

    def which(self, atom: Atom, level: int) -> Expr:
        """Return the condition on kind and name."""
        if not level and self.step_class is not None:
            return not self.impossible(atom, level)
        parts: list[Expr] = []
        if len(atom.kinds) == 1:
            parts.append(f"v{level}.kind == {self.constant(atom.kinds[0])}")
        elif atom.kinds:
            parts.append(f"v{level}.kind in {self.constant(frozenset(atom.kinds))}")
        if "*" in atom.name:
            parts.append(f"like(v{level}.name, {self.constant(atom.name)})")
        elif atom.name:
            parts.append(f"v{level}.name == {self.constant(atom.name)}")
        return all_of(parts)

    def same(self, argument: Argument, atom: Atom, level: int, env: Env) -> Expr:
        """Return the condition that an argument has its value."""
        if self.foreign(Field(argument.path), level):
            return False
        text = self.frozen_field(argument.path, level)
        if isinstance(argument.term, Var):
            return f"{text} == {env[argument.term.name]}"
        value = freeze(argument.term.value)
        twin = numeric_twin(value) if atom.kinds == ("event",) else None
        if twin is not None:
            return f"{text} in {self.constant((value, twin))}"
        return f"{text} == {self.constant(value)}"

    def atom(self, atom: Atom, certain: bool, level: int, env: Env) -> Expr:
        """Return the condition of an atom whose variables have values."""
        parts = [self.which(atom, level)]
        if parts[0] is False:
            return False
        parts += [self.same(argument, atom, level, env) for argument in atom.arguments]
        if atom.condition is not None:
            parts.append(self.truth(atom.condition, certain, level, env))
        return all_of(parts)

    # What `solve.py` adds

    def use(self, table: Table) -> Table:
        """Return a table that has its slot."""
        raise NotImplementedError

    def exists(self, formula: Exists, certain: bool, level: int, env: Env) -> Expr:
        """Return the condition of an existential."""
        raise NotImplementedError
