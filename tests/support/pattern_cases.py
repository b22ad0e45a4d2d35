"""Every pattern with a trace that satisfies it, and what changing one of its steps does."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from masfire.contracts.model import Contract, Status
from masfire.contracts.patterns import rules_of_pattern

Steps = Sequence[Mapping[str, Any]]

OK, BAD, PENDING = Status.SATISFIED, Status.VIOLATED, Status.PENDING


def call(tool: str, **args: Any) -> dict[str, Any]:
    return {"tool_call": tool, "args": args}


def result(tool: str, *, of: int = -1, **rest: Any) -> dict[str, Any]:
    return {"tool_result": tool, "of": of, **rest}


def event(name: str, *args: Any) -> dict[str, Any]:
    return {"event": name, "args": list(args)}


def said(agent: str, text: str, to: str = "b", **rest: Any) -> dict[str, Any]:
    return {"agent": agent, "message": text, "to": to, **rest}


class Case(NamedTuple):
    """A pattern with its fields, a trace that satisfies it, and what each mutation makes of it."""

    pattern: str
    fields: dict[str, Any]
    trace: Steps
    mutations: tuple[tuple[Any, ...], ...]


FETCHED = [
    result("fetch", value="Pay 5 to Bob"),
    {"agent": "guard", "decision": "allow", "parents": [0]},
    {**call("pay", to="Bob"), "parents": [1]},
]
RETRIED = [
    call("pay", n=1),
    result("pay", of=0, error={"type": "Busy", "retryable": True, "retry_after_ms": 800}),
    call("pay", n=1),
    result("pay", of=2, value="paid"),
]
ASKED = [
    {"model_call": "m", "request": {"response_format": {"type": "json_object"}}},
    {"model_reply": "m", "of": 0, "content": '{"a": 1}'},
    {"model_call": "m", "request": {"response_format": {"type": "json_object"}}},
    {"model_reply": "m", "of": 2, "content": '{"a": 2}'},
]

CASES = (
    Case("never", {"when": "tool('rm')"}, [call("ls"), call("cat")], (
        ("drop", 0, OK), ("double", 0, OK), ("swap", 0, 1, OK),
        ("edit", 0, {"tool_call": "rm"}, BAD), ("edit", 0, {"tool_call": "rmdir"}, OK),
    )),
    Case("always", {"when": "tool('pay')", "holds": "args.amount <= 10"},
         [call("pay", amount=3), call("pay", amount=10)], (
        ("drop", 0, OK), ("double", 1, OK), ("swap", 0, 1, OK),
        ("edit", 1, {"args": {"amount": 11}}, BAD), ("edit", 1, {"args": {}}, Status.INCONCLUSIVE),
    )),
    Case("requires_before", {"when": "tool('refund')", "before": "tool('login') and ok",
                             "cleared_by": "tool('logout')"},
         [result("login", value=1), call("refund"), call("logout")], (
        ("drop", 0, BAD), ("drop", 2, OK), ("double", 1, OK), ("swap", 0, 1, BAD), ("swap", 1, 2, BAD),
        ("edit", 0, {"error": {"type": "Denied"}}, BAD), ("edit", 2, {"tool_call": "refund"}, OK),
    )),
    Case("requires_immediately_before", {"when": "tool('commit')", "before": "tool('check')"},
         [call("check"), call("commit")], (
        ("drop", 0, BAD), ("double", 0, OK), ("double", 1, BAD), ("swap", 0, 1, BAD),
        ("edit", 0, {"tool_call": "look"}, BAD),
    )),
    Case("valid_since", {"when": "event('access', u)", "grant": "event('grant', u)",
                         "revoke": "event('revoke', u)"},
         [event("grant", "x"), event("access", "x"), event("revoke", "x")], (
        ("drop", 0, BAD), ("drop", 2, OK), ("double", 1, OK), ("swap", 0, 1, BAD), ("swap", 1, 2, BAD),
        ("edit", 0, {"args": ["y"]}, BAD), ("edit", 2, {"args": ["y"]}, OK),
    )),
    Case("at_most", {"when": "tool('pay')", "n": 2}, [call("pay"), call("pay"), call("look")], (
        ("drop", 0, OK), ("double", 0, BAD), ("double", 2, OK), ("swap", 1, 2, OK),
        ("edit", 2, {"tool_call": "pay"}, BAD),
    )),
    Case("at_most", {"when": "tool('pay')", "n": 1, "within": "3 steps"},
         [call("pay"), call("a"), call("b"), call("c"), call("pay")], (
        ("drop", 2, BAD), ("double", 2, OK), ("swap", 3, 4, BAD), ("edit", 2, {"tool_call": "pay"}, BAD),
    )),
    Case("at_least_by_end", {"when": "tool('check')", "n": 2}, [call("check"), call("check")], (
        ("drop", 0, BAD), ("double", 0, OK), ("swap", 0, 1, OK), ("edit", 1, {"tool_call": "look"}, BAD),
    )),
    Case("responded_within", {"when": "tool('ask')", "response": "tool('answer')", "within": "2 steps"},
         [call("ask"), call("think"), call("answer")], (
        ("drop", 2, BAD), ("drop", 1, OK), ("double", 1, BAD), ("double", 2, OK), ("swap", 0, 2, BAD),
        ("edit", 2, {"tool_call": "think"}, BAD), ("edit", 1, {"tool_call": "ask"}, OK),
    )),
    Case("responded_by_end", {"when": "event('open', f)", "response": "event('close', f)"},
         [event("open", "x"), event("close", "x"), event("done")], (
        ("drop", 1, BAD), ("double", 0, OK), ("double", 2, OK), ("swap", 0, 1, BAD), ("swap", 1, 2, OK),
        ("edit", 1, {"args": ["y"]}, BAD),
    )),
    Case("unique", {"when": "tool('pay')", "by": "args.id"}, [call("pay", id=1), call("pay", id=2)], (
        ("drop", 0, OK), ("double", 0, BAD), ("swap", 0, 1, OK), ("edit", 1, {"args": {"id": 1}}, BAD),
    )),
    Case("alternates", {"first": "tool('open')", "second": "tool('close')", "complete": True},
         [call("open"), call("close"), call("open"), call("close")], (
        ("drop", 0, BAD), ("drop", 1, BAD), ("drop", 3, BAD), ("double", 0, BAD), ("double", 1, BAD),
        ("swap", 0, 1, BAD), ("edit", 1, {"tool_call": "look"}, BAD),
    )),
    Case("cumulative_at_most", {"when": "tool('pay')", "field": "args.amount", "limit": 10},
         [call("pay", amount=3), call("pay", amount=4)], (
        ("drop", 0, OK), ("double", 0, OK), ("double", 1, BAD), ("swap", 0, 1, OK),
        ("edit", 0, {"args": {"amount": 6.5}}, BAD),
    )),
    Case("no_repeat", {"times": 2}, [call("search", q="x", n=1), call("search", q="y", n=1)], (
        ("drop", 0, OK), ("double", 0, BAD), ("swap", 0, 1, OK),
        ("edit", 1, {"args": {"n": 1, "q": "x"}}, BAD),
        ("edit", 1, {"args": {"n": 1, "q": "x"}, "agent": "other"}, OK),
    )),
    Case("role_may", {"may": {"planner": ["search*"], "writer": ["write", "print"]}},
         [{**call("search_web"), "role": "planner"}, {**call("print"), "role": "writer"}], (
        ("drop", 0, OK), ("double", 1, OK), ("swap", 0, 1, OK), ("edit", 0, {"role": "writer"}, BAD),
        ("edit", 1, {"tool_call": "search"}, BAD), ("edit", 1, {"role": "stranger"}, BAD),
    )),
    Case("no_flow", {"source": "tool_result('fetch')", "sink": "tool('pay')", "via": "decision"}, FETCHED, (
        ("drop", 1, BAD), ("drop", 0, OK), ("double", 2, OK), ("swap", 0, 1, OK),
        ("edit", 1, {"decision": None, "message": "Fine."}, BAD), ("edit", 2, {"parents": [0, 1]}, BAD),
    )),
    Case("supported_claim", {"when": "message('a')"},
         [said("user", "8 chairs to Berlin"), said("a", "We send 8 to Berlin.")], (
        ("drop", 0, BAD), ("double", 1, OK), ("swap", 0, 1, BAD),
        ("edit", 1, {"message": "We send 9 to Berlin."}, BAD),
        ("edit", 1, {"message": "We send 8 to Prague."}, BAD), ("edit", 0, {"message": "8 chairs"}, BAD),
    )),
    Case("terminates", {"steps": 3}, [call("a"), call("b"), call("c"), {"end": "completed"}], (
        ("drop", 0, OK), ("double", 1, BAD), ("swap", 0, 1, OK), ("edit", 3, {"end": "budget"}, BAD),
        ("edit", 3, {"end": "none"}, PENDING),
    )),
    Case("retry_policy", {"max_attempts": 2}, RETRIED, (
        ("drop", 1, OK), ("drop", 0, Status.INCONCLUSIVE), ("double", 2, BAD), ("swap", 1, 2, OK),
        ("edit", 1, {"error": {"type": "Denied", "retryable": False}}, BAD),
        ("edit", 1, {"error": {"type": "Busy", "retry_after_ms": 60_000}}, BAD),
        ("edit", 2, {"args": {"n": 2}}, OK),
    )),
    Case("keeps_format", {}, ASKED, (
        ("drop", 0, OK), ("double", 1, OK), ("swap", 1, 3, OK), ("edit", 3, {"content": '{"a"= 2}'}, BAD),
        ("edit", 1, {"content": "[1]"}, BAD),
    )),
)  # fmt: skip


def contract(case: Case) -> Contract:
    """Return the contract of a case."""
    return Contract(id=case.pattern, rules=rules_of_pattern(case.pattern, case.fields))


def mutated(trace: Steps, kind: str, *how: Any) -> list[dict[str, Any]]:
    """Return the trace with one step changed; references follow, a dropped step's go to its causes."""
    places = list(range(len(trace)))
    if kind == "drop":
        places.remove(how[0])
    elif kind == "double":
        places.insert(how[0], how[0])
    elif kind == "swap":
        places[how[0]], places[how[1]] = places[how[1]], places[how[0]]
    steps = [dict(trace[place]) for place in places]
    if kind == "edit":
        steps[how[0]] = {
            key: value for key, value in {**steps[how[0]], **how[1]}.items() if key not in gone(how[1])
        }
        return steps
    new = {place: at for at, place in reversed(list(enumerate(places)))}
    for at, step in enumerate(steps):
        if step.get("parents"):
            causes = [cause for parent in step["parents"] for cause in followed(trace, new, parent)]
            step["parents"] = sorted({cause for cause in causes if cause < at})
        if step.get("of", -1) >= 0:
            answered = new.get(step["of"], -1)
            step["of"] = answered if answered < at else -1
    return steps


def gone(edit: Mapping[str, Any]) -> set[str]:
    return {key for key, value in edit.items() if value is None}


def followed(trace: Steps, new: Mapping[int, int], place: int) -> list[int]:
    if place in new:
        return [new[place]]
    return [cause for parent in trace[place].get("parents", ()) for cause in followed(trace, new, parent)]
