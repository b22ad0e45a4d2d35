"""Points are found where a fault would really change something."""

from __future__ import annotations

import msgspec

from masfire.campaign.cells import asked, rotated, run_id, variants
from masfire.campaign.planfile import parse_plan
from masfire.campaign.points import points
from masfire.faults.base import FaultSpec
from masfire.faults.injector import Injector, Knowledge
from masfire.recorder import Recorder
from masfire.trace.model import Action, Header, Message, Observation, Trace
from masfire.trace.payload import pack
from tests.support.plans import GOOD


def control(*agents: str) -> Trace:
    """Return a run in which each agent passes on an order that it read."""
    recorder = Recorder(Header("control", task=pack("Send 12 red chairs to Bern by Friday.")))
    text = "Send 12 red chairs to Bern by Friday. Call the stock desk first."
    recorder.submit("user", Message(to=(agents[0],), content=pack(text), via="graph"))
    for agent, following in zip(agents, (*agents[1:], "user"), strict=True):
        messages = [{"role": "system", "content": f"You are the {agent}."}, {"role": "user", "content": text}]
        body = {"model": "m", "messages": messages}
        (call,) = recorder.submit(agent, Action("model_call", "m", pack(body)))
        outcome = {"content": text, "tool_calls": [], "finish_reason": "stop"}
        (reply,) = recorder.submit(
            agent, Observation("model_reply", "m", call.step, pack(outcome)), parents=(call.step,)
        )
        recorder.submit(agent, Message((following,), pack(text), via="graph"), parents=(reply.step,))
    return recorder.finish("completed", success=True)


def aims(fault: str, trace: Trace) -> list[str]:
    return [spec.agent for spec in points(FaultSpec.parse(fault), trace, Knowledge.from_trace(trace))]


def test_a_content_fault_applies_to_every_agent_that_writes() -> None:
    assert aims("hallucination", control("reader", "writer")) == ["reader", "writer"]


def test_planning_faults_prefer_planners() -> None:
    assert aims("critical_information_loss", control("reader", "planner")) == ["planner"]
    assert aims("critical_information_loss", control("reader", "writer")) == ["reader", "writer"]


def test_instruction_faults_are_about_the_user() -> None:
    assert aims("instruction_ambiguity", control("reader", "planner")) == ["user"]


def test_the_last_agent_has_nobody_to_send_to() -> None:
    assert aims("message_storm", control("reader", "writer")) == ["reader"]


def test_a_fault_without_a_place_and_a_named_place_stay_as_they_are() -> None:
    assert aims("tool_selection_error", control("reader")) == ["*"]
    assert aims("hallucination@writer", control("reader")) == ["writer"]


def test_names_with_wildcards_mean_themselves() -> None:
    trace = control("team[1]", "team1")
    (first, second) = points(FaultSpec.parse("hallucination"), trace, Knowledge.from_trace(trace))
    assert first.aims_at("team[1]")
    assert not first.aims_at("team1")
    assert FaultSpec.parse(first.address) == first
    assert second.agent == "team1"


def test_a_dry_run_changes_nothing() -> None:
    trace = control("reader", "writer")
    before = msgspec.json.encode(trace.steps)
    points(FaultSpec.parse("hallucination"), trace, Knowledge.from_trace(trace))
    assert msgspec.json.encode(trace.steps) == before


def test_what_points_promise_the_injector_keeps() -> None:
    trace = control("reader", "writer")
    for spec in points(FaultSpec.parse("role_ambiguity"), trace, Knowledge.from_trace(trace)):
        injector = Injector([spec], knowledge=Knowledge.from_trace(trace))
        for step in trace:
            full = step.with_payload(pack(trace.request(step.step))) if step.kind == "model_call" else step
            injector(full, trace.steps[: step.step])
        assert injector.outcomes()[0].state == "injected"


def test_rotation_takes_turns() -> None:
    specs = [FaultSpec("hallucination", agent) for agent in "abc"]
    assert [rotated(specs, turn, each=False)[0].agent for turn in range(4)] == ["a", "b", "c", "a"]
    assert rotated(specs, 2, each=True) == specs


def test_all_faults_at_all_counts_without_doubles() -> None:
    plan = parse_plan(GOOD + "faults: [all, hallucination, 'hallucination?times=2']\ntimes: [once, every]\n")
    found = [(item.fault, item.times) for item in asked(plan)]
    assert len(found) == len(set(found)) == 15 * 2 + 1
    assert ("hallucination", "2") in found
    assert not next(item for item in asked(plan) if item.fault == "hallucination").named


def test_a_run_id_is_the_same_for_ever() -> None:
    assert run_id("linear", "hallucination@planner", "task-1", 7) == run_id(
        "linear", "hallucination@planner", "task-1", 7
    )
    assert run_id("linear", "hallucination@planner", "task-1", 7) == "cfa7c1dc2912f228"
    assert (
        len({run_id("linear", "", "1", 11), run_id("linear", "", "11", 1), run_id("linear1", "", "1", 1)})
        == 3
    )


def test_a_stub_beside_the_model_is_another_system() -> None:
    plan = parse_plan(GOOD + "model: {stub: beside}\n")
    assert [variant.label for variant in variants(plan)] == ["one", "one~stub"]
