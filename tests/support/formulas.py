"""Random formulas and traces over a small alphabet, small enough for the naive evaluator."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

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
from masfire.trace.model import Action, Message, Observation, Step
from masfire.trace.payload import pack

WINDOWS = st.none() | st.builds(
    Window, st.sampled_from([0, 1, 2, 3, 5]), st.sampled_from(["steps", "seconds"])
)
VALUES = st.sampled_from([0, 1, 2, "p", True])
AMOUNT = Field(("args", "n"))


def arguments(variables: list[str]) -> st.SearchStrategy[tuple[Argument, ...]]:
    """Return none, one or two arguments of an event: variables or constants."""
    term = VALUES.map(Const)
    if variables:
        term = st.one_of(st.sampled_from(variables).map(Var), st.sampled_from(variables).map(Var), term)
    return st.lists(term, max_size=2).map(
        lambda terms: tuple(Argument(("args", place), part) for place, part in enumerate(terms))
    )


def plain() -> st.SearchStrategy[Formula]:
    """Return comparisons of fields that may be absent or foreign."""
    constants = st.sampled_from([0, 1, 2, "p"]).map(Const)
    fields = st.sampled_from([AMOUNT, Field(("agent",)), Field(("args", 0)), Field(("outcome", "value"))])
    return st.one_of(
        st.builds(Compare, st.sampled_from(["==", "!=", "<", ">="]), fields, constants),
        st.builds(
            Compare, st.just("<="), st.builds(Apply, st.just("+"), st.tuples(fields, constants)), constants
        ),
        st.builds(Present, st.sampled_from([("args", "n"), ("args", 1)])),
        st.just(Truth(Field(("ok",)))),
        st.booleans().map(Literal),
    )


def events(variables: list[str], conditions: bool) -> st.SearchStrategy[Formula]:
    """Return atoms."""
    condition = st.none() | plain() if conditions else st.none()
    return st.one_of(
        st.builds(
            Atom, st.just(("event",)), st.sampled_from(["a", "b", "c"]), arguments(variables), condition
        ),
        st.builds(
            Atom,
            st.sampled_from([("tool_call",), ("tool_call", "tool_result")]),
            st.sampled_from(["pay", "p*", ""]),
            st.just(()),
            condition,
        ),
    )


def windowed_terms(inner: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    """Return comparisons of counts, sums and last values."""
    small = st.integers(0, 4).map(Const)
    counts = st.builds(Count, inner, WINDOWS)
    sums = st.builds(Sum, st.just(AMOUNT), st.none() | inner, WINDOWS)
    lasts = st.builds(Last, st.sampled_from([("args", "n"), ("args", 0)]), st.none() | inner, WINDOWS)
    return st.builds(Compare, st.sampled_from(["<", ">=", "=="]), st.one_of(counts, sums, lasts), small)


def formulas(variables: tuple[str, ...] = (), *, unknowns: bool = True) -> st.SearchStrategy[Formula]:
    """Return formulas of some depth with these free variables (at most)."""
    names = list(variables)
    leaves = events(names, unknowns) | plain() if unknowns else events(names, False)

    def deeper(inner: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
        options: list[st.SearchStrategy[Formula]] = [
            inner.map(Not),
            st.tuples(inner, inner).map(And),
            st.tuples(inner, inner).map(Or),
            st.builds(Implies, inner, inner),
            st.builds(Prev, inner, WINDOWS),
            st.builds(Once, inner, WINDOWS),
            st.builds(Historically, inner, WINDOWS),
            st.builds(Since, inner, inner, WINDOWS),
            st.builds(Interval, inner, inner),
        ]
        if unknowns:
            options.append(windowed_terms(inner))
        if names:
            options.append(st.builds(Exists, st.sampled_from(names), inner))
            options.append(st.builds(Forall, st.sampled_from(names), inner))
        return st.one_of(options)

    return st.recursive(leaves, deeper, max_leaves=6)


def bound(variables: tuple[str, ...]) -> st.SearchStrategy[Formula]:
    """Return atoms that bind all of the variables."""
    return st.builds(
        lambda name: Atom(
            ("event",),
            name,
            tuple(Argument(("args", place), Var(variable)) for place, variable in enumerate(variables)),
        ),
        st.sampled_from(["a", "b", "c"]),
    )


@st.composite
def steps(draw: Any, length: int = 10) -> list[Step]:
    """Return a trace of events, calls, results and messages."""
    found: list[Step] = []
    time = 0.0
    for index in range(draw(st.integers(0, length))):
        time += draw(st.sampled_from([0, 1, 1, 2]))
        agent = draw(st.sampled_from(["x", "y"]))
        parents = draw(st.sets(st.integers(0, index - 1), max_size=2)) if index else set()
        found.append(Step(index, time, agent, _body(draw, found), "", tuple(sorted(parents))))
    return found


def _body(draw: Any, before: list[Step]) -> Any:
    kind = draw(st.sampled_from(["event"] * 5 + ["tool_call", "tool_result", "message"]))
    if kind == "event":
        values = draw(st.lists(VALUES, max_size=2))
        return Action("event", draw(st.sampled_from(["a", "b", "c"])), pack({"args": values}))
    if kind == "tool_call":
        args = draw(st.dictionaries(st.sampled_from(["n", "k"]), VALUES, max_size=2))
        return Action("tool_call", draw(st.sampled_from(["pay", "ship"])), pack({"args": args}))
    if kind == "tool_result":
        of = draw(st.integers(-1, len(before) - 1)) if before else -1
        return Observation("tool_result", "pay", of, pack(draw(VALUES)), draw(st.booleans()))
    return Message(("y",), pack("hello"))
