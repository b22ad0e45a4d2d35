"""Spectrum evidence: the unit that failed repeats share and passed ones lack is blamed."""

from __future__ import annotations

from masfire.diagnosis.spectrum import Spectrum, unit_of
from masfire.trace.model import End, Header, Message, Step, Trace
from masfire.trace.payload import pack


def run(name: str, *said: tuple[str, str], passed: bool = False) -> Trace:
    steps = tuple(
        Step(index, 0.0, agent, Message(("group",), pack(text))) for index, (agent, text) in enumerate(said)
    )
    return Trace(Header(run=name), steps, end=End("completed", success=passed))


GOOD = [
    run(f"good{index}", ("reader", "Order A1 has 3 lamps."), ("clerk", f"Sum {index}: 30."), passed=True)
    for index in range(3)
]
BAD = [
    run(f"bad{index}", ("reader", "Order A1 has 7 lamps."), ("clerk", f"Total {index}: 70."))
    for index in range(3)
]


def test_the_unit_of_all_failed_and_no_passed_runs_is_blamed():
    found = Spectrum(BAD, GOOD).examine(BAD[0])
    best = max(found, key=lambda one: one.score)
    assert (best.step, best.score) == (0, 1.0)
    assert "100% of 3 failed and 0% of 3 passed" in best.evidence.text
    assert best.evidence.steps == (0,)


def test_what_passed_runs_do_as_well_is_innocent():
    bad = run("x", ("reader", "Order A1 has 3 lamps."), ("clerk", "Sum: 99."))
    assert [one.step for one in Spectrum([], GOOD).examine(bad)] == [1]
    harmless = run("y", ("reader", "Order A1 has 3 lamps."))
    assert Spectrum([], GOOD).examine(harmless) == []


def test_without_passed_runs_it_has_no_opinion():
    assert Spectrum(BAD, []).examine(BAD[0]) == []


def test_a_unit_knows_facts_and_not_wording_or_ids():
    one = Step(0, 0.0, "a", Message(("b",), pack("The Sum is 30")))
    other = Step(4, 9.0, "a", Message(("b",), pack("The total Sum: 30")))
    assert unit_of(one) == unit_of(other)
    call = Step(0, 0.0, "a", Message(("b",), pack({"id": "x1", "amount": 3})))
    again = Step(0, 0.0, "a", Message(("b",), pack({"id": "x2", "amount": 3})))
    changed = Step(0, 0.0, "a", Message(("b",), pack({"id": "x2", "amount": 4})))
    assert unit_of(call) == unit_of(again) != unit_of(changed)


def test_a_rarer_companion_of_failures_is_less_suspect():
    runs = [
        *BAD[:2],
        run("bad9", ("reader", "Order A1 has 7 lamps."), ("clerk", "Total 0: 70."), ("x", "Q 5")),
    ]
    scores = {one.step: one.score for one in Spectrum(runs, GOOD).examine(runs[2])}
    assert scores[0] > scores[2] > 0
