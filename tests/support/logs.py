"""Small invented logs in the shapes of public data sets, and traces made of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from masfire.trace.model import Action, End, Header, Message, Observation, Step, Trace
from masfire.trace.payload import pack


def whowhen(*, culprit: int = 2, question: str = "q1", turns: int = 6, hand: bool = False) -> dict[str, Any]:
    """Return an invented Who&When log; the culprit's turn guesses a number that the answer repeats."""
    draw = random.Random(f"{question}/{culprit}/{turns}")
    history: list[dict[str, Any]] = []
    for index in range(turns):
        name = ["Planner_Expert", "Data_Expert", "Verification_Expert"][index % 3]
        text = f"Let's look at part {index} of the task and verify it."
        if index == culprit:
            text = f"I assume that the total is probably {draw.randint(1000, 9999)}, as a typical example."
        if index == turns - 1:
            text = "TERMINATE"
        role = "Orchestrator (thought)" if hand and index % 2 else name
        history.append(
            {"content": text, "role": role} if hand else {"content": text, "name": name, "role": "user"}
        )
    who = history[culprit].get("name") or history[culprit]["role"].split(" (")[0]
    return {
        "is_correct": False, "question": f"What is the total of {question}?", "question_ID": question,
        "ground_truth": "42", "history": history, "mistake_agent": who, "mistake_step": str(culprit),
        "mistake_reason": "a guess",
    }  # fmt: skip


def write(folder: Path, name: str, data: Any) -> Path:
    """Write a JSON file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def tau(*, reward: float = 0.0) -> dict[str, Any]:
    """Return an invented run in the shape of a tau-bench result."""

    def call(name: str, arguments: str, identity: str) -> dict[str, Any]:
        function = {"name": name, "arguments": arguments}
        return {"role": "assistant", "content": None, "tool_calls": [{"id": identity, "function": function}]}

    return {
        "task_id": 7, "trial": 0, "reward": reward,
        "info": {"task": {"instruction": "Return the lamp.", "outputs": ["10"], "actions": [
            {"name": "get_order", "kwargs": {"order": "W1"}},
            {"name": "return_items", "kwargs": {"order": "W1", "items": ["a"]}},
        ]}},
        "traj": [
            {"role": "system", "content": "You are a shop."},
            {"role": "user", "content": "Return the lamp of W1. How many lamps are there?"},
            call("get_order", '{"order": "W1"}', "c1"),
            {"role": "tool", "tool_call_id": "c1", "name": "get_order", "content": '{"items": ["a", "b"]}'},
            {"role": "assistant", "content": "There are 11 lamps."},
            {"role": "user", "content": "Fine."},
            call("return_items", '{"order": "W1", "items": ["b"]}', "c2"),
            {"role": "tool", "tool_call_id": "c2", "name": "return_items", "content": "Error: no"},
            {"role": "assistant", "content": "Done."},
        ],
    }  # fmt: skip


def recorded(*, lie_at: int = -1, prompt: str = "You read.", extra: bool = False) -> Trace:
    """Return a run as masfire records it: a task, two agents with model calls, and a tool."""

    def request(system: str, said: str) -> Any:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": said}]
        return pack({"model": "m", "messages": messages})

    def reply(text: str) -> Any:
        return pack({"content": text, "tool_calls": [], "finish_reason": "stop"})

    lies = {lie_at: True}
    first = "item lamp, quantity 8" if lies.get(2) else "item lamp, quantity 9"
    second = "order of Munich" if lies.get(5) else "order of Paris"
    bodies: list[tuple[str, Any, tuple[int, ...]]] = [
        ("user", Message(to=("reader",), content=pack("We order 9 lamps for Paris.")), ()),
        ("reader", Action("model_call", "m", request(prompt, "We order 9 lamps for Paris.")), (0,)),
        ("reader", Observation("model_reply", "m", 1, reply(first)), (1,)),
        ("reader", Message(to=("clerk",), content=pack(first), via="graph"), (2,)),
        ("clerk", Action("model_call", "m", request("You order.", first)), (3,)),
        ("clerk", Observation("model_reply", "m", 4, reply(second)), (4,)),
        ("clerk", Message(to=("user",), content=pack(second), via="graph"), (5,)),
    ]
    if extra:
        bodies.insert(4, bodies[3])
    steps = tuple(
        Step(step=index, time=float(index), agent=agent, body=body, parents=parents)
        for index, (agent, body, parents) in enumerate(bodies)
    )
    end = End(status="completed", success=False, answer=pack(second), steps=len(steps))
    return Trace(
        Header(run="r", system="desk", task=pack({"text": "We order 9 lamps for Paris."})), steps, end=end
    )
