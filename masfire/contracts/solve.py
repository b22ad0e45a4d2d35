"""Formulas with unbound variables as loops over what the tables and the step offer; updates of tables."""

from __future__ import annotations

from typing import Any

from masfire.contracts.compile import Conditions, Env, Then
from masfire.contracts.core import atoms, free
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Compare,
    Const,
    Exists,
    Field,
    Formula,
    Interval,
    Literal,
    Not,
    Once,
    Or,
    Prev,
    Since,
    Var,
)
from masfire.contracts.plan import Unmonitorable, binds, choices
from masfire.contracts.tables import Table
from masfire.contracts.values import freeze
from masfire.contracts.writer import Expr, all_of


class Solver(Conditions):
    """Writes code that runs `then` for each assignment that makes a formula (certainly, possibly) true."""

    def solve(self, formula: Formula, certain: bool, level: int, env: Env, then: Then) -> None:
        """Write loops over the assignments of the formula's unbound variables."""
        if self.impossible(formula, level):
            return
        if not free(formula) - env.keys():
            self.when(self.truth(formula, certain, level, env), lambda: then(env))
        elif isinstance(formula, Atom):
            self.match(formula, certain, level, env, then)
        elif isinstance(formula, And):
            self.join(list(formula.operands), certain, level, env, then)
        elif isinstance(formula, Or):
            self.union(formula, certain, level, env, then)
        elif isinstance(formula, Prev):
            self.when(
                self.before(formula, level),
                lambda: self.solve(formula.operand, certain, level + 1, env, then),
            )
        elif isinstance(formula, Exists):
            self.project(formula, certain, level, env, then)
        elif isinstance(formula, Compare) and choices(formula):
            self.choose(formula, env, then)
        elif isinstance(formula, (Once, Since, Interval)) and binds(formula, frozenset(env)) - env.keys():
            self.rows(formula, certain, level, env, then)
        else:
            self.guess(formula, certain, level, env, then)

    def when(self, condition: Expr, then: Any) -> None:
        """Write a block under a condition; nothing when it is known to be false."""
        if condition is True:
            then()
        elif condition is not False:
            with self.block(f"if {condition}:"):
                then()

    def match(self, atom: Atom, certain: bool, level: int, env: Env, then: Then) -> None:
        """Write the match of an atom, which binds its variables."""
        env = dict(env)
        conditions: list[Expr] = [self.which(atom, level)]
        for argument in atom.arguments:
            term = argument.term
            if isinstance(term, Const) or term.name in env:
                conditions.append(self.same(argument, atom, level, env))
                continue
            if self.foreign(Field(argument.path), level):
                return
            local = self.name("b")
            text = self.frozen_field(argument.path, level)
            conditions.append(f"type({local} := {text}) is not Absence")
            env[term.name] = local

        def matched() -> None:
            if atom.condition is None:
                then(env)
            else:
                self.solve(atom.condition, certain, level, env, then)

        self.when(all_of(conditions), matched)

    def join(self, parts: list[Formula], certain: bool, level: int, env: Env, then: Then) -> None:
        """Write a conjunction: filters as soon as they can be asked, atoms before tables."""
        if any(self.impossible(part, level) for part in parts):
            return
        ready = [part for part in parts if not free(part) - env.keys()]
        rest = [part for part in parts if free(part) - env.keys()]
        condition = all_of([self.truth(part, certain, level, env) for part in ready])

        def more() -> None:
            if not rest:
                then(env)
                return
            bound = frozenset(env)
            makers = [part for part in rest if binds(part, bound) - bound]
            if makers:
                chosen = min(makers, key=lambda part: (_dear(part), rest.index(part)))
                others = [part for part in rest if part is not chosen]
                self.solve(
                    chosen, certain, level, env, lambda inner: self.join(others, certain, level, inner, then)
                )
            else:
                self.guess(And(tuple(rest)), certain, level, env, then)

        self.when(condition, more)

    def choose(self, formula: Compare, env: Env, then: Then) -> None:
        """Write a loop over the constants that a variable may be: `c in ['A', 'B']`, `c == 'A'`."""
        assert isinstance(formula.left, Var)  # noqa: S101 - `choices` has looked
        env = dict(env)
        env[formula.left.name] = self.name("b")
        allowed = self.constant(tuple(dict.fromkeys(map(freeze, choices(formula)))))
        with self.block(f"for {env[formula.left.name]} in {allowed}:"):
            then(env)

    def union(self, formula: Or, certain: bool, level: int, env: Env, then: Then) -> None:
        """Write a disjunction: the assignments of all parts, each once."""
        missing = tuple(sorted(free(formula) - env.keys()))
        found, mark = self.name("r"), len(self.lines)
        offered = 0

        def offer(inner: Env) -> None:
            nonlocal offered
            offered += 1
            self.line(f"{found}[{self.key(missing, inner)}] = None")

        self.line(f"{found} = {{}}")
        for part in formula.operands:
            self.solve(part, certain, level, env, lambda inner: self.complete(missing, formula, inner, offer))
        if not offered:
            del self.lines[mark:]
            return
        env = dict(env)
        for name in missing:
            env[name] = self.name("b")
        with self.block(f"for {self.key(missing, env)} in {found}:"):
            then(env)

    def complete(self, names: tuple[str, ...], part: Formula, env: Env, then: Then) -> None:
        """Write loops over the values seen so far of those variables that are still unbound."""
        missing = [name for name in names if name not in env]
        if not missing:
            then(env)
            return
        name = missing[0]
        self.values(name, part, env, lambda inner: self.complete(names, part, inner, then))

    def guess(self, formula: Formula, certain: bool, level: int, env: Env, then: Then) -> None:
        """Write loops over seen values, because nothing in the formula binds its variables."""
        name = min(free(formula) - env.keys())
        self.values(name, formula, env, lambda inner: self.solve(formula, certain, level, inner, then))

    def values(self, name: str, part: Formula, env: Env, then: Then) -> None:
        """Write a loop over the values of a variable seen so far."""
        if name not in self.homes:
            raise Unmonitorable(part, frozenset({name}), where=self.plan.where)
        scope, level = self.homes[name]
        table = self.use(self.plan.domain(name, scope, level))
        env = dict(env)
        env[name] = self.name("b")
        mask = self.name("m")
        with self.block(f"for {env[name]}, {mask} in S[{table.slot}].items():"):
            self.when(f"{mask} & h{level}" if self.plan.causal else True, lambda: then(env))

    def project(self, formula: Exists, certain: bool, level: int, env: Env, then: Then) -> None:
        """Write an existential whose other variables are not all bound."""
        inner = {name: local for name, local in env.items() if name != formula.name}
        outer_home = self.homes.get(formula.name)
        self.homes[formula.name] = (formula.operand, level)

        def found(found_env: Env) -> None:
            kept = {name: local for name, local in found_env.items() if name != formula.name}
            if formula.name in env:
                kept[formula.name] = env[formula.name]
            then(kept)

        self.solve(formula.operand, certain, level, inner, found)
        self._home_again(formula.name, outer_home)

    def _home_again(self, name: str, home: tuple[Formula, int] | None) -> None:
        if home is None:
            del self.homes[name]
        else:
            self.homes[name] = home

    def exists(self, formula: Exists, certain: bool, level: int, env: Env) -> Expr:
        """Return a call of a function that looks for a value."""
        names = sorted(free(formula))
        lines, depth, effects = self.lines, self.depth, self.effects
        self.lines, self.depth = [], 1
        found = False

        def yes(_: Env) -> None:
            nonlocal found
            found = True
            self.line("return True")

        inner = {name: self.name("b") for name in names}
        self.project(formula, certain, level, inner, yes)
        body, self.lines, self.depth, self.effects = self.lines, lines, depth, effects
        if not found:
            return False
        function = self.name("e")
        context = ["S", "X", "J"]
        for at in range(self.levels + 1):
            context += [f"v{at}", f"i{at}", f"t{at}", f"h{at}"]
        head = f"def {function}({', '.join([*context, *inner.values()])}):"
        self.helpers.append("\n".join([head, *body, "    return False"]))
        return f"{function}({', '.join([*context, *(env[name] for name in names)])})"

    def rows(self, formula: Formula, certain: bool, level: int, env: Env, then: Then) -> None:
        """Write a loop over the rows of a temporal operator's table that agree with what is bound."""
        table = self.table_of(formula, certain, level)
        bound = tuple(name for name in table.vars if name in env)
        inner = dict(env)
        for name in table.vars:
            if name not in env:
                inner[name] = self.name("b")
        stamp, row = self.name("s"), self.name("k")
        if bound:
            slot = self.plan.index(table, bound)
            head = f"for {row} in S[{slot}].get({self.key(bound, env)}, ()):"
            places = [inner[name] if name not in env else "_" for name in table.vars]
            unpack = f"({', '.join(places)}) = {row}"
        else:
            head, unpack = f"for {row} in S[{table.slot}]:", f"{self.key(table.vars, inner)} = {row}"
        with self.block(head):
            self.line(unpack)
            self.line(f"{stamp} = {self.stamp(table, level, inner)}")
            if free(formula) - inner.keys():  # what ends it has variables of its own
                missing = tuple(sorted(free(formula)))
                self.complete(
                    missing,
                    formula,
                    inner,
                    lambda full: self.when(
                        self.stamped(formula, certain, level, full, stamp), lambda: then(full)
                    ),
                )
            else:
                self.when(self.stamped(formula, certain, level, inner, stamp), lambda: then(inner))

    # Tables

    def use(self, table: Table) -> Table:
        """Return a table that has its slot; while planning, plan what its own updates need."""
        if table.slot < 0:
            writer = Solver(self.plan, None, self.levels)
            writer.planning = True
            writer.update(table)
            self.plan.settle(table)
        return table

    def update(self, table: Table) -> None:
        """Write what a step changes in a table."""
        homes, self.homes = self.homes, {}
        write = {
            "last": self._update_last,
            "count": self._update_count,
            "sum": self._update_value,
            "value": self._update_value,
            "domain": self._update_domain,
        }[table.kind]
        if table.level:
            mark = len(self.lines)
            with self.block(f"if v{table.level} is not None:"):
                write(table)
            if self.lines[-1].endswith("pass") and len(self.lines) == mark + 2:
                del self.lines[mark:]
        else:
            write(table)
        self.homes = homes

    def store(self, container: str, key: str, value: str) -> None:
        """Write a change of the state."""
        self.effects += 1
        if self.journal:
            self.line(f"put(J, {container}, {key}, {value})")
        else:
            self.line(f"{container}[{key}] = {value}")

    def _stamp_now(self, table: Table) -> str:
        level = table.level
        return f"(i{level}, t{level})" if table.timed else f"i{level}"

    def _record(self, table: Table, env: Env) -> None:
        """Write that the operand holds now for one row."""
        state = f"S[{table.slot}]"
        key = self.key(table.vars, env)
        bit = "(1 << i0)"
        if not table.vars:
            self.store(
                "S", str(table.slot), f"{state} | {bit}" if self.plan.causal else self._stamp_now(table)
            )
            return
        if table.indexes:
            with self.block(f"if {key} not in {state}:"):
                for bound, slot in table.indexes.items():
                    part, index = self.key(bound, env), f"S[{slot}]"
                    with self.block(f"if {part} not in {index}:"):
                        self.store(index, part, "{}")
                    self.store(f"{index}[{part}]", key, "None")
        new = f"{state}.get({key}, 0) | {bit}" if self.plan.causal else self._stamp_now(table)
        self.store(state, key, new)

    def _update_last(self, table: Table) -> None:
        if table.dense:
            self._update_dense(table)
            return
        self.solve(table.operand, table.certain, table.level, {}, lambda env: self._record(table, env))

    def _update_dense(self, table: Table) -> None:
        """Write the update of a table in which all rows but a few change alike."""
        state, level = f"S[{table.slot}]", table.level
        stamps: list[tuple[str, str]] = []
        for atom in atoms(table.operand):
            if free(atom):
                bare = Atom(atom.kinds, atom.name, atom.arguments)
                self.match(bare, True, level, {}, lambda env: self._touch(table, env, stamps))
        default = self.truth(_without(table.operand), table.certain, level, {})
        self.when(default, lambda: self.store(state, "0", f"i{level}"))

    def _touch(self, table: Table, env: Env, stamps: list[tuple[str, str]]) -> None:
        key, state, level = self.key(table.vars, env), f"S[{table.slot}]", table.level
        old = self.name("o")
        self.line(f"{old} = {self.stamp(table, level, env)}")
        now = self.truth(table.operand, table.certain, level, env)
        text = (f"i{level}" if now else old) if isinstance(now, bool) else f"(i{level} if {now} else {old})"
        self.store(f"{state}[1]", key, f"({text}, i{level})")

    def _each_once(self, table: Table, certain: bool, then: Any) -> None:
        """Write `then(key)` for each row whose operand holds, once."""
        operand, level = table.operand, table.level
        if not free(operand) or isinstance(operand, Atom):
            self.solve(operand, certain, level, {}, lambda env: then(self.key(table.vars, env), env))
            return
        found, mark, offered = self.name("r"), len(self.lines), 0

        def offer(env: Env) -> None:
            nonlocal offered
            offered += 1
            self.line(f"{found}[{self.key(table.vars, env)}] = None")

        self.line(f"{found} = {{}}")
        self.solve(operand, certain, level, {}, offer)
        if not offered:
            del self.lines[mark:]
            return
        env = {name: self.name("b") for name in table.vars}
        with self.block(f"for {self.key(table.vars, env)} in {found}:"):
            then(self.key(table.vars, env), env)

    def _update_count(self, table: Table) -> None:
        state, level = f"S[{table.slot}]", table.level

        def bump(key: str, _: Env) -> None:
            if self.plan.causal:
                self.store(state, key, f"{state}.get({key}, 0) | (1 << i0)")
            elif table.window is None:
                self.store(state, key, f"{state}.get({key}, 0) + 1")
            else:
                self.effects += 1
                now = f"i{level}" if table.window.unit == "steps" else f"t{level}"
                self.line(f"add({state}, {key}, {now}, None, J)")

        self._each_once(table, table.certain, bump)

    def _update_value(self, table: Table) -> None:
        level = table.level

        def keep(key: str, env: Env) -> None:
            if self.foreign(table.term, level):
                return
            value = self.name("x")
            self.line(f"{value} = {self.term(table.term, level, env)}")
            sure = self.truth(table.operand, True, level, env)
            if table.kind == "value":
                with self.block(f"if type({value}) is not Absence:"):
                    self._keep_value(table, key, _unless(sure, value))
            else:
                with self.block(f"if {value} is not FOREIGN:"):
                    self._keep_sum(table, key, _unless(sure, value))

        self._each_once(table, False, keep)

    def _keep_value(self, table: Table, key: str, value: str) -> None:
        state, level = f"S[{table.slot}]", table.level
        if self.plan.causal:
            self._causal_row(state, key, value)
        else:
            self.store(state, key, f"newest({state}.get({key}), i{level}, t{level}, {value})")

    def _keep_sum(self, table: Table, key: str, value: str) -> None:
        state, level = f"S[{table.slot}]", table.level
        if self.plan.causal:
            self._causal_row(state, key, value)
        elif table.window is None:
            self.store(state, key, f"accumulated({state}.get({key}), {value})")
        else:
            self.effects += 1
            now = f"i{level}" if table.window.unit == "steps" else f"t{level}"
            self.line(f"add({state}, {key}, {now}, {value}, J)")

    def _causal_row(self, state: str, key: str, value: str) -> None:
        with self.block(f"if {key} not in {state}:"):
            self.store(state, key, "{}")
        self.store(f"{state}[{key}]", "i0", value)

    def _update_domain(self, table: Table) -> None:
        name, level = table.vars[0], table.level
        for atom in atoms(table.operand):
            mine = [part for part in atom.arguments if isinstance(part.term, Var) and part.term.name == name]
            if not mine:
                continue
            # A repeated variable need not agree here: each place shows values.
            parts = [
                part if isinstance(part.term, Const) else type(part)(part.path, Var(f"{number}"))
                for number, part in enumerate(atom.arguments)
            ]
            bare = Atom(atom.kinds, atom.name, tuple(parts))
            places = [str(number) for number, part in enumerate(atom.arguments) if part in mine]

            def seen(env: Env, places: list[str] = places) -> None:
                for place in places:
                    self._record(table, {name: env[place]})

            if not self.impossible(bare, level):
                self.match(bare, True, level, {}, seen)


def _dear(part: Formula) -> int:
    """Return what finding assignments of a part costs: the step itself, few constants, a table."""
    return 0 if isinstance(part, Atom) else 1 if isinstance(part, Compare) else 2


def _unless(sure: Expr, value: str) -> str:
    if sure is True:
        return value
    return "MISSING" if sure is False else f"({value} if {sure} else MISSING)"


def _without(formula: Formula) -> Formula:
    """Return the formula as it is for values that no atom of the step names."""
    if isinstance(formula, Atom):
        return Literal(False) if free(formula) else formula
    if isinstance(formula, Not):
        return Not(_without(formula.operand))
    if isinstance(formula, (And, Or)):
        return type(formula)(tuple(map(_without, formula.operands)))
    return formula
