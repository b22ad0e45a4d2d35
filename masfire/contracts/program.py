"""A contract made ready to run: its tables, and a function for each class of steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from masfire.contracts.compile import Env
from masfire.contracts.core import atoms, core, definite, free, negated, stripped, twins
from masfire.contracts.language.show import show
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Count,
    Exists,
    Forall,
    Formula,
    Implies,
    Last,
    Literal,
    Not,
    Once,
    Or,
    Path,
    Prev,
    Sum,
    Window,
)
from masfire.contracts.model import Always, AtEnd, Contract, Custom, Judge, Payload, Response, Rule
from masfire.contracts.plan import Plan
from masfire.contracts.solve import Solver
from masfire.contracts.tables import RUNTIME, like
from masfire.contracts.values import Absence, apply, truth
from masfire.contracts.view import own_fields
from masfire.errors import UsageError

StepFunction = Callable[[list[Any], Any, Any, "list[Any] | None"], Any]
NAMESPACE = {**RUNTIME, "Absence": Absence, "apply": apply, "truth": truth}
EVERYWHERE = frozenset({"step", "time", "agent", "role", "kind", "parents"})

FAIL, UNKNOWN, WHEN, MAYBE_WHEN, ANSWER, MAYBE_ANSWER, OPEN, MAYBE_OPEN, RETIRED = range(9)
"""What generated code finds: (rule, one of these, values of the rule's variables)."""


class Ready(NamedTuple):
    """A rule as the code generator takes it: `left` None unless the rule is an implication."""

    rule: Rule
    left: Formula | None
    right: Formula
    names: tuple[str, ...]
    shown: Formula


class Compiled(NamedTuple):
    """The function of one class of steps (None: such a step changes and decides nothing).

    `passes`: a step that violates nothing passes. `sees`: the function looks at more of the step than
    its index and time. `answers`: all it can do is answer what waits.
    """

    step: StepFunction | None
    passes: bool
    sees: bool = True
    answers: bool = False


class Program:
    """Everything of a contract that does not change from run to run."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.causal = contract.order == "causal"
        if self.causal and any(isinstance(rule, Custom) for rule in contract.rules):
            raise UsageError(
                f"Contract {contract.id!r} has a monitor of its own, which follows the recorded order.",
                hint="Leave `order` out; formulas and most patterns can be judged in causal order.",
                where=contract.where,
            )
        self.key: tuple[Path, ...] = contract.key
        self.rules = [_ready(rule) for rule in contract.rules]
        self.levels = max(
            [_levels(part) for rule in self.rules for part in (rule.left, rule.right)], default=0
        )
        self.at_end = any(isinstance(ready.rule, AtEnd) for ready in self.rules)
        self.keeps_last = self.at_end and (
            self.levels > 0 or (bool(self.key) and any(map(_looks_at_step, self.rules)))
        )
        self.views = 0 if self.causal else self.levels + self.keeps_last
        self.plan = Plan(self.causal, 1 + self.views, contract.where)
        self._compiled: dict[tuple[Any, ...], Compiled] = {}
        self._values: dict[Any, Any] = {}
        self.asks_arguments = any(isinstance(rule, (Judge, Custom)) for rule in contract.rules) or (
            "'args'" in repr((contract.key, [_asked(ready) for ready in self.rules]))
        )
        """Whether a result may be asked for the arguments of its call."""
        self.texts = [_text(ready) for ready in self.rules]
        self.triggers = [show(ready.shown) for ready in self.rules]
        self._end: Any = None
        self.remembered: dict[Any, Any] = {}
        """What explanations need to make once only."""
        self.retire = _retire(contract)
        every = [*self.rules, self.retire] if self.retire is not None else self.rules
        self.names = tuple(sorted({atom.name for ready in every for atom in _atoms(ready) if atom.name}))
        self.every_slice = bool(self.key) and any(
            isinstance(ready.rule, AtEnd) and ready.rule.applies is None for ready in self.rules
        )
        self._make_plan()

    def fresh(self) -> list[Any]:
        """Return the state before the first step: the steps so far (causal), last views, tables."""
        state: list[Any] = [None] * self.plan.slots
        state[0] = 0
        for table in self.plan.order:
            state[table.slot] = table.fresh(causal=self.causal)
            for slot in table.indexes.values():
                state[slot] = {}
        return state

    def class_of(self, kind: str, name: str) -> tuple[str, tuple[str, ...]]:
        """Return what tells two steps apart as far as this contract cares."""
        return kind, tuple(pattern for pattern in self.names if like(name, pattern))

    def compiled(self, kind: str, name: str, journal: bool) -> Compiled:
        """Return the function for steps of a kind and name."""
        known = self._compiled.get((kind, name, journal))
        if known is not None:
            return known
        key = (*self.class_of(kind, name), journal)
        known = self._compiled.get(key)
        if known is None:
            known = self._compile_step((kind, name), journal)
        if len(self._compiled) < 10_000:
            self._compiled[key] = self._compiled[(kind, name, journal)] = known
        return known

    def _make_plan(self) -> None:
        solver = Solver(self.plan, None, self.levels)
        solver.planning = True
        self._write_rules(solver, end=False)
        if self.at_end:
            self._write_rules(Solver(self.plan, None, self.levels), end=True)

    def _compile_step(self, step_class: tuple[str, str], journal: bool) -> Compiled:
        if any(str(path[0]) not in EVERYWHERE | own_fields(step_class[0]) for path in self.key):
            return Compiled(None, False)
        solver = Solver(self.plan, step_class, self.levels)
        solver.journal = journal
        for table in self.plan.order:
            solver.update(table)
        idle = not solver.effects
        passes = self._write_rules(solver, end=False)
        idle = idle and not solver.effects
        if self.levels or self.keeps_last:
            idle = False
            self._write_views(solver)
        if idle and not (passes and self.key) and not self.every_slice:
            return Compiled(None, passes)
        sees = bool(self.key) or self.causal or _sees("\n".join([*solver.helpers, *solver.lines]))
        answers = 0 < solver.answers == solver.effects and not passes and not self.every_slice
        return Compiled(self._function(solver, passes, sees), passes, sees, answers)

    def _write_views(self, solver: Solver) -> None:
        if self.causal:
            solver.store("S", "0", "S[0] | (1 << i0)")
            return
        for slot in range(self.views, 1, -1):
            solver.store("S", str(slot), f"v{slot - 1}")
        solver.store("S", "1", "v0")

    def _write_rules(self, solver: Solver, *, end: bool) -> bool:
        """Write the rules; return whether one passes at each step that does not violate it."""
        passes = False
        for number, ready in enumerate(self.rules):
            rule = ready.rule
            if isinstance(rule, Custom):
                if not end:
                    self._write_custom(solver, number, ready)
            elif isinstance(rule, AtEnd):
                if end:
                    passes |= self._write_judged(solver, number, ready)
                else:  # the tables of what it asks at the end
                    _Planning(solver).judged(self, number, ready)
            elif end:
                continue
            elif isinstance(rule, Always):
                passes |= self._write_judged(solver, number, ready)
            elif isinstance(rule, Response):
                self._write_response(solver, number, ready)
            else:
                self._write_found(solver, number, ready, ready.right, (WHEN, MAYBE_WHEN))
        if self.retire is not None and not end:
            self._write_found(solver, -1, self.retire, self.retire.right, (RETIRED, RETIRED))
        return passes

    def _write_custom(self, solver: Solver, number: int, ready: Ready) -> None:
        self._write_found(solver, number, ready, ready.right, (WHEN, WHEN))

    def _write_judged(self, solver: Solver, number: int, ready: Ready) -> bool:
        solver.homes = {name: (_whole(ready), 0) for name in ready.names}
        if ready.left is None:
            wrong = negated(ready.right)
            self._write_wrong(solver, number, ready, wrong, {}, None)
            return True
        left, wrong = ready.left, negated(ready.right)

        def applies(env: Env) -> None:
            sure = solver.truth(left, True, 0, env)
            self._write_wrong(solver, number, ready, wrong, env, sure)
            right = ready.right
            extra = free(right) - env.keys()
            if extra:
                solver.complete(
                    tuple(sorted(extra)),
                    right,
                    env,
                    lambda full: solver.when(
                        sure, lambda: solver.when(solver.truth(right, True, 0, full), lambda: _passed(solver))
                    ),
                )
            else:
                solver.when(
                    sure, lambda: solver.when(solver.truth(right, True, 0, env), lambda: _passed(solver))
                )

        solver.solve(left, False, 0, {}, applies)
        return False

    def _write_wrong(
        self, solver: Solver, number: int, ready: Ready, wrong: Formula, env: Env, sure: Any
    ) -> None:
        """Write what is reported where the formula is false, or unknown."""

        def report(code: int) -> Callable[[Env], None]:
            return lambda full: solver.complete(
                ready.names, wrong, full, lambda every: _found(solver, number, code, ready.names, every)
            )

        if sure is not False:
            solver.when(
                True if sure is None else sure, lambda: solver.solve(wrong, True, 0, env, report(FAIL))
            )

        def doubtful(full: Env) -> None:
            certain = solver.truth(wrong, True, 0, full)
            if sure not in (None, True):
                certain = False if certain is False or sure is False else f"({sure} and {certain})"
            if certain is not True:
                solver.when(True if certain is False else f"not {certain}", lambda: report(UNKNOWN)(full))

        if sure in (None, True) and definite(wrong):
            return
        solver.solve(wrong, False, 0, env, lambda full: solver.complete(ready.names, wrong, full, doubtful))

    def _write_found(
        self, solver: Solver, number: int, ready: Ready, formula: Formula, codes: tuple[int, int]
    ) -> None:
        names = tuple(sorted(free(formula)))
        solver.homes = {name: (_whole(ready), 0) for name in names}

        def found(env: Env) -> None:
            sure = solver.truth(formula, True, 0, env)
            if sure is True or codes[0] == codes[1]:
                _found(solver, number, codes[0], names, env)
            elif sure is False:
                _found(solver, number, codes[1], names, env)
            else:
                with solver.block(f"if {sure}:"):
                    _found(solver, number, codes[0], names, env)
                with solver.block("else:"):
                    _found(solver, number, codes[1], names, env)

        solver.solve(formula, False, 0, {}, found)

    def _write_response(self, solver: Solver, number: int, ready: Ready) -> None:
        assert ready.left is not None  # noqa: S101 - the trigger
        self._write_found(solver, number, ready, ready.right, (ANSWER, MAYBE_ANSWER))
        self._write_found(solver, number, ready, ready.left, (OPEN, MAYBE_OPEN))

    def _function(self, solver: Solver, passes: bool, sees: bool) -> StepFunction:
        head = ["out = None", f"ok = {passes}", *self._context(shift=0)]
        if not sees:
            head = [line.replace("v0.", "X.") if line.startswith(("i0 ", "t0 ")) else line for line in head]
        tail = ["    return ok if out is None else out"]
        function: StepFunction = _build(
            solver, "def step(S, v0, X, J):", head, tail, f"contract {self.contract.id!r}"
        )
        return function

    def _context(self, shift: int) -> list[str]:
        """Return the lines that name the steps, times and histories of each level."""
        lines = ["i0 = v0.index", "t0 = v0.time", f"h0 = {'X.now' if self.causal else '0'}"]
        for level in range(1, self.levels + 1):
            low = level - 1
            if self.causal:
                lines += [
                    f"i{level} = (S[0] & h{low} & ~(1 << i{low})).bit_length() - 1 if h{low} else -1",
                    f"v{level} = X.views[i{level}] if i{level} >= 0 else None",
                    f"t{level} = X.times[i{level}] if i{level} >= 0 else 0.0",
                    f"h{level} = X.ancestors[i{level}] | (1 << i{level}) if i{level} >= 0 else 0",
                ]
            else:
                lines += [
                    f"v{level} = S[{level + shift}]",
                    f"i{level} = -1 if v{level} is None else v{level}.index",
                    f"t{level} = 0.0 if v{level} is None else v{level}.time",
                    f"h{level} = 0",
                ]
        return lines

    def validator(self, number: int) -> Callable[[Any], list[Any]]:
        """Return the compiled schema of a Payload rule."""
        key = ("validator", number)
        if key not in self._values:
            from masfire.contracts.payload import compile_schema

            rule = self.rules[number].rule
            assert isinstance(rule, Payload)  # noqa: S101 - only those have a schema
            self._values[key] = compile_schema(rule.schema)
        return self._values[key]  # type: ignore[no-any-return]

    def end(self) -> StepFunction:
        """Return the function that judges what must hold at the end; `v0` is the last step."""
        if self._end is None:
            solver = Solver(self.plan, None, self.levels)
            passes = self._write_rules(solver, end=True)
            head = ["out = None", f"ok = {passes}", *self._context(shift=1)]
            self._end = _build(
                solver,
                "def end(S, v0, X, J):",
                head,
                ["    return ok if out is None else out"],
                f"contract {self.contract.id!r}",
            )
        return self._end  # type: ignore[no-any-return]

    def value(self, kind: str, node: Any, names: tuple[str, ...], certain: bool, end: bool) -> Any:
        """Return a function (S, v0, X, values) -> value of a sub-formula or term, for explanations."""
        key = (kind, repr(node), names, certain, end)
        if key not in self._values:
            solver = Solver(self.plan, None, self.levels)
            env = {name: f"a{place}" for place, name in enumerate(names)}
            if kind == "truth":
                text = str(solver.truth(node, certain, 0, env))
            elif kind == "term":
                text = solver.term(node, 0, env)
            else:
                text = _stamps(solver, node, certain, env)
            unpack = [f"({', '.join(env.values())},) = values"] if names else []
            head = [*unpack, *self._context(shift=int(end)), f"return {text}"]
            solver.line("pass")
            self._values[key] = _build(solver, "def value(S, v0, X, J, values):", head, [], "an explanation")
        return self._values[key]


class _Planning:
    """Plans the tables of an AtEnd rule without writing anything into a step's function."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver

    def judged(self, program: Program, number: int, ready: Ready) -> None:
        if self.solver.planning:
            scratch = Solver(program.plan, None, program.levels)
            program._write_judged(scratch, number, ready)


def _stamps(solver: Solver, node: Formula, certain: bool, env: Env) -> str:
    """Return the expression of (when it last began, when it last ended) of a temporal operator."""
    table = solver.table_of(node, certain, 0)
    rival = solver.rival_of(node, certain, 0)
    parts = []
    for one in (table, rival):
        text = "-1" if one is None else solver.stamp(one, 0, env)
        parts.append(f"({text})[0]" if one is not None and one.timed else f"({text})")
    return f"({', '.join(parts)})"


def _build(solver: Solver, definition: str, head: list[str], tail: list[str], what: str) -> Any:
    body = "\n".join([*solver.helpers, *solver.lines])
    used = set(re.findall(r"\b[itvh]\d+\b", body + "".join(tail) + (head[-1] if head else "")))
    kept = _needed(head, used)
    source = "\n".join([*solver.helpers, definition, *("    " + line for line in kept), *solver.lines, *tail])
    namespace = {**NAMESPACE, **solver.constants}
    try:
        exec(compile(source, f"<{what}>", "exec"), namespace)  # noqa: S102 - made from a validated tree
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"A formula of {what} is nested too deeply to be monitored.", hint=f"({error})"
        ) from None
    return namespace[definition.split("(")[0].removeprefix("def ")]


def _needed(head: list[str], used: set[str]) -> list[str]:
    """Return the head without names that nothing uses."""
    kept: list[str] = []
    for line in reversed(head):
        name = line.split(" = ")[0]
        if re.fullmatch(r"[ith]\d+|v[1-9]\d*", name) and name not in used:
            continue
        used |= set(re.findall(r"\b[itvh]\d+\b", line))
        kept.append(line)
    return kept[::-1]


def _sees(source: str) -> bool:
    """Return whether generated code looks at the step itself."""
    return re.search(r"\bv0\b", source) is not None


def _found(solver: Solver, number: int, code: int, names: tuple[str, ...], env: Env) -> None:
    solver.effects += 1
    solver.answers += code == ANSWER
    values = "".join(f"{env[name]}, " for name in names)
    solver.line("if out is None: out = []")
    solver.line(f"out.append(({number}, {code}, ({values})))")


def _passed(solver: Solver) -> None:
    solver.effects += 1
    solver.line("ok = True")


def _ready(rule: Rule) -> Ready:
    """Return a rule with its formulas reduced and its outer quantifiers made free variables."""
    if isinstance(rule, Response):
        left, right = (twins(core(stripped(part))) for part in (rule.trigger, rule.response))
        return Ready(rule, left, right, tuple(sorted(free(left))), stripped(rule.trigger))
    if isinstance(rule, (Payload, Judge)):
        return Ready(rule, None, twins(core(stripped(rule.when))), (), stripped(rule.when))
    if isinstance(rule, Custom):
        when = Literal(True) if rule.when is None else stripped(rule.when)
        return Ready(rule, None, twins(core(when)), (), when)
    formula = stripped(rule.formula)
    while isinstance(formula, Forall):
        formula = formula.operand
    if isinstance(rule, AtEnd) and rule.applies is not None:
        formula = Implies(Once(stripped(rule.applies)), formula)
    names = free(formula)
    if isinstance(formula, Implies):
        left, right = twins(core(formula.left, names)), twins(core(formula.right, names))
        if free(formula.left) or free(formula.right):
            whole = twins(And((core(formula.left, names), core(formula.right, names))))
            if isinstance(whole, And):
                left, right = whole.operands
        return Ready(rule, left, right, tuple(sorted(names)), formula)
    return Ready(rule, None, twins(core(formula, names)), tuple(sorted(names)), formula)


def _asked(ready: Ready) -> tuple[Any, ...]:
    """Return all that a rule may ask of a step."""
    return ready.left, ready.right, ready.rule.path if isinstance(ready.rule, Payload) else ()


def _text(ready: Ready) -> str:
    """Return the formula that a violation names when no smaller part is at fault."""
    if isinstance(ready.rule, Response):
        return show(ready.rule.response)
    return getattr(ready.rule, "text", "") or show(ready.shown)


def _retire(contract: Contract) -> Ready | None:
    if contract.retire is None or contract.retire.at is None or not contract.key:
        return None
    shown = stripped(contract.retire.at)
    return Ready(contract.rules[0], None, twins(core(shown)), (), shown)


def _whole(ready: Ready) -> Formula:
    return ready.right if ready.left is None else And((ready.left, ready.right))


def _atoms(ready: Ready) -> list[Atom]:
    return atoms(_whole(ready))


def _levels(node: Any) -> int:
    """Return how many `prev` are nested."""
    if isinstance(node, tuple):
        return max(map(_levels, node), default=0)
    if not hasattr(node, "__struct_fields__"):
        return 0
    deepest = max((_levels(getattr(node, name)) for name in node.__struct_fields__), default=0)
    return deepest + isinstance(node, Prev)


def _looks_at_step(ready: Ready) -> bool:
    """Return whether a rule at the end asks something of the last step itself, or of its time."""
    return isinstance(ready.rule, AtEnd) and any(
        _now(part) for part in (ready.left, ready.right) if part is not None
    )


def _now(node: Any) -> bool:
    if isinstance(node, tuple):
        return any(map(_now, node))
    if isinstance(node, (Once, Count, Sum, Last)) or type(node).__name__ in ("Since", "Interval"):
        return _windowed(node)
    if isinstance(node, (And, Or, Not, Exists, Prev)):
        return any(_now(getattr(node, name)) for name in node.__struct_fields__ if name != "span")
    if type(node).__name__ in ("Compare", "Truth", "Apply"):
        return any(_now(getattr(node, name)) for name in node.__struct_fields__ if name != "span")
    return type(node).__name__ in ("Atom", "Field", "Present")


def _windowed(node: Any) -> bool:
    if isinstance(node, Window):
        return True
    if isinstance(node, tuple):
        return any(map(_windowed, node))
    if not hasattr(node, "__struct_fields__"):
        return False
    return any(_windowed(getattr(node, name)) for name in node.__struct_fields__)
