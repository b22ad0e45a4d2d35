"""From what was written to the syntax tree: names looked up, definitions expanded, mistakes collected."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from masfire.contracts.language import atoms, checks, terms, windows
from masfire.contracts.language.fields import ALL_KINDS, BOOLEAN, nearest, shape
from masfire.contracts.language.miniscope import scoped
from masfire.contracts.language.reasons import unbound, unseen
from masfire.contracts.language.scope import MAX_NODES, Context, Definition, Scope, TooLarge
from masfire.contracts.language.surface import FUTURE, MAX_DEPTH, Node, Slip, future
from masfire.contracts.language.syntax import (
    And,
    Argument,
    Compare,
    Const,
    Exists,
    Field,
    Forall,
    Formula,
    Historically,
    Implies,
    Interval,
    Literal,
    Not,
    Once,
    Or,
    Present,
    Prev,
    Since,
    Span,
    Term,
    Truth,
    Var,
    Window,
)

MAX_SLIPS = 50


class Elaborator:
    """Elaborates one formula; `slips` collects every mistake."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self.definitions = definitions
        self.slips: list[Slip] = []
        self.bound: set[str] = set()
        self.used: dict[str, Span] = {}
        self._names: set[str] = set()
        self._nodes = 0

    # -- the whole ------------------------------------------------------------------------------

    def whole(self, node: Node, kinds: frozenset[str] = ALL_KINDS, *, part: bool = False) -> Formula:
        """Return the formula; look at `slips` before using it.

        `part`: it is a part of a rule, which binds its variables or is checked as a whole.
        """
        scope = Scope()
        try:
            self.bound = atoms.bound_names(self, node, scope)
            self._names |= self.bound
            formula = self.formula(node, scope, Context(kinds))
        except TooLarge:
            self.slips = [
                Slip(
                    node.span,
                    f"the formula has (or expands to) more than {MAX_NODES} parts; split it into several",
                )
            ]
            return Literal(False)
        binding = {
            part.term.name
            for part in checks.nodes(formula)
            if isinstance(part, Argument) and isinstance(part.term, Var)
        }
        for name, span in self.used.items():
            if name not in binding:
                self.slips.append(Slip(span, unbound(name)))
        if not self.slips:
            formula = formula if part else scoped(formula, self._fresh)
            self._monitorable(formula, node, part=part)
        return formula

    def _monitorable(self, formula: Formula, node: Node, *, part: bool) -> None:
        """Refuse a formula whose truth hangs on values that no step has shown."""
        for name in () if part else sorted(checks.free_variables(formula)):
            if checks.settled(formula, name) is not True:
                culprit = _culprit(formula, name, wanted=True)
                self.slips.append(Slip(getattr(culprit, "span", None) or node.span, unseen(name)))
        for inner in checks.nodes(formula):
            if isinstance(inner, Exists) and checks.settled(inner.operand, inner.name) is not False:
                culprit = _culprit(inner.operand, inner.name, wanted=False)
                self.slips.append(Slip(getattr(culprit, "span", inner.span), unseen(inner.name, "exists")))
            elif isinstance(inner, Forall) and checks.settled(inner.operand, inner.name) is not True:
                culprit = _culprit(inner.operand, inner.name, wanted=True)
                self.slips.append(Slip(getattr(culprit, "span", inner.span), unseen(inner.name, "forall")))

    def wrong(self, node: Node | Span, scope: Scope, what: str) -> Literal:
        """Note a mistake; return something to go on with."""
        span = scope.site or (node.span if isinstance(node, Node) else node)
        text = f"in {scope.inside[-1]!r} of 'define': {what}" if scope.inside else what
        if len(self.slips) < MAX_SLIPS:
            self.slips.append(Slip(span, text))
        return Literal(False)

    def count(self) -> None:
        """Count one node; raise TooLarge beyond the cap."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TooLarge

    def place(self, node: Node, scope: Scope) -> Span:
        """Return where the user wrote a node."""
        return scope.site or node.span

    # -- formulas -------------------------------------------------------------------------------

    def formula(self, node: Node, scope: Scope, context: Context) -> Formula:
        """Return the formula that a node stands for."""
        self.count()
        method = getattr(self, f"_{node.kind}", None)
        if method is None:
            return self._value(node, scope, context)
        found: Formula = method(node, scope, context)
        return found

    def _paren(self, node: Node, scope: Scope, context: Context) -> Formula:
        if node.window is not None:
            return self.wrong(
                node, scope, "'within' belongs to once, historically, prev, since, count, sum or last"
            )
        return self.formula(node.children[0], scope, context)

    def _iff(self, node: Node, scope: Scope, context: Context) -> Formula:
        context = self._neighbours(node, scope, context)
        left, right = (self.formula(child, scope, context) for child in node.children)
        for _ in itertools.chain(checks.nodes(left), checks.nodes(right)):
            self.count()  # both are written twice
        span = self.place(node, scope)
        return And((Implies(left, right, span), Implies(right, left, span)), span)

    def _implies(self, node: Node, scope: Scope, context: Context) -> Formula:
        context = self._neighbours(node, scope, context)
        left = self.formula(node.children[0], scope, context)
        narrowed = Context(_narrow(context.kinds, checks.kinds_of(left)), context.result)
        right = self.formula(node.children[1], scope, narrowed)
        return Implies(left, right, self.place(node, scope))

    def _or(self, node: Node, scope: Scope, context: Context) -> Formula:
        operands = tuple(self.formula(child, scope, context) for child in node.children)
        return Or(operands, self.place(node, scope))

    def _and(self, node: Node, scope: Scope, context: Context) -> Formula:
        """Elaborate what names steps first: what they are says which fields the others may read."""
        context = self._neighbours(node, scope, context)
        done: dict[int, Formula] = {}
        for index, child in enumerate(node.children):
            if atoms.names_steps(self, child, scope):
                done[index] = self.formula(child, scope, context)
        kinds = context.kinds
        for formula in done.values():
            kinds = _narrow(kinds, checks.kinds_of(formula))
        narrowed = Context(kinds, context.result)
        operands = tuple(
            done[index] if index in done else self.formula(child, scope, narrowed)
            for index, child in enumerate(node.children)
        )
        return And(operands, self.place(node, scope))

    def _neighbours(self, node: Node, scope: Scope, context: Context) -> Context:
        if context.result or not any(atoms.speaks_of_outcome(child, scope) for child in node.children):
            return context
        return Context(context.kinds, True)

    def _not(self, node: Node, scope: Scope, context: Context) -> Formula:
        return Not(self.formula(node.children[0], scope, context), self.place(node, scope))

    def _temporal(self, node: Node, scope: Scope, context: Context) -> Formula:
        operand, window = node.children[0], node.window
        if operand.kind == "paren" and operand.window is not None and window is None:
            operand, window = operand.children[0], operand.window  # once(φ within 5 steps)
        inner = self.formula(operand, scope, Context())
        make: Any = {"prev": Prev, "once": Once, "historically": Historically}[node.value]
        found: Formula = make(inner, self.window(window, scope), self.place(node, scope))
        return found

    def _since(self, node: Node, scope: Scope, context: Context) -> Formula:
        left, right = (self.formula(child, scope, Context()) for child in node.children)
        return Since(left, right, self.window(node.window, scope), self.place(node, scope))

    def _interval(self, node: Node, scope: Scope, context: Context) -> Formula:
        opening, closing = (self.formula(child, scope, Context()) for child in node.children)
        return Interval(opening, closing, self.place(node, scope))

    def _quantified(self, node: Node, scope: Scope, context: Context) -> Formula:
        word, names = node.value
        renamed = dict(scope.quantified)
        for name in names:
            renamed[name] = self._fresh(name)
        inner = Scope(
            {key: value for key, value in scope.parameters.items() if key not in names},
            renamed, scope.inside, scope.site,
        )  # fmt: skip
        formula = self.formula(node.children[0], inner, context)
        make: Any = Exists if word == "exists" else Forall
        for name in reversed(names):
            formula = make(renamed[name], formula, self.place(node, scope))
        return formula

    def _fresh(self, name: str) -> str:
        found, number = name, 2
        while found in self._names:
            found, number = f"{name}_{number}", number + 1
        self._names.add(found)
        return found

    def _compare(self, node: Node, scope: Scope, context: Context) -> Formula:
        return terms.comparison(self, node, scope, context)

    def _bracket(self, node: Node, scope: Scope, context: Context) -> Formula:
        base, condition = node.children
        if atoms.is_atom(base):
            return atoms.conditioned(self, base, condition, scope, context)
        return self._value(node, scope, context)

    def _call(self, node: Node, scope: Scope, context: Context) -> Formula:
        path, span = node.value
        name = str(path[0]) if len(path) == 1 else ""
        if name in self.definitions:
            body, inner = self.expansion(node, scope)
            return self.formula(body, inner, context) if body is not None else Literal(False)
        if atoms.is_atom(node):
            return atoms.atom(self, node, scope, context)
        if name == "present":
            return self._present(node, scope, context)
        if name in terms.FUNCTIONS or name in terms.FOLDS:
            return self.wrong(
                node, scope, f"{name}(…) is a value, not a statement; compare it with something"
            )
        if name.lower() in FUTURE:
            return self.wrong(span, scope, future(name))
        known = [*self.definitions, *atoms.ATOMS, *terms.FUNCTIONS, *terms.FOLDS, "present"]
        known += ["once", "prev", "historically"]
        shown = ".".join(map(str, path))
        return self.wrong(
            span,
            scope,
            f"unknown atom or function {shown!r}.{nearest(shown, known)} Known: {', '.join(known)}",
        )

    def _present(self, node: Node, scope: Scope, context: Context) -> Formula:
        target = node.children[0] if len(node.children) == 1 else None
        path = terms.field_path(self, target, scope) if target is not None else None
        if path is None:
            return self.wrong(node, scope, "present(…) takes one field, as in present(args.amount)")
        self.check_field(path, target or node, scope, context)
        return Present(path, self.place(node, scope))

    def _name(self, node: Node, scope: Scope, context: Context) -> Formula:
        path = node.value
        word = str(path[0])
        if len(path) == 1:
            if word in scope.parameters:
                argument, outer = scope.parameters[word]
                return self.formula(argument, outer, context)
            if word in self.definitions:
                return self._call(Node("call", node.span, (), (path, node.span)), scope, context)
            if word in ("ok", "failed"):
                return Compare("==", Field(("ok",)), Const(word == "ok"), self.place(node, scope))
            if word not in scope.quantified and word not in self.bound and word in atoms.BARE:
                return atoms.atom(self, node, scope, context)
        return self._value(node, scope, context)

    def _literal(self, node: Node, scope: Scope, context: Context) -> Formula:
        if isinstance(node.value, bool):
            return Literal(node.value)
        return self.wrong(
            node, scope, f"{node.value!r} is a value, not a statement; compare it with something"
        )

    def _list(self, node: Node, scope: Scope, context: Context) -> Formula:
        return self.wrong(
            node,
            scope,
            "a list is no statement; after 'in' it holds choices. An interval ends with ')': [p, q)",
        )

    def _value(self, node: Node, scope: Scope, context: Context) -> Formula:
        """Return a bare Boolean value as a formula."""
        if node.kind in ("keyword", "when", "windowed", "window"):
            return self.wrong(node, scope, "this belongs into the brackets of an atom, count, sum or last")
        term, holds = self.term(node, scope, context)
        if holds not in (BOOLEAN, "any"):
            hint = " Did you mean tool('…')?" if node.value == ("tool",) else ""
            return self.wrong(node, scope, f"a {holds} is no statement; compare it with something.{hint}")
        return Truth(term, self.place(node, scope))

    # -- pieces ---------------------------------------------------------------------------------

    def term(self, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
        """Return the value that a node stands for and what it holds."""
        return terms.term(self, node, scope, context)

    def window(self, node: Node | None, scope: Scope) -> Window | None:
        """Return a window; a number of steps is whole, and both are above 0."""
        if node is None:
            return None
        amount, unit = node.value
        try:
            return windows.window(amount, unit)
        except ValueError as error:
            self.wrong(node, scope, str(error))
            return None

    def check_field(self, path: tuple[str | int, ...], node: Node, scope: Scope, context: Context) -> str:
        """Note an impossible field; return what it holds."""
        holds, what = shape(path, context.kinds)
        if what:
            self.wrong(node, scope, what)
        return holds

    def expansion(self, node: Node, scope: Scope) -> tuple[Node | None, Scope]:
        """Return the body of the definition that a call names, and the scope it is read in."""
        self.count()
        name, arguments = str(node.value[0][0]), node.children
        definition = self.definitions[name]
        if name in scope.inside:
            chain = " → ".join((*scope.inside[scope.inside.index(name) :], name))
            self.wrong(node, scope, f"a definition cannot use itself: {chain}")
            return None, scope
        if len(scope.inside) >= MAX_DEPTH // 4:
            self.wrong(node, scope, f"definitions use one another more than {MAX_DEPTH // 4} deep")
            return None, scope
        if len(arguments) != len(definition.parameters):
            wanted = f"{name}({', '.join(definition.parameters)})" if definition.parameters else name
            self.wrong(
                node,
                scope,
                f"{name!r} takes {len(definition.parameters)} arguments, {wanted}; got {len(arguments)}",
            )
            return None, scope
        bindings = {key: (value, scope) for key, value in zip(definition.parameters, arguments, strict=True)}
        return definition.body, Scope(bindings, {}, (*scope.inside, name), scope.site or node.span)


def _narrow(kinds: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    return kinds & other or kinds


def _culprit(formula: Formula, name: str, *, wanted: bool) -> Any:
    """Return the part that leaves the truth open for an unseen value."""
    if isinstance(formula, Implies) and wanted:
        return _culprit(formula.right, name, wanted=True)
    if isinstance(formula, And) and wanted:
        open_parts = [part for part in formula.operands if checks.settled(part, name) is not True]
        return _culprit(open_parts[0], name, wanted=True) if open_parts else formula
    if isinstance(formula, Or) and not wanted:
        open_parts = [part for part in formula.operands if checks.settled(part, name) is not False]
        return _culprit(open_parts[0], name, wanted=False) if open_parts else formula
    return formula
