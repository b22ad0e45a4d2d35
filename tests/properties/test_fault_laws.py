"""Laws of fault injection that hold for every fault, seed and content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from masfire.faults.base import FAULTS, FaultSpec
from masfire.faults.injector import Injector, Knowledge
from masfire.recorder import Recorder
from masfire.trace.model import Action, Header, Message, Observation
from masfire.trace.payload import pack
from tests.support.steps import Stage, calls, chat

LAWFUL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = FAULTS.names()
RICH = (
    "Plan:\n1. Check 3 red lamps for Anna in Zurich.\n2. Ship them by Friday, probably.\n3. Not before noon."
)
PARAMETERS = {"message_storm": "?copies=4", "context_length_violation": "?size=300"}

KEYS = [
    "role",
    "content",
    "messages",
    "tool",
    "name",
    "args",
    "arguments",
    "steps",
    "id",
    "depends_on",
    "order",
]
words = st.text(st.sampled_from("ab 3.,;:\n{}[]\"'`$°éZ-\x00\u2028"), max_size=60)
phrases = st.sampled_from([
    RICH, "", "ok", "order 3 lamps", "It may be approved.", '{"item": "lamp", "qty": 3}', "1. a\n2. b",
    '{"tool": "pay", "args": {"sum": 1.5, "to": null, "ok": true}}', "```json\n[1, 2]\n```",
    "[" * 90, '{"a":' * 80,
])  # fmt: skip
texts = words | phrases
scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts | st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = [
    "role",
    "content",
    "messages",
    "tool",
    "name",
    "args",
    "arguments",
    "steps",
    "id",
    "depends_on",
    "order",
]
turns = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), texts), max_size=4)


def schedule(content: Any, history: list[tuple[str, str]]) -> list[tuple[str, Any]]:
    """Return the same content as every kind of step that a fault may meet."""
    reply = {
        "content": content if isinstance(content, str) else None,
        "tool_calls": [],
        "finish_reason": "stop",
    }
    called = calls(("pay", content))
    return [
        ("user", Message(("a",), pack(content), "graph")),
        ("b", Observation("model_reply", "m", -1, pack(reply))),
        ("a", Action("model_call", "m", pack(chat(*history)))),
        ("a", Action("model_call", "m", pack({"model": "m", "input": content, "instructions": "Be good."}))),
        ("a", Observation("model_reply", "m", 2, pack(reply))),
        ("a", Observation("model_reply", "m", 2, pack(called))),
        ("a", Message(("b",), pack(content), "graph")),
        (
            "a",
            Message(
                ("b",), pack({"messages": [{"role": "ai", "content": content}], "order": content}), "graph"
            ),
        ),
    ]


def play(address: str, steps: list[tuple[str, Any]], seed: int = 0, known: Knowledge | None = None):
    injector = Injector([FaultSpec.parse(address)], seed=seed, knowledge=known)
    recorder = Recorder(Header("x"), interceptors=[injector], witnesses=[injector], clock=lambda: 0.0)
    delivered = []
    for agent, body in steps:
        got = recorder.submit(agent, body)
        for step in got:
            recorder.received(step.step, step.value, by="b")
        delivered.append(got)
    return injector, recorder, delivered


@pytest.mark.parametrize("name", NAMES)
@LAWFUL
@given(content=values, history=turns, seed=st.integers(0, 3), times=st.sampled_from(["1", "every"]))
@example(RICH, [("system", "S"), ("user", "1"), ("assistant", "x"), ("user", RICH)], 0, "every")
def test_any_content_passes_or_is_struck_and_never_breaks(name, content, history, seed, times):
    steps = schedule(content, history)
    before = [bytes(body.content if isinstance(body, Message) else _raw(body)) for _, body in steps]
    address = f"{name}{PARAMETERS.get(name, '?')}&times={times}".replace("?&", "?")
    injector, recorder, delivered = play(address, steps, seed)
    after = [bytes(body.content if isinstance(body, Message) else _raw(body)) for _, body in steps]
    assert before == after, "the input was changed"
    outcome = injector.outcomes()[0]
    assert outcome.state != "not_injected", outcome.reason
    changed = sum(
        len(got) != 1 or got[0].body != body for (_, body), got in zip(steps, delivered, strict=True)
    )
    marks = [mark for mark in recorder.injections if mark.body.state == "injected"]
    assert len(marks) == changed, "a mark exists exactly if something changed"
    assert (outcome.state in ("injected", "witnessed")) == (outcome.step >= 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_rich_example_is_struck_by_every_fault(name):
    known = Knowledge(agents=["a", "b", "c"], roles={"b": "You check."}, edges={"a": ["b"]})
    stage = Stage(f"{name}{PARAMETERS.get(name, '')}", knowledge=known)
    tools = [
        {"type": "function", "function": {"name": n, "parameters": {"type": "object"}}}
        for n in ("pay", "post")
    ]
    stage.message("user", ("a",), RICH)
    call = stage.call(
        "a", chat(("system", "S"), ("user", "1"), ("assistant", "x"), ("user", RICH), tools=tools)
    )
    stage.reply("b", RICH)
    stage.call("a", chat(("user", RICH)))
    stage.reply("a", RICH)
    stage.reply("a", calls(("pay", {"sum": 3})), of=call.step)
    stage.message("c", ("b",), RICH)
    assert stage.end().state == "witnessed", stage.outcome
    assert stage.marks[0] == "injected"
    assert "witnessed" in stage.marks


@pytest.mark.parametrize("name", NAMES)
@LAWFUL
@given(data=st.data(), seed=st.integers(0, 50))
def test_a_draw_ignores_what_other_agents_do_meanwhile(name, data, seed):
    known = Knowledge(agents=["a", "b", "c"], roles={"b": "You check."}, task=RICH, edges={"a": ["b"]})
    own = schedule(RICH, [("system", "S"), ("user", RICH)])
    noise = [
        (
            "z",
            Observation(
                "model_reply", "m", -1, pack({"content": text, "tool_calls": [], "finish_reason": "stop"})
            ),
        )
        for text in data.draw(st.lists(st.sampled_from([RICH, "4 lamps", "x"]), max_size=4))
    ]
    mixed = list(own)
    for item in noise:
        mixed.insert(data.draw(st.integers(3, len(mixed))), item)
    known.meet("z")
    agent = "user" if FAULTS.get(name).__class__.__module__.endswith("instruction") else "a"
    address = f"{name}@{agent}{PARAMETERS.get(name, '?')}&times=every".replace("?&", "?")
    assert _delivered(own, address, seed, known) == _delivered(mixed, address, seed, known)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_run_and_other_seeds_differ_somewhere(name):
    known = Knowledge(
        agents=["a", "b", "c", "d"],
        roles={"b": "You check.", "c": "You sell.", "d": "You pack."},
        edges={"a": ["b"]},
    )
    steps = [
        *schedule(RICH, [("system", "S"), ("user", RICH)]),
        ("a", _called({"n": 3, "m": 5, "o": "lamp"})),
    ]
    address = f"{name}{PARAMETERS.get(name, '')}"
    seen = {seed: json.dumps(_delivered(steps, address, seed, known)) for seed in range(12)}
    again = {seed: json.dumps(_delivered(steps, address, seed, known)) for seed in range(12)}
    assert seen == again
    drawn = {
        "inexecutable_plan", "context_length_violation", "hallucination", "parameter_filling_error",
        "tool_format_error", "role_ambiguity", "blind_trust", "instruction_logic_conflict",
    }  # fmt: skip
    assert (len(set(seen.values())) > 1) == (name in drawn)


addresses = st.builds(
    FaultSpec,
    name=st.sampled_from(["hallucination", "message_cycle", "instruction_ambiguity"]),
    agent=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    to=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
    n=st.integers(0, 10**6),
    times=st.sampled_from([-1, 1, 2, 99]),
)


@LAWFUL
@given(addresses)
@example(FaultSpec("hallucination", agent="a->b", to="->"))
@example(FaultSpec("hallucination", agent="lead planner ", to=" x"))
@example(FaultSpec("hallucination", agent="wor?er*#%3F"))
def test_an_address_reads_back_as_what_was_written(spec):
    assert FaultSpec.parse(spec.address) == spec


@LAWFUL
@given(st.text(max_size=30))
def test_no_text_makes_the_address_reader_fail_in_another_way(text):
    from masfire.errors import UsageError

    try:
        spec = FaultSpec.parse(text)
    except UsageError:
        return
    assert FaultSpec.parse(spec.address) == spec


def _raw(body: Any) -> Any:
    return body.outcome if isinstance(body, Observation) else body.proposed


def _called(args: dict[str, Any]) -> Observation:
    return Observation("model_reply", "m", -1, pack(calls(("pay", args))))


def _delivered(steps: list[tuple[str, Any]], address: str, seed: int, known: Knowledge) -> list[Any]:
    _, _, delivered = play(address, steps, seed, known)
    return [
        [(step.value, list(step.body.to) if isinstance(step.body, Message) else []) for step in got]
        for (agent, _), got in zip(steps, delivered, strict=True)
        if agent != "z"
    ]
