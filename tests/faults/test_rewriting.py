"""The faults that rewrite outputs: planning, reasoning and action, on every shape an output has."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from masfire.claims import claims_of, difference
from masfire.faults.injector import Knowledge
from tests.support.steps import Stage, calls, chat

SEEDS = range(12)
PLAN = "Plan:\n1. Check the stock of 3 lamps.\n2. Reserve them for Anna.\n3. Confirm by Friday."
ORDER = {"item": "lamp", "pieces": 3, "city": "Zurich", "express": False}
SCHEMA = {
    "type": "object",
    "properties": {
        "item": {"$ref": "#/$defs/Item"},
        "pieces": {"type": "integer", "minimum": 1, "maximum": 9},
        "city": {"anyOf": [{"type": "string", "enum": ["Zurich", "Bern"]}, {"type": "null"}]},
        "express": {"type": "boolean"},
    },
    "required": ["item", "pieces", "city"],
    "$defs": {"Item": {"type": "string", "enum": ["lamp", "chair", "desk"]}},
}
BOUND = {"response_format": {"type": "json_schema", "json_schema": {"name": "o", "schema": SCHEMA}}}
TOOLS = {
    "reserve": ("Reserve pieces in stock", SCHEMA),
    "release": (
        "Release reserved pieces in stock",
        {"type": "object", "properties": {"item": {"type": "string"}, "why": {"type": "string"}},
         "required": ["item", "why"]},
    ),
    "mail": ("Write a letter", {"type": "object", "properties": {"to": {"type": "string"}}}),
}  # fmt: skip
OFFERED = [
    {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
    for name, (text, schema) in TOOLS.items()
]


def struck(
    address: str, outcome: Any, seed: int = 0, *, request: dict[str, Any] | None = None
) -> tuple[Any, Stage]:
    """Return what the caller got of a reply, and the stage."""
    stage = Stage(address, seed=seed)
    call = stage.call("a", request or chat(("user", "go")))
    return stage.reply("a", outcome, of=call.step), stage


def content(got: Any) -> Any:
    return json.loads(got["content"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hallucination_replaces_facts_everywhere_they_are_stated(seed):
    state = {
        "messages": [{"role": "ai", "name": "a", "content": "I set 3 lamps aside for Zurich."}],
        "order": ORDER,
    }
    stage = Stage("hallucination@a?claims=9", seed=seed)
    (step,) = stage.message("a", ("b",), state)
    text, order = step.value["messages"][0]["content"], step.value["order"]
    assert str(order["pieces"]) in text
    assert order["city"] in text
    assert order["pieces"] != 3
    assert type(order["pieces"]) is int
    assert order["city"] != "Zurich"
    assert step.value["messages"][0]["name"] == "a"
    assert stage.outcome.state == "witnessed"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hallucination_in_bound_json_stays_within_the_schema(seed):
    got, stage = struck("hallucination@a", json.dumps(ORDER), seed, request=chat(("user", "x"), **BOUND))
    assert content(got) != ORDER
    jsonschema.validate(content(got), SCHEMA)
    assert stage.outcome.state == "witnessed"


def test_a_hallucination_strips_words_of_doubt():
    got, _ = struck("hallucination@a", "Maybe it is 40 EUR, and it might rain in May.")
    assert "Maybe" not in got["content"]
    assert "will rain in May" in got["content"]
    kept, _ = struck("hallucination@a?hedges=false", "Maybe it is 40 EUR.")
    assert kept["content"].startswith("Maybe")


@pytest.mark.parametrize(
    "text", ["The request is approved.", "yes", '{"verdict": "accept"}', '{"ok": true}', "[1]"]
)
def test_a_bare_verdict_is_turned(text):
    got, stage = struck("hallucination@a", text)
    gone, stated = difference(text, got["content"])
    assert gone
    assert stated
    assert stage.outcome.state == "witnessed"


@pytest.mark.parametrize("text", ["", "   ", "...", "{}"])
def test_an_output_that_states_nothing_is_inapplicable(text):
    _, stage = struck("hallucination@a", text)
    assert stage.end().state == "inapplicable"


@pytest.mark.parametrize("style", ["```json\n%s\n```", "%s", " %s\n"])
def test_json_keeps_its_surroundings_and_indentation(style):
    for indent in (None, 2):
        text = style % json.dumps(ORDER, indent=indent)
        got, _ = struck("parameter_filling_error@a", text)
        assert got["content"] != text
        assert got["content"].splitlines()[0] == text.splitlines()[0] or indent is None
        assert abs(len(got["content"]) - len(text)) < 12


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", ["native", "json", "flat"])
def test_wrong_arguments_keep_tool_keys_and_types_and_fit_the_schema(seed, shape):
    outcome = {
        "native": calls(("reserve", ORDER)),
        "json": json.dumps({"function": "reserve", "parameters": ORDER}),
        "flat": json.dumps(ORDER),
    }[shape]
    more = BOUND if shape == "flat" else {"tools": OFFERED}
    got, stage = struck(
        "parameter_filling_error@a?values=2", outcome, seed, request=chat(("user", "x"), **more)
    )
    if shape == "native":
        assert got["tool_calls"][0]["name"] == "reserve"
        args = json.loads(got["tool_calls"][0]["arguments"])
    else:
        args = content(got)["parameters"] if shape == "json" else content(got)
    assert args.keys() == ORDER.keys()
    assert [type(value) for value in args.values()] == [type(value) for value in ORDER.values()]
    assert sum(args[key] != ORDER[key] for key in ORDER) == 2
    jsonschema.validate(args, SCHEMA)
    assert stage.outcome.state == "witnessed"


def test_a_call_without_arguments_or_choice_is_inapplicable():
    _, stage = struck("parameter_filling_error@a", calls(("ping", {})))
    assert stage.end().state == "inapplicable"
    only = {"type": "object", "properties": {"x": {"const": 1}}}
    tools = [{"type": "function", "function": {"name": "one", "parameters": only}}]
    _, stage = struck(
        "parameter_filling_error@a", calls(("one", {"x": 1})), request=chat(("user", "x"), tools=tools)
    )
    assert stage.end().state == "inapplicable"


@pytest.mark.parametrize("how", ["bracket", "quotes", "equals", "required", "type"])
@pytest.mark.parametrize("shape", ["native", "json"])
def test_a_malformed_call_is_rejected(how, shape):
    outcome = (
        calls(("reserve", ORDER)) if shape == "native" else json.dumps({"tool": "reserve", "args": ORDER})
    )
    got, stage = struck(f"tool_format_error@a?how={how}", outcome, request=chat(("user", "x"), tools=OFFERED))
    text = got["tool_calls"][0]["arguments"] if shape == "native" else got["content"]
    if how in ("bracket", "quotes", "equals"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    else:
        args = json.loads(text) if shape == "native" else json.loads(text)["args"]
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(args)
    assert stage.outcome.state == "witnessed"
    assert how in bytes(stage.recorder.injections[0].body.reason.encode()).decode()


def test_a_schema_defect_needs_a_schema_when_the_call_is_text():
    _, stage = struck("tool_format_error@a?how=type", calls(("reserve", ORDER)))
    assert stage.end().state == "inapplicable"


@pytest.mark.parametrize("shape", ["native", "json", "enum", "knowledge"])
def test_the_nearest_other_tool_is_called_with_arguments_that_fit(shape):
    request: dict[str, Any] = chat(("user", "x"), tools=OFFERED)
    outcome: Any = calls(("reserve", ORDER))
    knowledge = None
    if shape != "native":
        outcome = json.dumps({"tool": "reserve", "args": ORDER})
    if shape == "enum":
        names = {"type": "object", "properties": {"tool": {"enum": ["reserve", "release"]}}}
        request = chat(("user", "x"), response_format={"json_schema": {"schema": names}})
    if shape == "knowledge":
        shown = Stage()
        shown.call("z", request)
        knowledge, request = Knowledge.from_trace(shown.recorder.trace()), chat(("user", "x"))
    stage = Stage("tool_selection_error@a", knowledge=knowledge)
    call = stage.call("a", request)
    got = stage.reply("a", outcome, of=call.step)
    if shape == "native":
        name, args = got["tool_calls"][0]["name"], json.loads(got["tool_calls"][0]["arguments"])
    else:
        name, args = content(got)["tool"], content(got)["args"]
    assert name == "release"
    if shape != "enum":
        assert args == {"item": "lamp", "why": "Zurich"}
    assert stage.outcome.state == "witnessed"


def test_a_flat_action_becomes_another_one_of_its_choices():
    schema = {"properties": {"action": {"enum": ["reserve", "refuse"]}, "pieces": {"type": "integer"}}}
    request = chat(("user", "x"), response_format={"json_schema": {"schema": schema}})
    got, stage = struck("tool_selection_error@a", '{"action": "reserve", "pieces": 3}', request=request)
    assert content(got) == {"action": "refuse", "pieces": 3}
    assert stage.outcome.state == "witnessed"


@pytest.mark.parametrize("way", ["unknown", "cycle"])
@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        "- check stock\n- reserve",
        "check stock; reserve; confirm",
        "Check the stock. Reserve the lamps. Confirm.",
        '{"plan": ["check stock", "reserve"], "for": "Anna"}',
        '[{"id": "a", "tool": "check"}, {"id": "b", "tool": "reserve", "depends_on": ["a"]}]',
        '{"steps": [{"step": 1, "do": "check"}, {"step": 2, "do": "reserve"}]}',
    ],
)
def test_a_plan_of_any_notation_becomes_inexecutable(plan, way):
    got, stage = struck(f"inexecutable_plan@a?how={way}", plan)
    assert stage.outcome.state == "witnessed"
    if way == "unknown":
        assert "_" in got["content"].replace("depends_on", "")
    assert len(got["content"]) > len(plan)
    if plan == PLAN and way == "unknown":
        assert [line[:2] for line in got["content"].splitlines()[1:]] == ["1.", "2.", "3.", "4."]


def test_a_plan_that_is_circular_already_gets_another_defect_or_none():
    circular = "1. a (after step 2)\n2. b (after step 1)"
    _, stage = struck("inexecutable_plan@a?how=cycle", circular)
    assert stage.end().state == "inapplicable"


def test_a_single_action_is_a_plan_of_one_step():
    got, stage = struck("inexecutable_plan@a", '{"action": "reserve", "pieces": 3}')
    assert content(got)["action"] != "reserve"
    assert stage.outcome.state == "witnessed"


@pytest.mark.parametrize(
    "plan", [PLAN, json.dumps(ORDER), json.dumps({"steps": ["check 3 lamps", "ship", "pay"]})]
)
def test_lost_information_is_gone_and_nothing_is_new(plan):
    got, stage = struck("critical_information_loss@a", plan)
    gone, stated = difference(plan, got["content"])
    assert gone
    assert not stated
    assert len(got["content"]) < len(plan)
    assert stage.outcome.state == "witnessed"


def test_the_richest_sentences_go_first_and_k_says_how_many():
    text = "Hello there. It must be exactly 3 lamps by Friday. Thanks a lot. Ship to Anna in Zurich."
    one, _ = struck("critical_information_loss@a?k=1", text)
    two, _ = struck("critical_information_loss@a?k=2", text)
    assert one["content"] == "Hello there. Thanks a lot. Ship to Anna in Zurich."
    assert two["content"] == "Hello there. Thanks a lot."


def test_what_is_lost_in_the_data_is_erased_from_the_prose():
    state = {
        "messages": [{"role": "ai", "content": "I set 3 lamps aside."}],
        "order": {"pieces": 3, "item": "x"},
    }
    stage = Stage("critical_information_loss@a")
    (step,) = stage.message("a", ("b",), state)
    assert "3" not in json.dumps(step.value)
    assert claims_of(step.value)
