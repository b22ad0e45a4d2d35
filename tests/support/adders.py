"""Two tiny plain-Python systems that add numbers through a chat model, and the model's script."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import httpx

TASKS = [
    {"id": "two", "text": "Please add the numbers 3 and 4 for me.", "sum": 7},
    {"id": "three", "text": "Please add the numbers 10, 20 and 31 for me.", "sum": 61},
    {"id": "wrong", "text": "Please add the numbers 1 and 1 for me.", "sum": 3},
]
"""The last one is beyond the systems: its expected sum is wrong, so it must never be injected."""


def script(_: str, body: dict[str, Any]) -> str:
    """Answer like a model that does what the system prompt says."""
    role, text = body["messages"][0]["content"], body["messages"][-1]["content"]
    numbers = [int(n) for n in re.findall(r"-?\d+", text)]
    return json.dumps({"numbers": numbers}) if role.startswith("List") else f"The sum is {sum(numbers)}."


def build() -> httpx.Client:
    return httpx.Client(base_url=os.environ["OPENAI_BASE_URL"], timeout=30, trust_env=False)


def ask(client: httpx.Client, role: str, text: str) -> str:
    messages = [{"role": "system", "content": role}, {"role": "user", "content": text}]
    reply = client.post("/chat/completions", json={"model": "fake", "messages": messages})
    reply.raise_for_status()
    return str(reply.json()["choices"][0]["message"]["content"])


def reader(client: httpx.Client, text: str) -> str:
    return ask(client, "List the numbers of the text as JSON.", text)


def adder(client: httpx.Client, listed: str) -> int:
    found = re.search(r"-?\d+", ask(client, "Write the sum of the numbers.", listed))
    return int(found[0]) if found else 0


def run(client: httpx.Client, task: dict[str, Any]) -> int:
    """Read, then add: what the reader gets wrong stays wrong."""
    print("working on", task["id"])
    with client:
        return adder(client, reader(client, task["text"]))


def run_twice(client: httpx.Client, task: dict[str, Any]) -> int:
    """Read until two readings agree."""
    with client:
        listed = [reader(client, task["text"]), reader(client, task["text"])]
        while listed[-1] != listed[-2]:
            listed.append(reader(client, task["text"]))
        return adder(client, listed[-1])


async def run_later(client: httpx.Client, task: dict[str, Any]) -> int:
    return run(client, task)


def hang(client: httpx.Client, task: dict[str, Any]) -> int:
    answer = run(client, task)
    if task["id"] == "two":
        time.sleep(600)
    return answer


def vanish(client: httpx.Client, task: dict[str, Any]) -> int:
    answer = run(client, task)
    if task["id"] == "two":
        os._exit(7)
    return answer


def fail(client: httpx.Client, task: dict[str, Any]) -> int:
    answer = run(client, task)
    if task["id"] == "two":
        raise RuntimeError("the adder\x1b[31m broke \ud800")
    return answer


def check(task: dict[str, Any], answer: int) -> bool:
    return answer == task["sum"]


def check_badly(task: dict[str, Any], answer: int) -> bool:
    return task["sum"] / 0 == answer


PLAN = """\
masfire: plan/v1
systems:
  - {{name: once, system: "{m}:build", run: "{m}:run", check: "{m}:check"}}
  - {{name: twice, system: "{m}:build", run: "{m}:run_twice", check: "{m}:check"}}
tasks: "{m}:TASKS"
faults: [hallucination@reader]
seeds: [0, 1]
controls: 3
model: {{endpoint: "{url}", name: fake, cache: false}}
budget: {{steps: 200, calls: 20, seconds: 20}}
executor: {{workers: 2}}
root: "{root}"
"""


def write_plan(path: Path, url: str, **changes: str) -> Path:
    """Write a plan of both systems to `path`; `changes` replace whole lines by their key."""
    root = Path(__file__).parents[2]
    text = PLAN.format(m="tests.support.adders", url=url, root=root)
    for key, value in changes.items():
        text, n = re.subn(rf"(?m)^{key}:.*$", lambda _, k=key, v=value: f"{k}: {v}", text)
        text += "" if n else f"{key}: {value}\n"
    path.write_text(text, encoding="utf-8")
    return path
