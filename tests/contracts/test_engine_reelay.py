"""The engine and reelay, an independent monitor, agree on the formulas that both can say."""

from __future__ import annotations

import random

import pytest
import reelay

from masfire.contracts.engine import Engine
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Formula,
    Historically,
    Implies,
    Not,
    Once,
    Or,
    Prev,
    Since,
    Window,
)
from masfire.contracts.model import Always, Contract, StepStatus
from masfire.trace.model import Action, Step
from masfire.trace.payload import pack

NAMES = ("a", "b", "c", "d")
NOTHING = pack({"args": []})


def drawn(rng: random.Random, depth: int) -> tuple[Formula, str]:
    """Return a random formula, and its text for reelay."""
    if not depth or rng.random() < 0.15:
        name = rng.choice(NAMES[:3])
        return Atom(("event",), name), f"{{{name}}}"
    (one, left), (two, right) = drawn(rng, depth - 1), drawn(rng, depth - 1)
    bound = rng.choice([None, None, 1, 3, 7])  # reelay reads [0:0] as no bound at all
    window, within = (None, "") if bound is None else (Window(bound), f"[0:{bound}]")
    return rng.choice([
        (Not(one), f"(not {left})"),
        (And((one, two)), f"({left} and {right})"),
        (Or((one, two)), f"({left} or {right})"),
        (Not(Implies(one, two)), f"(not ({left} -> {right}))"),
        (Prev(one), f"(pre {left})"),
        (Once(one, window), f"(once{within} {left})"),
        (Historically(one, window), f"(historically{within} {left})"),
        (Since(one, two, window), f"({left} since{within} {right})"),
        (Since(Not(one), two, window), f"((not {left}) since{within} {right})"),
    ])  # fmt: skip


def disagreement(formula: Formula, text: str, log: list[str]) -> int | None:
    """Return the first line about which the two disagree."""
    theirs = reelay.discrete_timed_monitor(pattern=text, semantics="boolean", condense=False)
    ours = Engine([Contract("c", (Always(formula),))])
    for i, name in enumerate(log):
        expected = theirs.update({each: each == name for each in NAMES})["value"]
        (said,) = ours.commit(Step(i, float(i), "", Action("event", name, NOTHING)))
        if (said.status is StepStatus.PASS) is not expected:
            return i
    return None


@pytest.mark.parametrize("seed", range(4))
def test_random_formulas_and_logs(seed: int) -> None:
    rng = random.Random(seed)
    passed = set()
    for _ in range(120):
        formula, text = drawn(rng, rng.randrange(1, 4))
        log = rng.choices(NAMES, k=25)
        assert disagreement(formula, text, log) is None, (text, log)
        passed.add(text)
    assert len(passed) > 75


def test_a_wrong_formula_is_noticed() -> None:
    log = ["d", "a", "d", "d", "d", "d"]
    assert disagreement(Once(Atom(("event",), "a"), Window(3)), "(once[0:2] {a})", log) == 4
