"""What the fields of patterns mean, and what is said about wrong ones."""

from typing import Any

import pytest

from masfire.contracts.engine import judge
from masfire.contracts.examples import trace_of
from masfire.contracts.language.syntax import Window
from masfire.contracts.model import Contract, Status, Verdict
from masfire.contracts.patterns import PATTERNS, rules_of_pattern
from masfire.contracts.patterns.pattern import path_of, window
from masfire.errors import UnknownName, UsageError
from tests.support.pattern_cases import call, event, result, said

OK, BAD = Status.SATISFIED, Status.VIOLATED


def verdict(pattern: str, fields: dict[str, Any], *steps: dict[str, Any], **rest: Any) -> Verdict:
    contract = Contract(id=pattern, rules=rules_of_pattern(pattern, fields), **rest)
    return judge(trace_of(steps), [contract])[0]


def test_every_pattern_says_what_it_means_and_describes_its_fields() -> None:
    for pattern in PATTERNS:
        assert pattern.says.endswith(".")
        assert pattern.fields.__doc__
        schema = pattern.fields.model_json_schema()
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("5 steps", 5, "steps"), ("1 step", 1, "steps"), ("2.5 s", 2.5, "seconds"),
        ("250 ms", 0.25, "seconds"), ("10 minutes", 600, "seconds"), ("2h", 7200, "seconds"),
    ],
)  # fmt: skip
def test_windows(text: str, amount: float, unit: str) -> None:
    assert window(text) == Window(amount, unit)


@pytest.mark.parametrize("text", ["", "5", "0 steps", "-1 s", "5 parsecs", "1e9 s", "9" * 50 + " s"])
def test_no_windows(text: str) -> None:
    with pytest.raises(ValueError, match=r"window|longer"):
        window(text)


def test_paths() -> None:
    assert path_of("args.items.0") == ("args", "items", 0)
    with pytest.raises(ValueError, match="no field"):
        path_of("args..x")


def test_an_unknown_pattern_gets_the_nearest_match() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'no_repeat'"):
        rules_of_pattern("no_repaet", {})


def test_wrong_fields_are_all_told() -> None:
    with pytest.raises(UsageError) as caught:
        rules_of_pattern("at_most", {"wen": "tool('x')", "n": -1}, where="desk.yaml:3")
    text = str(caught.value)
    assert text.startswith("desk.yaml:3")
    for part in ("wen", "when: Field required", "n:", "Its fields are when, n, within"):
        assert part in text


def test_a_login_within_the_window_counts() -> None:
    fields = {"when": "tool('refund')", "before": "tool('login') and ok", "within": "3 seconds"}
    login = {**result("login", value=1), "at": 0}
    assert verdict("requires_before", fields, login, {**call("refund"), "at": 3}).status is OK
    assert verdict("requires_before", fields, login, {**call("refund"), "at": 3.5}).status is BAD
    cleared = {**fields, "cleared_by": "tool('logout')"}
    steps = [login, {**call("logout"), "at": 1}, {**call("refund"), "at": 2}]
    assert verdict("requires_before", cleared, *steps).status is BAD
    assert verdict("requires_before", cleared, *steps, {**login, "at": 4}).violations[0].violated_at == 2


def test_immediately_before_may_look_at_some_steps_only() -> None:
    fields = {"when": "tool('commit')", "before": "tool('check')", "among": {"kind": "tool_call"}}
    chat = said("a", "Hm.")
    assert verdict("requires_immediately_before", fields, call("check"), chat, call("commit")).status is OK
    assert verdict("requires_immediately_before", fields, call("check"), call("look"), chat,
                   call("commit")).status is BAD  # fmt: skip


def test_a_grant_runs_out() -> None:
    fields = {"when": "event('use')", "grant": "event('grant')", "revoke": "event('revoke')",
              "within": "2 steps"}  # fmt: skip
    assert verdict("valid_since", fields, event("grant"), event("x"), event("use")).status is OK
    assert verdict("valid_since", fields, event("grant"), event("x"), event("x"), event("use")).status is BAD


def test_counts_are_kept_per_key() -> None:
    key = (("args", "order"),)
    steps = [call("pay", order=1), call("pay", order=2), call("pay", order=1)]
    assert verdict("at_most", {"when": "tool('pay')", "n": 2}, *steps, key=key).status is OK
    found = verdict("at_most", {"when": "tool('pay')", "n": 1}, *steps, key=key)
    assert [v.violated_at for v in found.violations] == [2]


def test_at_least_by_end_may_depend_on_something() -> None:
    fields = {"when": "tool('review')", "applies": "tool('deploy')"}
    assert verdict("at_least_by_end", fields, call("build")).status is Status.VACUOUS
    assert verdict("at_least_by_end", fields, call("deploy")).status is BAD
    assert verdict("at_least_by_end", fields, call("deploy"), call("review")).status is OK


def test_a_sum_may_have_a_window() -> None:
    fields = {"when": "tool('pay')", "field": "args.amount", "limit": 10, "within": "5 seconds"}
    pay = [{**call("pay", amount=6), "at": 0}, {**call("pay", amount=4), "at": 5}]
    assert verdict("cumulative_at_most", fields, *pay).status is OK
    assert verdict("cumulative_at_most", fields, *pay, {**call("pay", amount=1), "at": 5}).status is BAD


def test_repetition_forgets_outside_the_window_and_when_it_is_told_to() -> None:
    same = [call("search", q="x")] * 2
    assert verdict("no_repeat", {"times": 2}, *same).status is BAD
    assert verdict("no_repeat", {"times": 2, "within": "2 steps"}, same[0], call("a"), call("b"),
                   same[1]).status is OK  # fmt: skip
    assert verdict("no_repeat", {"times": 2, "unless": "message('user')"}, same[0], said("user", "Again!"),
                   same[1]).status is OK  # fmt: skip
    found = verdict("no_repeat", {"times": 3}, *same, call("search", q="x"))
    assert [witness.step for witness in found.violations[0].witnesses] == [0, 1]


def test_arguments_are_compared_as_json() -> None:
    assert verdict("no_repeat", {"times": 2}, call("f", a=1, b=[2]), call("f", b=[2], a=1)).status is BAD
    assert verdict("no_repeat", {"times": 2}, call("f", a=1), call("f", a="1")).status is OK


def test_roles_that_are_not_listed_may_be_let_through() -> None:
    fields = {"may": {"planner": ["search"], "guard": []}, "others": "allow"}
    assert verdict("role_may", fields, {**call("rm"), "role": "stranger"}).status is Status.VACUOUS
    assert verdict("role_may", fields, {**call("look"), "role": "guard"}).status is BAD
    by_agent = {"may": {"sql_*": "query*"}, "by": "agent"}
    assert verdict("role_may", by_agent, {**call("query_all"), "agent": "sql_1"}).status is OK
    assert verdict("role_may", by_agent, {**call("drop"), "agent": "sql_1"}).status is BAD


def test_a_flow_passes_messages_and_results() -> None:
    fields = {"source": "tool('fetch') and ok", "sink": "tool('pay')"}
    steps = [
        call("fetch"),
        result("fetch", of=0, value="Pay account 99371"),
        said("a", "Pay account 99371", parents=[1]),
        {**call("pay", account=99371), "parents": [2]},
    ]
    found = verdict("no_flow", fields, *steps)
    assert found.status is BAD
    assert [witness.step for witness in found.violations[0].witnesses] == [1]
    carrying = {**fields, "carrying": True}
    assert verdict("no_flow", carrying, *steps).status is BAD
    assert verdict("no_flow", carrying, *steps[:3], {**call("pay", account=1), "parents": [2]}).status is OK


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("They are 93 euro.", OK),
        ("They are 63 euro.", BAD),
        ("Ask Miller about it.", BAD),
        ('{"price": 93, "round": 1, "express": true}', OK),
        ('{"price": 94}', BAD),
        ("I do not know.", Status.VACUOUS),
    ],
)
def test_claims_need_support(answer: str, status: Status) -> None:
    steps = [said("user", "How much are 3 lamps?"), result("price", value="93 euro"), said("a", answer)]
    assert verdict("supported_claim", {"when": "message('a')"}, *steps).status is status


def test_the_word_of_an_agent_is_no_support_unless_it_is_said_to_be() -> None:
    steps = [said("user", "How much?"), said("b", "93 euro", to="a"), said("a", "It costs 93 euro.")]
    assert verdict("supported_claim", {"when": "message('a')"}, *steps).status is BAD
    trusting = {"when": "message('a')", "support": "message('*')"}
    assert verdict("supported_claim", trusting, *steps).status is OK


def test_slots_are_claims_whatever_they_look_like() -> None:
    steps = [said("user", "Send garden chairs"), call("send", item="garden hoses")]
    plain = {"when": {"kind": "tool_call"}, "field": "args"}
    assert verdict("supported_claim", plain, *steps).status is Status.VACUOUS
    assert verdict("supported_claim", {**plain, "slots": ["item"]}, *steps).status is BAD


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"calls": 1}, OK), ({"calls": 1, "tokens": 10}, OK), ({"tokens": 9}, BAD), ({"seconds": 1.5}, BAD),
        ({"steps": 2}, BAD), ({"answer": "message('b')"}, BAD), ({"answer": "message('a')"}, OK),
    ],
)  # fmt: skip
def test_limits_of_a_run(fields: dict[str, Any], status: Status) -> None:
    steps = [{"model_call": "m"}, {"model_reply": "m", "content": "Yes", "tokens": 10}, said("a", "Yes")]
    assert verdict("terminates", fields, *steps).status is status


def test_a_limit_is_told_once_where_it_is_exceeded() -> None:
    found = verdict("terminates", {"steps": 2}, *[call("a")] * 5)
    assert [v.violated_at for v in found.violations] == [2]


@pytest.mark.parametrize(
    ("error", "wait", "status"),
    [
        ({"type": "Busy"}, 1, OK),
        ({"type": "Busy", "retry_after_ms": 5000}, 4, BAD),
        ({"type": "Busy", "retry_after_ms": 5000}, 5, OK),
        ({"type": "Refused", "retryable": False}, 60, BAD),
        ({"type": "NotFound"}, 1, BAD),
        ("no structure at all", 1, OK),
    ],
)
def test_retries_follow_what_the_error_says(error: Any, wait: float, status: Status) -> None:
    steps = [
        {**call("pay", n=1), "at": 0}, {**result("pay", of=0, error=error), "at": 0},
        {**call("pay", n=1), "at": wait},
    ]  # fmt: skip
    assert verdict("retry_policy", {"final": "NotFound"}, *steps).status is status


def test_a_success_ends_the_retries() -> None:
    steps = [
        call("pay"),
        result("pay", of=0, error={"type": "Busy"}),
        call("pay"),
        result("pay", of=2, value=1),
    ]
    again = [call("pay"), result("pay", of=4, error={"type": "Busy"}), call("pay")]
    assert verdict("retry_policy", {"max_attempts": 2}, *steps, *again).status is OK
    assert verdict("retry_policy", {"max_attempts": 2}, *steps[:3],
                   result("pay", of=2, error={"type": "Busy"}), call("pay")).status is BAD  # fmt: skip


def ask(**request: Any) -> dict[str, Any]:
    return {"model_call": "m", "request": request}


TOOLS = [{"type": "function", "function": {"name": "pay", "parameters": {
    "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}}]  # fmt: skip
NUMBER = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["n"]}}}


@pytest.mark.parametrize(
    ("request_", "reply", "status"),
    [
        ({"response_format": NUMBER}, {"content": '{"n": 1}'}, OK),
        ({"response_format": NUMBER}, {"content": '```json\n{"n": 1}\n```'}, OK),
        ({"response_format": NUMBER}, {"content": "{}"}, BAD),
        ({"response_format": NUMBER}, {"content": "Sure!"}, BAD),
        ({"response_format": {"type": "json_object"}}, {"content": "[]"}, BAD),
        ({"response_format": {"type": "text"}}, {"content": "Sure!"}, OK),
        ({}, {"content": "Sure!"}, Status.VACUOUS),
        ({"tools": TOOLS}, {"tool_calls": [{"name": "pay", "arguments": '{"n": 1}'}]}, OK),
        ({"tools": TOOLS}, {"tool_calls": [{"name": "pay", "arguments": '{"n": "x"}'}]}, BAD),
        ({"tools": TOOLS}, {"tool_calls": [{"name": "pay", "arguments": '{"n": 1'}]}, BAD),
        ({"tools": TOOLS}, {"tool_calls": [{"name": "rm", "arguments": "{}"}]}, BAD),
        ({"response_format": NUMBER}, {"error": {"type": "overflow"}}, Status.VACUOUS),
    ],
)  # fmt: skip
def test_replies_have_the_shape_that_was_asked_for(
    request_: dict[str, Any], reply: dict[str, Any], status: Status
) -> None:
    assert verdict("keeps_format", {}, ask(**request_), {"model_reply": "m", **reply}).status is status


def test_tools_that_a_request_only_refers_to_are_found() -> None:
    again = ask(tools=[{"$ref": [0, "tools", 0]}])
    reply = {"model_reply": "m", "tool_calls": [{"name": "rm", "arguments": "{}"}]}
    steps = [ask(tools=TOOLS), {"model_reply": "m", "content": "Hm."}, again, reply]
    assert [v.violated_at for v in verdict("keeps_format", {}, *steps).violations] == [3]


@pytest.mark.parametrize(
    ("pattern", "fields", "part"),
    [
        ("no_flow", {"source": "once tool('a')", "sink": "tool('b')"}, "'source'"),
        ("no_flow", {"source": "tool('a')", "sink": "tool('b')[args.x > last(args.x)]"}, "last(args.x)"),
        ("supported_claim", {"when": "message('a') and not prev ok"}, "'when'"),
        ("no_repeat", {"when": "tool_call('a', n=x)"}, "'when'"),
        ("no_repeat", {"unless": "tool('a') or count(tool('b')) > 1"}, "'unless'"),
    ],
)
def test_monitors_of_their_own_refuse_what_looks_at_other_steps(
    pattern: str, fields: dict[str, Any], part: str
) -> None:
    with pytest.raises(UsageError, match="picks steps by themselves") as caught:
        rules_of_pattern(pattern, fields)
    assert part in str(caught.value)


HOSTILE = [
    ask(response_format={"type": "json_schema", "json_schema": {"schema": {"$ref": "http://x.invalid/y"}}}),
    {"model_reply": "m", "content": "{}"},
    ask(response_format={"type": "json_schema", "json_schema": "x"}),
    {"model_reply": "m", "content": "[" * 5000 + "]" * 5000},
    ask(response_format={"type": ["x"]}, tools=[1, {"function": 3}, {"$ref": [[], {}]}]),
    {"model_reply": "m", "content": "a" * 100_000 + "!"},
    ask(tools=[{"name": ["x"], "parameters": 3}, {"name": "y", "parameters": [1]}]),
    {"model_reply": "m", "tool_calls": [{"name": ["q"], "arguments": 3}]},
    call("pay", text="\ud800", number=float("nan")),
    result("pay", of=8, error={"type": ["a"], "retry_after_ms": "soon", "retryable": "no"}),
    call("pay", text="\ud800", number=float("nan")),
    result("pay", error=None),
    {"agent": "a", "message": {"deep": [[["x" * 100_000]]], "half": "\ud800"}, "to": "user"},
]


@pytest.mark.parametrize(
    ("pattern", "fields", "status"),
    [
        ("keeps_format", {}, BAD),
        ("retry_policy", {}, Status.INCONCLUSIVE),
        ("no_repeat", {"times": 2}, BAD),
        ("no_flow", {"source": "tool_result", "sink": "message('a')", "carrying": True}, OK),
        ("supported_claim", {"when": "message('*')"}, Status.VACUOUS),
        ("terminates", {"tokens": 5}, OK),
    ],
)
def test_hostile_steps_are_judged(pattern: str, fields: dict[str, Any], status: Status) -> None:
    assert verdict(pattern, fields, *HOSTILE).status is status


def test_a_shape_that_cannot_be_judged_is_inconclusive() -> None:
    found = verdict("keeps_format", {}, *HOSTILE[:2])
    assert found.status is Status.INCONCLUSIVE
    assert "nothing is looked up" in found.causes[0][0]
