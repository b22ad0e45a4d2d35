"""Schemata proved on stored runs, and recognition by those that were."""

from __future__ import annotations

import pytest

from masfire.knowledge.memory import Memory
from masfire.knowledge.planning import flaws_of
from masfire.knowledge.replaying import Stored, prove, replay
from masfire.knowledge.store import SqliteStore
from masfire.knowledge.traits import Traits, traits_of
from masfire.trace.model import Action, Header, Message, Observation, Step, Trace
from masfire.trace.payload import pack
from tests.support.lessons import schema


def run(step, *names):
    return Stored(tuple(Traits(n, "a", frozenset(some), "") for n, some in enumerate(names)), step)


RUNS = [
    run(0, {"kind:x", "claim:conflict"}, {"kind:x"}),
    run(1, {"kind:x"}, {"kind:x", "claim:conflict", "args:text"}, {"kind:x", "args:text"}),
]


@pytest.fixture
def memory(tmp_path):
    with SqliteStore(tmp_path / "m.sqlite") as store:
        yield Memory(store)


def test_a_schema_is_as_good_as_it_was_on_stored_runs():
    assert prove(frozenset({"kind:x", "claim:conflict"}), RUNS) == (2, 2)
    assert prove(frozenset({"kind:x", "args:text"}), RUNS) == (1, 2)
    assert prove(frozenset({"kind:x"}), RUNS) == (2, 5)


def test_precision_is_written_down_and_a_common_core_is_found(memory):
    left = memory.learn(schema("f", ["kind:x", "claim:conflict", "call:repeated"]))
    right = memory.learn(schema("f", ["kind:x", "claim:conflict", "args:text"], run="r2"))
    assert replay(memory, RUNS) == 2
    by_traits = {one.signature.traits: one for one in memory.schemata()}
    core = by_traits["claim:conflict", "kind:x"]
    assert core.precision == pytest.approx(2.5 / 4)
    assert core.support == left.support + right.support == len(core.evidence)
    assert core.general
    assert not left.general
    assert by_traits[left.signature.traits].precision == pytest.approx(0.5 / 2)
    assert by_traits[right.signature.traits].precision == pytest.approx(1.5 / 3)
    replay(memory, RUNS)
    assert len(memory.schemata()) == 3  # proving again finds nothing new


def trace(*contents):
    steps = [
        Step(0, 0.0, "user", Message(("a",), pack("Send 8 chairs to Berlin."))),
        *(
            Step(n, float(n), "a", Message(("b",), pack(content)), parents=(0,))
            for n, content in enumerate(contents, 1)
        ),
    ]
    return Trace(Header(run="r", created=0.0, seed=0, task=pack("t")), tuple(steps), (), None)


def test_recognition_is_by_proof_and_survives_opening_again(memory, tmp_path):
    memory.file(
        schema("slip", ["kind:message", "claim:new-number"], precision=0.9, replayed=20),
        schema("noise", ["kind:message", "input:user"], precision=0.05, replayed=90),
    )
    told = trace({"quantity": 8}, {"quantity": 80})
    for one in (memory, Memory(memory.store)):
        (found,) = one.recognize(told)
        assert (found.step, found.category, found.similarity) == (2, "slip", 0.9)
    assert memory.recognize(trace({"quantity": 8})) == []


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"quantity": 8, "city": "Berlin"}, set()),
        ({"quantity": 8, "city": "Paris"}, {"claim:new-value", "claim:lost-name"}),
        ({"quantity": 80, "city": "Berlin"}, {"claim:new-number", "claim:lost-number", "claim:new-value"}),
    ],
)
def test_what_a_step_makes_of_its_input(content, names):
    window = traits_of(trace(content))[1]
    assert {name for name in window.names if name.startswith("claim:")} == names


def test_the_users_vague_words_and_what_comes_after_are_seen():
    steps = (
        Step(0, 0.0, "user", Message(("a",), pack("Please handle some things somewhere."))),
        Step(1, 1.0, "a", Message(("b",), pack("go")), parents=(0,)),
        Step(2, 2.0, "b", Action("tool_call", "pay", pack({"args": {}})), parents=(1,)),
        Step(3, 3.0, "b", Observation("tool_result", "pay", of=2, ok=False, outcome=pack({"error": {}}))),
        Step(4, 4.0, "a", Message(("b",), pack("go")), parents=(0,)),
    )
    head = Header(run="r", created=0.0, seed=0, task=pack("t"))
    user, order, call, _, last = traits_of(Trace(head, steps, (), None))
    assert "task:vague" in user.names
    assert {"then:rejected", "then:repeated"} <= order.names
    assert "then:failed" in call.names
    assert {"message:repeated", "then:over"} <= last.names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"steps":[{"step":"a","needs":["b"]},{"step":"b","needs":[]}]}', set()),
        ('{"steps":[{"step":"a","needs":["b"]},{"step":"b","needs":["a"]}]}', {"plan:cycle"}),
        ('[{"id":1,"depends_on":[2]}]', {"plan:unknown"}),
        ("Let us go.", set()),
        ("[" * 100_000, set()),
        ('{"steps":[{"needs":[]}]}', set()),
    ],
)
def test_flaws_of_plans(text, names):
    assert flaws_of(text) == names
