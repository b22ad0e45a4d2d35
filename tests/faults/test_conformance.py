"""Every fault, in LangGraph and plain Python, sync and async: judged by what the receivers really got.

The evidence is read from the requests that reached the server and from the objects that the SDK
handed to the agents' own code; the injector's opinion is only compared with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from masfire.faults.base import FAULTS
from masfire.faults.injector import Injector, Knowledge
from masfire.session import Run, run
from tests.support.fake_openai import FakeOpenAI
from tests.support.team import ARGS, DEED, PLAN, ROLES, TASK, TOOLS, WORLDS, Team, script

Evidence = Callable[[Team], bool]
SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}


def said_to(team: Team, name: str, nth: int = 0) -> str:
    return "\n".join(team.requests(name)[nth][1:])


def told(team: Team, name: str, nth: int = 0) -> str:
    return team.requests(name)[nth][0]


def called(team: Team) -> tuple[str, str]:
    """Return the tool and the argument text that the executor's code was handed."""
    message = team.got["executor"][0]
    if message.tool_calls:
        function = message.tool_calls[0].function
        return function.name, function.arguments
    try:
        call = json.loads(message.content)
    except ValueError:
        return "", message.content
    return call.get("tool", ""), json.dumps(call.get("args"))


def is_valid(name: str, text: str) -> bool:
    try:
        args = json.loads(text)
    except ValueError:
        return False
    return name in SCHEMAS and jsonschema.Draft202012Validator(SCHEMAS[name]).is_valid(args)


def has_an_unknown_name_or_a_loop(team: Team) -> bool:
    text = said_to(team, "executor")
    loop = "after step 3" in text and "after step 1" in text
    return loop or bool(re.search(r"\b[a-z]+_[a-z_]+\b", text))


def states_something_else(team: Team) -> bool:
    text = said_to(team, "executor").split(TASK)[-1].strip()
    return text != PLAN and text.count("\n") == PLAN.count("\n") and 0.7 < len(text) / len(PLAN) < 1.4


def lost_something(team: Team) -> bool:
    text = said_to(team, "executor").split(TASK)[-1].strip()
    return 0 < len(text) < len(PLAN) and set(text.split()) <= set(PLAN.replace("\n", " ").split())


def forgot(team: Team) -> bool:
    return PLAN not in said_to(team, "reviewer") or TASK not in said_to(team, "reviewer")


def is_drowned(team: Team) -> bool:
    text, start = said_to(team, "executor"), 0
    for word in PLAN.split():
        start = text.find(word, start)
        if start < 0:
            return False
    return len(text) >= 4000


def has_wrong_values(team: Team) -> bool:
    name, text = called(team)
    args = json.loads(text)
    return name == "reserve" and is_valid(name, text) and args.keys() == ARGS.keys() and args != ARGS


def contradicts_itself(team: Team) -> bool:
    text = said_to(team, "planner")
    added = text.split(TASK)[-1].casefold() if TASK in text else ""
    return ("must" in added and "must not" in added) or added.count("before") == 2


def blindly_trusts(team: Team) -> bool:
    return "Accept everything that planner says" in told(team, "reviewer") and PLAN not in said_to(
        team, "reviewer"
    )


def is_vague(team: Team) -> bool:
    text = said_to(team, "planner")
    specific = ("3", "Anna", "Zurich", "Friday", "Reserve", "lamps")
    return "brass" in text and not any(word in text for word in specific)


def came_back(team: Team) -> bool:
    return len(team.requests("planner")) > 1 and PLAN in said_to(team, "planner", 1)


ROWS: list[tuple[str, str, Evidence]] = [
    ("inexecutable_plan@planner?how=unknown", "", has_an_unknown_name_or_a_loop),
    ("inexecutable_plan@planner?how=cycle", "", has_an_unknown_name_or_a_loop),
    ("critical_information_loss@planner", "", lost_something),
    ("memory_loss@reviewer", "", forgot),
    ("memory_loss@reviewer?drop=planner", "", lambda team: PLAN not in said_to(team, "reviewer")),
    ("context_length_violation@executor?size=4000", "", is_drowned),
    ("hallucination@planner", "", states_something_else),
    ("parameter_filling_error@executor", "native", has_wrong_values),
    ("parameter_filling_error@executor", "json", has_wrong_values),
    ("tool_format_error@executor", "native", lambda team: not is_valid(*called(team))),
    ("tool_format_error@executor", "json", lambda team: not is_valid(*called(team))),
    ("tool_selection_error@executor", "native", lambda t: called(t)[0] == "release" and is_valid(*called(t))),
    ("tool_selection_error@executor", "json", lambda t: called(t)[0] == "release" and is_valid(*called(t))),
    ("role_ambiguity@executor?other=planner", "", lambda team: ROLES["planner"] in told(team, "executor")),
    ("blind_trust@reviewer?trusts=planner", "", blindly_trusts),
    ("instruction_logic_conflict", "", contradicts_itself),
    ("instruction_logic_conflict@planner", "", contradicts_itself),
    ("instruction_ambiguity", "", is_vague),
    ("message_cycle@planner", "", came_back),
    ("message_storm@planner?copies=5", "", lambda team: said_to(team, "executor").count(PLAN) == 5),
    ("message_broadcast_amplification@executor", "",
     lambda team: any(DEED in text for texts in team.requests("planner") for text in texts)),
]  # fmt: skip
CELLS = [pytest.param(*row, id=f"{row[0]}{'-' + row[1] if row[1] else ''}") for row in ROWS]


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, str], Knowledge]:
    """Return what a fault-free control of each world shows, by world and kind of tool call."""
    found = {}
    for world in WORLDS:
        for tools in ("", "native", "json"):
            with FakeOpenAI(script) as server, run(task=TASK) as control:
                WORLDS[world](Team(server, tools))
            found[world, tools] = Knowledge.from_trace(control.trace)
            if tools == "json":
                found[world, tools].tools = dict(found[world, "native"].tools)
    return found


def played(world: str, address: str, tools: str, known: Knowledge | None) -> tuple[Team, Run]:
    with FakeOpenAI(script) as server:
        team = Team(server, tools)
        with run([address] if address else [], task=TASK, knowledge=known) as active:
            WORLDS[world](team)
        return team, active


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("address", "tools", "evidence"), CELLS)
def test_the_receiver_got_the_fault(world: str, address: str, tools: str, evidence: Evidence, known: Any):
    team, active = played(world, address, tools, known[world, tools])
    (outcome,) = active.injections
    assert outcome.state == "witnessed", outcome
    assert evidence(team), {name: team.requests(name) for name in ROLES}
    states = [mark.body.state for mark in active.trace.injections]
    assert "injected" in states
    assert "witnessed" in states


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("address", "tools", "evidence"), CELLS)
def test_without_the_fault_there_is_no_such_evidence(
    world: str, address: str, tools: str, evidence: Evidence
):
    team, _ = played(world, "", tools, None)
    assert not evidence(team)


@pytest.mark.parametrize("world", ["graph", "plain"])
@pytest.mark.parametrize(("address", "tools", "evidence"), CELLS)
def test_an_injector_that_does_nothing_is_found_out(
    world: str, address: str, tools: str, evidence: Evidence, known: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Injector, "__call__", lambda self, step, history: (step,))
    with pytest.raises(AssertionError):
        test_the_receiver_got_the_fault(world, address, tools, evidence, known)


def test_every_fault_has_a_row():
    assert {row[0].partition("@")[0] for row in ROWS} == set(FAULTS.names())
