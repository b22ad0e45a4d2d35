"""Laws of the record: dump then load is the identity; truth can be hidden; the gate has one order."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.recorder import Recorder
from masfire.trace.io import TraceWriter, read_trace, scan
from masfire.trace.model import (
    Action,
    Body,
    Decision,
    Draw,
    End,
    Header,
    Injection,
    Message,
    Observation,
    Step,
    Trace,
)
from masfire.trace.payload import ABSENT, pack, unpack
from masfire.trace.redact import Redactor
from masfire.trace.secrets import HINT, surely_clean

TEXT = st.text(st.characters(), max_size=20)
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
PAYLOAD = JSON.map(pack)
DRAW = st.builds(
    Draw, NAME, NAME, st.integers(0, 9), st.floats(0, 1e6), st.integers(0, 10**9), st.integers(0, 9)
)
VISIBLE: st.SearchStrategy[Body] = st.one_of(
    st.builds(Message, st.lists(NAME, max_size=3).map(tuple), PAYLOAD, NAME),
    st.builds(Action, NAME, NAME, PAYLOAD, st.just(ABSENT) | PAYLOAD, NAME),
    st.builds(Observation, NAME, NAME, st.integers(-1, 50), PAYLOAD, st.booleans(), st.none() | DRAW),
    st.builds(Decision, NAME, NAME, NAME, st.integers(-1, 50), PAYLOAD),
)
HIDDEN = st.builds(Injection, NAME, NAME, NAME, NAME, PAYLOAD, PAYLOAD)
BODIES = st.lists(VISIBLE | HIDDEN, max_size=12)
HEADER = st.builds(
    Header, NAME, task=PAYLOAD, seed=st.integers(0, 2**63), faults=st.lists(NAME, max_size=2).map(tuple)
)
END = st.none() | st.builds(
    End, NAME, NAME, PAYLOAD, st.none() | st.booleans(), st.integers(0, 99), st.floats(0, 1e9)
)
TIME = st.floats(allow_nan=False, allow_infinity=False)


def numbered(bodies: Sequence[Body], draw: st.DataObject) -> list[Step]:
    """Return steps with dense indices, hidden ones sharing the index that they mark."""
    steps: list[Step] = []
    index = 0
    for body in bodies:
        parents = draw.draw(st.sets(st.integers(0, max(index - 1, 0)), max_size=3)) if index else set()
        steps.append(
            Step(index, draw.draw(TIME), draw.draw(NAME), body, draw.draw(NAME), tuple(sorted(parents)))
        )
        index += not isinstance(body, Injection)
    return steps


@given(HEADER, BODIES, END, st.data())
def test_dump_then_load_is_the_identity(
    header: Header, bodies: list[Body], end: End | None, data: st.DataObject
) -> None:
    steps = numbered(bodies, data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        writer = TraceWriter(path, header)
        stored = [writer.write(step) for step in steps]
        writer.close(end)
        trace = read_trace(path)
        assert stored == steps
        assert trace == Trace(
            header,
            tuple(step for step in steps if step.kind != "injection"),
            tuple(step for step in steps if step.kind == "injection"),
            end,
        )
        seen = [(one.step, one.agent, one.kind) for one in scan(path)]
        assert seen == [(step.step, step.agent, step.kind) for step in trace.steps]


def alike(left: Any, right: Any) -> bool:
    """Return whether two JSON values are the same, NaN and types included."""
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or (left == right and repr(left) == repr(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


@given(JSON)
def test_a_value_survives_its_payload(value: Any) -> None:
    assert alike(unpack(pack(value)), value)


@given(HEADER, BODIES, END, st.data())
def test_blind_leaves_no_truth_and_no_gap(
    header: Header, bodies: list[Body], end: End | None, data: st.DataObject
) -> None:
    steps = numbered(bodies, data)
    visible = tuple(step for step in steps if step.kind != "injection")
    hidden = tuple(step for step in steps if step.kind == "injection")
    blind = Trace(header, visible, hidden, end).blind()
    assert blind == Trace(msgspec.structs.replace(header, faults=(), launch={}), visible, (), end)
    assert [step.step for step in blind.steps] == list(range(len(visible)))


WORD = st.sampled_from([
    "sk-" + "k" * 20, "hello", 'say "hi"', "a\nb", "C:\\dir", "password", "api_key", "token",
    "Bearer " + "t" * 16, "\u2028", "ghp_" + "g" * 30, "://u:secret@h", "max_tokens", ": ", "{",
    "AKIA" + "A" * 16, "naïve", "\x1b[",
])  # fmt: skip
PROSE = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
NESTING = st.recursive(
    PROSE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(PROSE, inner, max_size=3),
        inner.map(json.dumps),
        inner.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1)),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(NESTING)
def test_what_is_not_suspected_holds_no_secret(value: Any) -> None:
    """A fast look at encoded text never passes over what a slow look at decoded values finds."""
    redactor = Redactor()
    step = Step(0, 1.0, "a", Message(("b",), pack(value)))
    if not redactor.suspects(msgspec.json.encode(step)):
        assert redactor.value(value) == value
    extra = Redactor(["hello", r"naïve\w*"])
    if not extra.suspects(msgspec.json.encode(step)):
        assert extra.value(value) == value


AROUND = st.text("ab _-.:=@/\\\"'\u00e9\u2028\U0001f600", max_size=8)
FOLDED = {"s": "s\u017f", "k": "k\u212a", "S": "S\u017f", "K": "K\u212a"}
"""What RE2 takes for the same letter where case does not matter."""


@st.composite
def hinted(draw: st.DrawFn) -> bytes:
    """Return text in which HINT finds something, some letters of it in their unusual forms."""
    found = draw(st.from_regex(HINT))
    if draw(st.booleans()):
        found = "".join(draw(st.sampled_from(FOLDED.get(letter, letter))) for letter in found)
    return (draw(AROUND) + found + draw(AROUND)).encode("utf-8", "replace")


@settings(max_examples=1000)
@given(hinted())
def test_the_screen_of_literals_passes_nothing_that_the_full_look_would_find(encoded: bytes) -> None:
    if re2.search(HINT.encode(), encoded):
        assert not surely_clean(encoded)


SECRET = st.sampled_from([
    "-----BEGIN PRIVATE KEY-----\nx", "sk-ant-abcdefab", "sess-abcdefab", "rk_test_abcdefab",
    "whsec_live_abcdefab", "ASIA0123456789AB", "ABIA0123456789AB", "ACCA0123456789AB", "gho_abcdefabcdefabcd",
    "github_pat_abcdefabcdefabcd", "glptt-abcdefabcdefabcd", "gldt-abcdefabcdefabcd", "glrt-abcdefabcdefabcd",
    "xoxe-abcdefab", "xapp-abcdefab", "hooks.slack.com/services/T0", "AIzaabcdefabcdefabcdefabcd",
    "ya29.abcdefab", "hf_abcdefabcdefabcd", "eyJabcdefab.eyJabcdefab.x", "BEARER abcdefabcdef",
    "Authorization: apikey x", "a://b:c@d", "aCCe\u017f\u017f to\u212aEn=abcd", "PA\u017fSWORD='x'",
    "\u212aey", "api_\u212aEY=abcd",
    "cookie:'x'", "credential=abcd", "passwd=abcd", "pass phrase=abcd", "secret=abcd",
    "auth='x'", "token=abcd", "\\u0073k-abcdefab",
])  # fmt: skip


@settings(max_examples=500)
@given(st.one_of(WORD, PROSE, SECRET), st.sampled_from(["{}", "x {} y", '{{"a":"{}"}}', "\\n{}", "{}\u212a"]))
def test_what_the_screen_calls_clean_is_left_as_it_is(word: str, place: str) -> None:
    text = place.format(word)
    if surely_clean(msgspec.json.encode(text)):
        assert Redactor().text(text) == text
        assert Redactor().value({text: text}) == {text: text}


@settings(max_examples=300)
@given(st.data())
def test_a_step_that_is_left_as_it_is_holds_no_secret_anywhere(data: st.DataObject) -> None:
    some = st.one_of(st.just("pen"), PROSE, SECRET)
    name, payload = data.draw(some), pack(data.draw(st.one_of(NESTING, SECRET)))
    body = data.draw(
        st.sampled_from(
            [
                Message((name, "b"), payload),
                Action("model_call", name, payload),
                Action("tool_call", "pen", pack(1), id=name),
                Action("tool_call", name, pack(1), payload),
                Observation("model_reply", name, 0, payload, draw=Draw("00ff", tokens_in=3)),
                Decision("block", name, "", 0, payload),
            ]
        )
    )
    step = Step(0, 1.0, data.draw(some), body, data.draw(st.one_of(st.just(""), some)))
    for redactor in (Redactor(), Redactor(["pen"])):
        if redactor.leaves(step, msgspec.json.encode(step)):
            assert redactor.step(step) == step


@given(NESTING)
def test_redacting_twice_is_redacting_once(value: Any) -> None:
    redactor = Redactor()
    once = redactor.value(value)
    again = json.dumps(redactor.value(once))
    assert "k" * 20 not in json.dumps(once)
    assert "g" * 30 not in again


PLANS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=0, max_size=3)


def interceptor(plan: list[int], log: list[str], name: int) -> Any:
    """Return an interceptor that multiplies the n-th step it sees by the n-th number of its plan."""
    seen = 0

    def act(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        nonlocal seen
        copies = plan[seen % len(plan)]
        seen += 1
        log.append(f"{name}:{step.value}:{len(history)}:{step.step}")
        mark = Step(step.step, step.time, step.agent, Injection(str(name), "a", "injected"))
        return [mark, *(step.with_payload(pack(f"{step.value}.{n}")) for n in range(copies))]

    return act


@given(PLANS, st.integers(1, 4))
def test_submit_and_asubmit_agree_and_go_depth_first(plans: list[list[int]], count: int) -> None:
    def play(*, waiting: bool) -> tuple[list[str], list[Any], Trace]:
        log: list[str] = []
        acts = [interceptor(plan, log, name) for name, plan in enumerate(plans)]
        recorder = Recorder(Header(run="r"), interceptors=acts, clock=lambda: 1.0)
        delivered: list[Any] = []
        for number in range(count):
            body = Message(("b",), pack(str(number)))
            if waiting:
                delivered.append(asyncio.run(recorder.asubmit("a", body)))
            else:
                delivered.append(recorder.submit("a", body))
        return log, delivered, recorder.trace()

    log, delivered, trace = play(waiting=False)
    assert (log, delivered, trace) == play(waiting=True)
    assert [step for group in delivered for step in group] == list(trace.steps)
    assert [step.step for step in trace.steps] == list(range(len(trace)))
    paths = [[int(part) for part in step.value.split(".")] for step in trace.steps]
    assert paths == sorted(paths)
