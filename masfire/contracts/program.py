"""A contract made ready to run: its tables, and a function for each class of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from masfire.contracts.assemble import (
    ANSWER,
    FAIL,
    MAYBE_ANSWER,
    MAYBE_OPEN,
    MAYBE_WHEN,
    OPEN,
    RETIRED,
    UNKNOWN,
    WHEN,
    build,
    found_line,
    passed_line,
    sees_step,
    stamps,
)  # fmt: skip
from masfire.contracts.compile import Env
from masfire.contracts.core import definite, free, negated
from masfire.contracts.language.show import show
from masfire.contracts.language.syntax import (
    Formula,
    Path,
)
from masfire.contracts.model import Always, AtEnd, Contract, Custom, Judge, Payload, Response
from masfire.contracts.plan import Plan
from masfire.contracts.rules import (
    Ready,
    asked,
    atoms_of,
    levels,
    looks_at_step,
    ready_of,
    retire_of,
    text_of,
    whole,
)  # fmt: skip
from masfire.contracts.solve import Solver
from masfire.contracts.sweep import Sweeper
from masfire.contracts.tables import like
from masfire.contracts.view import own_fields
from masfire.errors import UsageError

StepFunction = Callable[[list[Any], Any, Any, "list[Any] | None"], Any]
EVERYWHERE = frozenset({"step", "time", "agent", "role", "kind", "parents"})


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
        self.rules = [ready_of(rule) for rule in contract.rules]
        self.levels = max(
            [levels(part) for rule in self.rules for part in (rule.left, rule.right)], default=0
        )
        self.at_end = any(isinstance(ready.rule, AtEnd) for ready in self.rules)
        self.keeps_last = self.at_end and (
            self.levels > 0 or (bool(self.key) and any(map(looks_at_step, self.rules)))
        )
        self.views = 0 if self.causal else self.levels + self.keeps_last
        self.plan = Plan(self.causal, 1 + self.views, contract.where)
        self._compiled: dict[tuple[Any, ...], Compiled] = {}
        self._values: dict[Any, Any] = {}
        self.asks_arguments = any(isinstance(rule, (Judge, Custom)) for rule in contract.rules) or (
            "'args'" in repr((contract.key, [asked(ready) for ready in self.rules]))
        )
        """Whether a result may be asked for the arguments of its call."""
        self.texts = [text_of(ready) for ready in self.rules]
        self.triggers = [show(ready.shown) for ready in self.rules]
        self._end: Any = None
        self.remembered: dict[Any, Any] = {}
        """What explanations need to make once only."""
        self.retire = retire_of(contract)
        every = [*self.rules, self.retire] if self.retire is not None else self.rules
        self.names = tuple(sorted({atom.name for ready in every for atom in atoms_of(ready) if atom.name}))
        self.every_slice = bool(self.key) and any(
            isinstance(ready.rule, AtEnd) and ready.rule.applies is None for ready in self.rules
        )
        self._make_plan()
        self.sweeper = Sweeper(self.plan, self.keeps_last)

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
        sees = bool(self.key) or self.causal or sees_step("\n".join([*solver.helpers, *solver.lines]))
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
        solver.homes = {name: (whole(ready), 0) for name in ready.names}
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
                        sure,
                        lambda: solver.when(solver.truth(right, True, 0, full), lambda: passed_line(solver)),
                    ),
                )
            else:
                solver.when(
                    sure, lambda: solver.when(solver.truth(right, True, 0, env), lambda: passed_line(solver))
                )

        solver.solve(left, False, 0, {}, applies)
        return False

    def _write_wrong(
        self, solver: Solver, number: int, ready: Ready, wrong: Formula, env: Env, sure: Any
    ) -> None:
        """Write what is reported where the formula is false, or unknown."""

        def report(code: int) -> Callable[[Env], None]:
            return lambda full: solver.complete(
                ready.names, wrong, full, lambda every: found_line(solver, number, code, ready.names, every)
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
        solver.homes = {name: (whole(ready), 0) for name in names}

        def found(env: Env) -> None:
            sure = solver.truth(formula, True, 0, env)
            if sure is True or codes[0] == codes[1]:
                found_line(solver, number, codes[0], names, env)
            elif sure is False:
                found_line(solver, number, codes[1], names, env)
            else:
                with solver.block(f"if {sure}:"):
                    found_line(solver, number, codes[0], names, env)
                with solver.block("else:"):
                    found_line(solver, number, codes[1], names, env)

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
        function: StepFunction = build(
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
            self._end = build(
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
                text = stamps(solver, node, certain, env)
            unpack = [f"({', '.join(env.values())},) = values"] if names else []
            head = [*unpack, *self._context(shift=int(end)), f"return {text}"]
            solver.line("pass")
            self._values[key] = build(solver, "def value(S, v0, X, J, values):", head, [], "an explanation")
        return self._values[key]


class _Planning:
    """Plans the tables of an AtEnd rule without writing anything into a step's function."""

    def __init__(self, solver: Solver) -> None:
        self.solver = solver

    def judged(self, program: Program, number: int, ready: Ready) -> None:
        if self.solver.planning:
            scratch = Solver(program.plan, None, program.levels)
            program._write_judged(scratch, number, ready)
