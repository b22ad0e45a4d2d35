"""The order desk: what counts as right, what the architectures do, and that every fault finds work."""

import contextlib
import importlib
import json

import openai
import pytest

import masfire
from examples.order_desk import agents, desk, prompts
from masfire.faults.base import FAULTS
from masfire.faults.injector import Knowledge
from masfire.models.door import Door
from masfire.models.endpoint import Endpoint
from masfire.models.stub import Copier

SYSTEMS = ("linear", "loop", "dialogue", "star", "mesh")
TASK = desk.load("dev")[0]


@pytest.fixture(autouse=True)
def nobody():
    """No request may leave: the copier answers all of them."""
    with Endpoint("http://127.0.0.1:9/v1", "none", "none").exported():
        yield


def solve(system, task, *, faults=(), knowledge=None):
    module = importlib.import_module(f"examples.order_desk.{system}")
    with masfire.run(
        faults, task=task["email"], door=Door(stub=Copier(slot=2048)), knowledge=knowledge
    ) as run:
        answer = module.run(module.build(), task)
    return answer, run


def state_under(fault, knowledge):
    """Return what became of a fault in the pipeline; the run itself may end in an overflow."""
    module = importlib.import_module("examples.order_desk.linear")
    door = Door(stub=Copier(slot=2048))
    with (
        masfire.run([fault], task=TASK["email"], door=door, knowledge=knowledge) as run,
        contextlib.suppress(openai.BadRequestError),
    ):
        module.run(module.build(), TASK)
    return run.injections[0].state


def right_answer(task):
    wanted = task["expected"]
    parts = (wanted["kind"], wanted["quantity"], wanted["item"], wanted["city"])
    booked = [[wanted["item"], wanted["quantity"], wanted["city"]]] if wanted["kind"] == "order" else []
    return {"confirmation": prompts.letter(*parts), "booked": booked}


def test_there_are_enough_tasks_and_enough_are_held_back():
    tasks, held = desk.load(), desk.load("held")
    assert len(tasks) >= 48
    assert len(held) >= 16
    assert len({task["id"] for task in tasks}) == len(tasks)
    shown = {text for role in vars(prompts).values() if isinstance(role, prompts.Role)
             for turns, _ in role.examples for _, text in turns}  # fmt: skip
    assert not shown & {task["email"] for task in tasks}
    for task in tasks:
        wanted = task["expected"]
        assert wanted["item"] in desk.ITEMS
        assert wanted["city"] in desk.CITIES
        assert 0 < wanted["quantity"] <= desk.STOCK


@pytest.mark.parametrize("task", desk.load(), ids=lambda task: task["id"])
def test_the_check_knows_right_from_wrong(task):
    right = right_answer(task)
    wanted = task["expected"]
    assert desk.check(task, right)
    assert not desk.check(
        task, {**right, "booked": [[wanted["item"], wanted["quantity"] + 1, wanted["city"]]]}
    )
    assert not desk.check(
        task, {**right, "confirmation": right["confirmation"].replace(wanted["city"], "Bath")}
    )
    assert not desk.check(task, {**right, "confirmation": ""})
    other = {"order": "quote", "quote": "order"}[wanted["kind"]]
    assert not desk.check(task, right_answer({**task, "expected": {**wanted, "kind": other}}))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_architecture_carries_the_tasks_when_nothing_is_broken(system):
    tasks = [task for task in desk.load() if task["tag"] == "plain"][::7]
    assert len(tasks) >= 5
    for task in tasks:
        answer, run = solve(system, task)
        assert desk.check(task, answer), answer
        calls = [step for step in run.trace.steps if step.kind == "model_call"]
        assert len(calls) >= 5


def test_a_system_is_new_with_every_build():
    for _ in range(2):
        answer, _ = solve("linear", TASK)
        assert len(answer["booked"]) == 1


@pytest.mark.parametrize("fault", sorted(FAULTS.names()))
def test_every_fault_finds_work_in_the_pipeline(fault):
    _, control = solve("linear", TASK)
    knowledge = Knowledge.from_trace(control.trace)
    states = []
    for agent in ("*", "reader", "planner", "clerk", "writer"):
        address = fault if agent == "*" else f"{fault}@{agent}"
        states.append(state_under(address, knowledge))
        if states[-1] == "witnessed":
            return
    pytest.fail(f"{fault} ended as {states}")


def test_the_loop_repairs_what_the_pipeline_does_not_notice():
    _, control = solve("loop", TASK)
    knowledge = Knowledge.from_trace(control.trace)
    for fault in ("parameter_filling_error@clerk", "tool_format_error@clerk", "inexecutable_plan@planner"):
        mended, run = solve("loop", TASK, faults=[fault], knowledge=knowledge)
        assert run.injections[0].state == "witnessed"
        assert desk.check(TASK, mended), fault
        missed, run = solve("linear", TASK, faults=[fault], knowledge=knowledge)
        assert run.injections[0].state == "witnessed"
        assert not desk.check(TASK, missed), fault


@pytest.mark.parametrize(
    ("plan", "wanted"),
    [
        (prompts.plan("order"), ["check_stock", "place_order"]),
        (prompts.plan("quote"), ["check_stock", "quote_price"]),
    ],
)
def test_a_plan_is_carried_out_in_the_order_of_its_needs(plan, wanted):
    assert agents.ordered(plan) == wanted


@pytest.mark.parametrize(
    "steps",
    [
        [{"step": "a", "needs": ["b"]}, {"step": "b", "needs": ["a"]}],
        [{"step": "a", "needs": ["nobody"]}],
        ["a"],
        None,
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_said_to_be_so(steps):
    with pytest.raises(agents.DeskError):
        agents.ordered(json.dumps({"steps": steps}))


def test_booking_twice_is_harmless_and_needs_a_check():
    ledger = desk.Ledger()
    catalogue = desk.tools(ledger)
    call = prompts.call("place_order", 3, "blue mugs", "Rome")
    assert agents.use(catalogue, call).startswith("error")
    agents.use(catalogue, prompts.call("check_stock", 3, "blue mugs", "Rome"))
    assert agents.use(catalogue, call) == agents.use(catalogue, call)
    assert ledger.rows() == [["blue mugs", 3, "Rome"]]


@pytest.mark.parametrize(
    "call", ["{", "[]", '{"tool":"sing","args":{}}', '{"tool":"check_stock","args":{"item":1}}']
)
def test_a_bad_call_is_answered_with_an_error(call):
    assert agents.use(desk.tools(desk.Ledger()), call).startswith("error")
