"""Classical first-order past-time properties on long logs, against straightforward oracles."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from masfire.contracts.engine import Engine
from masfire.contracts.language.syntax import (
    And,
    Argument,
    Atom,
    Compare,
    Const,
    Exists,
    Formula,
    Implies,
    Interval,
    Not,
    Once,
    Prev,
    Since,
    Var,
    Window,
)  # fmt: skip
from masfire.contracts.model import Always, Contract, Response, Rule
from masfire.trace.model import Action, Step
from masfire.trace.payload import pack

Event = tuple[Any, ...]
Oracle = Callable[[list[Event]], set[int]]


def event(name: str, *variables: str) -> Formula:
    return Atom(("event",), name, tuple(
        Argument(("args", place), Var(variable)) for place, variable in enumerate(variables)))  # fmt: skip


def access(log: list[Event]) -> set[int]:
    users, files, bad = set(), set(), set()
    for i, (name, *args) in enumerate(log):
        if name == "login":
            users.add(args[0])
        elif name == "logout":
            users.discard(args[0])
        elif name == "open":
            files.add(args[0])
        elif name == "close":
            files.discard(args[0])
        elif name == "access" and (args[0] not in users or args[1] not in files):
            bad.add(i)
    return bad


def reopened(log: list[Event]) -> set[int]:
    files, bad = set(), set()
    for i, (name, *args) in enumerate(log):
        if name == "open":
            if args[0] in files:
                bad.add(i)
            files.add(args[0])
        elif name == "close":
            files.discard(args[0])
    return bad


def closed_twice(log: list[Event]) -> set[int]:
    files, bad = set(), set()
    for i, (name, *args) in enumerate(log):
        if name == "open":
            files.add(args[0])
        elif name == "close":
            if args[0] not in files:
                bad.add(i)
            files.discard(args[0])
    return bad


def locks(log: list[Event]) -> set[int]:
    """A thread acquires lock b while it holds a, after some thread acquired a while it held b."""
    held: dict[Any, set[Any]] = {}
    orders: set[tuple[Any, Any]] = set()
    bad = set()
    for i, (name, *args) in enumerate(log):
        if name == "acquire":
            thread, lock = args
            mine = held.setdefault(thread, set())
            if any((lock, other) in orders for other in mine if other != lock):
                bad.add(i)
            orders |= {(other, lock) for other in mine}
            mine.add(lock)
        elif name == "release":
            held.setdefault(args[0], set()).discard(args[1])
    return bad


def bids(log: list[Event]) -> set[int]:
    best: dict[Any, Any] = {}
    bad = set()
    for i, (name, *args) in enumerate(log):
        if name == "bid":
            if args[0] in best and args[1] <= best[args[0]]:
                bad.add(i)
            best[args[0]] = max(args[1], best.get(args[0], args[1]))
    return bad


def iterators(log: list[Event]) -> set[int]:
    maps: dict[Any, set[Any]] = {}
    made: dict[tuple[Any, Any], int] = {}
    seen: set[tuple[Any, Any, Any]] = set()
    updated: dict[Any, int] = {}
    bad = set()
    for i, (name, *args) in enumerate(log):
        if name == "create":
            maps.setdefault(args[1], set()).add(args[0])
        elif name == "iterator":
            made[(args[0], args[1])] = i
            seen |= {(args[0], args[1], m) for m in maps.get(args[0], ())}
        elif name == "update":
            updated[args[0]] = i
        elif name == "next" and any(updated.get(m, -1) > made[(c, it)] for c, it, m in seen if it == args[0]):
            bad.add(i)
    return bad


def requests(log: list[Event]) -> set[int]:
    """Lines after which a request has waited for more than six lines."""
    waiting: list[tuple[int, Any]] = []
    bad = set()
    for i, (name, *args) in enumerate(log):
        late = [entry for entry in waiting if i - entry[0] > 6]
        if late:
            bad.add(i)
            waiting = [entry for entry in waiting if entry not in late]
        if name == "response":
            waiting = [entry for entry in waiting if entry[1] != args[0]]
        elif name == "request":
            waiting.append((i, args[0]))
    return bad


def errors(log: list[Event]) -> set[int]:
    running, bad = set(), set()
    for i, (name, *args) in enumerate(log):
        if name == "dispatch":
            running.add(args[0])
        elif name == "complete":
            running.discard(args[0])
        elif name == "error" and running & {"c0", "c1"}:
            bad.add(i)
    return bad


def recent(log: list[Event]) -> set[int]:
    """Commits without a check of the same name in the last nine lines."""
    checked: dict[Any, int] = {}
    bad = set()
    for i, (name, *args) in enumerate(log):
        if name == "check":
            checked[args[0]] = i
        elif name == "commit" and i - checked.get(args[0], -99) > 9:
            bad.add(i)
    return bad


def approvals(log: list[Event]) -> set[int]:
    """Publications without an approval, in the last ten lines, by someone who was a manager then."""
    managers, approved, bad = set(), {}, set()
    for i, (name, *args) in enumerate(log):
        if name == "hired":
            managers.add(args[0])
        elif name == "left":
            managers.discard(args[0])
        elif name == "approve" and args[0] in managers:
            approved[args[1]] = i
        elif name == "publish" and i - approved.get(args[0], -99) > 10:
            bad.add(i)
    return bad


def duplicates(log: list[Event]) -> set[int]:
    seen: dict[Any, int] = {}
    return {i for i, (name, *args) in enumerate(log) if name == "id" and seen.setdefault(args[0], i) != i}


def exclusion(log: list[Event]) -> set[int]:
    inside: dict[Any, set[Any]] = {}
    bad = set()
    for i, (name, *args) in enumerate(log):
        here = inside.setdefault(args[1], set())
        if name == "enter":
            if here - {args[0]}:
                bad.add(i)
            here.add(args[0])
        else:
            here.discard(args[0])
    return bad


MANAGER = Interval(event("hired", "m"), event("left", "m"))
INSIDE = Interval(event("enter", "q", "s"), event("leave", "q", "s"))
HOLDS = Interval(event("acquire", "t", "a"), event("release", "t", "a"))
ORDER = And((
    Interval(event("acquire", "u", "b"), event("release", "u", "b")), event("acquire", "u", "a"),
    Compare("!=", Var("a"), Var("b")),
))  # fmt: skip
FILE = Interval(event("open", "f"), event("close", "f"))
PROPERTIES: dict[str, tuple[Rule, Oracle, dict[str, list[str]]]] = {
    "access": (Always(Implies(event("access", "u", "f"), And((
        Interval(event("login", "u"), event("logout", "u")), FILE)))), access,
        {"login": ["u"], "logout": ["u"], "open": ["f"], "close": ["f"], "access": ["u", "f"]}),
    "reopened": (Always(Implies(event("open", "f"), Not(Prev(FILE)))), reopened,
        {"open": ["f"], "close": ["f"]}),
    "closed": (Always(Implies(event("close", "f"), Prev(FILE))), closed_twice,
        {"open": ["f"], "close": ["f"]}),
    "locks": (Always(Implies(And((event("acquire", "t", "b"), HOLDS, Compare("!=", Var("a"), Var("b")))),
        Not(Exists("u", Prev(Once(ORDER)))))), locks, {"acquire": ["t", "l"], "release": ["t", "l"]}),
    "bids": (Always(Implies(And((Prev(Once(event("bid", "i", "a1"))), event("bid", "i", "a2"))),
        Compare("<", Var("a1"), Var("a2")))), bids, {"bid": ["i", "n"], "look": ["i"]}),
    "iterators": (Always(Implies(
        And((event("next", "i"), Once(And((event("iterator", "c", "i"), Once(event("create", "m", "c"))))))),
        Since(Not(event("update", "m")), event("iterator", "c", "i")))), iterators,
        {"create": ["m", "c"], "iterator": ["c", "i"], "update": ["m"], "next": ["i"]}),
    "requests": (Response(event("request", "r"), event("response", "r"), Window(6)), requests,
        {"request": ["r"], "response": ["r"], "idle": []}),
    "errors": (Always(Implies(And((Interval(event("dispatch", "c"), event("complete", "c")),
        Compare("in", Var("c"), Const(("c0", "c1"))))), Not(event("error")))), errors,
        {"dispatch": ["c"], "complete": ["c"], "error": []}),
    "recent": (Always(Implies(event("commit", "x"), Once(event("check", "x"), Window(9)))), recent,
        {"commit": ["x"], "check": ["x"], "idle": []}),
    "approvals": (Always(Implies(event("publish", "r"), Exists("m", Once(
        And((event("approve", "m", "r"), MANAGER)), Window(10))))), approvals,
        {"publish": ["r"], "approve": ["m", "r"], "hired": ["m"], "left": ["m"]}),
    "duplicates": (Always(Implies(event("id", "x"), Not(Prev(Once(event("id", "x")))))), duplicates,
        {"id": ["x"], "idle": []}),
    "exclusion": (Always(Implies(event("enter", "p", "s"), Not(Exists("q", And((
        Prev(INSIDE), Compare("!=", Var("p"), Var("q")))))))), exclusion,
        {"enter": ["p", "s"], "leave": ["p", "s"]}),
}  # fmt: skip


def log_of(alphabet: dict[str, list[str]], length: int, seed: int) -> list[Event]:
    rng, found = random.Random(seed), []
    for _ in range(length):
        name = rng.choice(list(alphabet))
        found.append((name, *(rng.randrange(length) if kind == "n" else f"{kind}{rng.randrange(6)}"
                              for kind in alphabet[name])))  # fmt: skip
    return found


def steps_of(log: list[Event]) -> list[Step]:
    return [
        Step(i, float(i), "", Action("event", name, pack({"args": args})))
        for i, (name, *args) in enumerate(log)
    ]


def violating(rule: Rule, log: list[Event]) -> set[int]:
    engine = Engine([Contract("c", (rule,))])
    for step in steps_of(log):
        engine.commit(step)
    (verdict,) = engine.verdicts()
    return {found.violated_at for found in verdict.violations}


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_violating_lines_are_the_oracles(name: str) -> None:
    rule, oracle, alphabet = PROPERTIES[name]
    anything = 0
    for seed in range(4):
        log = log_of(alphabet, 120, seed)
        expected = oracle(log)
        assert violating(rule, log) == expected
        anything += len(expected)
    assert anything, "the logs violate nothing"


def test_a_million_events_with_two_violations() -> None:
    """Judged as they are made, with bounded state: sessions come and go."""
    rule, *_ = PROPERTIES["access"]
    engine, rng, expected, sizes = Engine([Contract("c", (rule,))]), random.Random(5), [], []
    payloads: dict[Event, Any] = {}

    def said(i: int, *event: Any) -> int:
        name, *args = event
        if len(payloads) > 10_000:
            payloads.clear()
        payload = payloads.get(event) or payloads.setdefault(event, pack({"args": args}))
        engine.commit(Step(i, float(i), "", Action("event", name, payload)))
        return i + 1

    i, session = 0, 0
    while i < 1_000_000:
        user, file = f"u{session}", f"f{session % 50}"
        i = said(i, "login", user)
        i = said(i, "open", file)
        for _ in range(rng.randrange(60)):
            i = said(i, "access", user, file)
        i = said(i, "logout" if session % 2 else "close", user if session % 2 else file)
        if session in (7_000, 21_000):
            expected.append(i)
            i = said(i, "access", user, file)
        i = said(i, "close" if session % 2 else "logout", file if session % 2 else user)
        session += 1
        if session in (3_000, 28_000):
            sizes.append(len(engine.save()))
    (verdict,) = engine.verdicts()
    assert [found.violated_at for found in verdict.violations] == expected
    assert sizes[1] < 2 * sizes[0], "what is over is not forgotten"
