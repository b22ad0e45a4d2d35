"""The syntax tree that formulas, patterns and predicates are read into: values, no behaviour.

Past-time first-order temporal logic over the steps of a trace. Time points are the visible steps in
recorded order (or their causal order); under a `key:` the steps of one slice.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

Path: TypeAlias = tuple[str | int, ...]
"""A field of a step: ("args", "amount"), ("agent",), ("args", 0)."""


class Span(Struct, frozen=True):
    """Where in its formula's text a node was written: [start, end) in characters."""

    start: int = 0
    end: int = 0


class Const(Struct, frozen=True):
    """A literal: text, number, boolean, None, or a tuple of those (after `in`)."""

    value: Any


class Var(Struct, frozen=True):
    """A variable bound by an atom; free ones are universally quantified over the values seen so far."""

    name: str


class Field(Struct, frozen=True):
    """A field of the current step."""

    path: Path


class Apply(Struct, frozen=True):
    """A function of values: `+ - * / %` (two), `neg` `abs` `len` `lower` `upper` `number` `text` (one)."""

    function: str
    arguments: tuple[Term, ...]


class Last(Struct, frozen=True):
    """The field's value at the latest *earlier* step where `when` held and the field was there.

    `when` None: at any step. Absent when there was none in the window.
    """

    path: Path
    when: Formula | None = None
    window: Window | None = None


class Count(Struct, frozen=True):
    """At how many steps up to and including this one (in the window) `formula` held."""

    formula: Formula
    window: Window | None = None


class Sum(Struct, frozen=True):
    """The sum of a numeric term over the steps up to and including this one where `when` held."""

    term: Term
    when: Formula | None = None
    window: Window | None = None


Term: TypeAlias = Const | Var | Field | Apply | Last | Count | Sum


class Window(Struct, frozen=True):
    """How far back an operator looks: `amount` of `steps` (differences of step indexes) or `seconds`.

    A step j is within d of i when index(i) - index(j) <= d, or time(i) - time(j) <= d. `steps` are
    steps of the trace, also under a `key:`.
    """

    amount: float
    unit: str = "steps"


class Compare(Struct, frozen=True):
    """A comparison of values; unknown when a field that belongs to the step's kind is absent.

    `op` is one of `== != < <= > >= in contains startswith endswith matches` (`not in` is Not of `in`;
    `matches` searches an RE2 pattern). Values of different kinds are unequal and have no order:
    `<` between them is unknown. `contains` is a text in a text or a member of a list.
    """

    op: str
    left: Term
    right: Term
    span: Span = Span()


class Present(Struct, frozen=True):
    """Whether the field is there (never unknown)."""

    path: Path
    span: Span = Span()


class Truth(Struct, frozen=True):
    """A bare Boolean term: true iff it is `true`; unknown when absent or not a Boolean."""

    term: Term
    span: Span = Span()


class Literal(Struct, frozen=True):
    """`true` or `false`."""

    value: bool


class Argument(Struct, frozen=True):
    """What an atom asks of one field: equal to a constant, or equal to (and binding) a variable."""

    path: Path
    term: Const | Var


class Atom(Struct, frozen=True):
    """The current step is of one of `kinds`, bears the name, and its arguments agree.

    `kinds` are step kinds (empty: any step). `name` is a tool, model, event or (of a message) its
    sender; `*` in it matches any text; empty: any. A step that lacks an argument's field does not
    match (no unknown here). `condition` may be unknown.
    """

    kinds: tuple[str, ...]
    name: str = ""
    arguments: tuple[Argument, ...] = ()
    condition: Formula | None = None
    span: Span = Span()


class Not(Struct, frozen=True):
    """Negation."""

    operand: Formula
    span: Span = Span()


class And(Struct, frozen=True):
    """Conjunction of two or more."""

    operands: tuple[Formula, ...]
    span: Span = Span()


class Or(Struct, frozen=True):
    """Disjunction of two or more."""

    operands: tuple[Formula, ...]
    span: Span = Span()


class Implies(Struct, frozen=True):
    """Implication; at the top of a rule, a false `left` makes the step vacuous."""

    left: Formula
    right: Formula
    span: Span = Span()


class Prev(Struct, frozen=True):
    """The operand held at the previous step (false at the first one)."""

    operand: Formula
    window: Window | None = None
    span: Span = Span()


class Once(Struct, frozen=True):
    """The operand held at this step or an earlier one (in the window)."""

    operand: Formula
    window: Window | None = None
    span: Span = Span()


class Historically(Struct, frozen=True):
    """The operand held at this step and all earlier ones (in the window)."""

    operand: Formula
    window: Window | None = None
    span: Span = Span()


class Since(Struct, frozen=True):
    """`right` held at some step j up to now (in the window), and `left` at every step after j up to now."""

    left: Formula
    right: Formula
    window: Window | None = None
    span: Span = Span()


class Interval(Struct, frozen=True):
    """`[open, close)`: `close` is false now, and `open` held now or earlier with no `close` since.

    The same as `not close since (open and not close)`: a step where both hold closes.
    """

    open: Formula
    close: Formula
    span: Span = Span()


class Exists(Struct, frozen=True):
    """Some value seen so far at the positions that bind `name` makes the operand true."""

    name: str
    operand: Formula
    span: Span = Span()


class Forall(Struct, frozen=True):
    """Every value seen so far at the positions that bind `name` makes the operand true."""

    name: str
    operand: Formula
    span: Span = Span()


Formula: TypeAlias = (
    Compare | Present | Truth | Literal | Atom | Not | And | Or | Implies | Prev | Once | Historically
    | Since | Interval | Exists | Forall
)  # fmt: skip
"""A statement about the current step and its past; true, false, or unknown (Kleene's three values)."""
