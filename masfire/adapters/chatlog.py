"""OpenAI chat messages (a list, or JSON Lines of lists) as traces."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from masfire.adapters.imported import Imported, Unread, read_json, read_lines
from masfire.trace.model import USER, Action, Body, End, Header, Message, Observation, Step, Trace
from masfire.trace.payload import EMPTY, pack_or_refuse

SHAPE = (
    'a list of chat messages {"role": …, "content": …[, "tool_calls"]}, or {"messages": [...]}, '
    "one run a line"
)
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_KNOWN = frozenset(
    {
        "role", "content", "name", "tool_calls", "tool_call_id", "function_call",
        "index", "refusal", "annotations",
    }
)  # fmt: skip


def recognizes(data: Any) -> bool:
    """Return whether a decoded JSON value is a list of chat messages or holds one as `messages`."""
    messages = data.get("messages") if isinstance(data, dict) else data
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(one, dict) and one.get("role") in ROLES for one in messages)
    )


def read(path: str | Path) -> list[Imported]:
    """Return the runs of a `.json` (one run) or `.jsonl` file (a run a line; or a message a line)."""
    path = Path(path)
    if path.suffix != ".jsonl":
        return [convert(read_json(path), where=str(path))]
    lines = read_lines(path)
    if lines and all(isinstance(line, dict) and line.get("role") in ROLES for line in lines):
        return [convert(lines, where=str(path))]
    if len(lines) == 1:
        return [convert(lines[0], where=f"{path}:1", run=path.stem)]
    return [
        convert(line, where=f"{path}:{number}", run=f"{path.stem}-{number}")
        for number, line in enumerate(lines, 1)
    ]


def convert(data: Any, *, where: str = "", run: str = "") -> Imported:
    """Return a decoded list of messages as an imported run; raise UsageError for another shape.

    `run` names it; the default is the name of the file that `where` says it comes from.
    """
    unread = Unread("chat log", SHAPE, where)
    if not recognizes(data):
        raise unread.shape(data)
    messages = data["messages"] if isinstance(data, dict) else data
    builder = Conversation()
    for message in messages:
        builder.add(message)
    run = run or (Path(where).stem if where else "chat")
    task = next((one.get("content") for one in messages if one["role"] == "user"), None)
    ignored = builder.ignored + Counter(
        f"field {key}" for key in (data if isinstance(data, dict) else ()) if key != "messages"
    )
    return Imported(
        trace=builder.trace(Header(run=run, system="chat", task=pack_or_refuse(task)), "completed", None),
        group=where or run,
        ignored=dict(ignored),
        begins=tuple(builder.begins),
    )


class Conversation:
    """Chat messages becoming steps, one after the other; counts what it did not understand."""

    def __init__(self, *, agent: str = "assistant") -> None:
        self.agent = agent
        self.steps: list[Step] = []
        self.begins: list[int] = []
        self.ignored: Counter[str] = Counter()
        self._open: dict[str, tuple[int, str]] = {}
        self._answer = EMPTY

    def add(self, message: dict[str, Any]) -> None:
        """Take one message: its words are a message step, each of its calls a tool_call step."""
        self.begins.append(len(self.steps))
        self.ignored.update(f"message field {key}" for key in message if key not in _KNOWN)
        role, content = message["role"], message.get("content")
        if role in ("tool", "function"):
            self._result(message)
            return
        agent = {"assistant": self.agent, "user": USER}.get(role, "system")
        said = message.get("tool_calls") or []
        calls = list(said) if isinstance(said, list) else []
        if calls != said:
            self.ignored["tool calls that are no list"] += 1
        if message.get("function_call"):
            calls.append({"function": message["function_call"]})
        if content not in (None, "") or not calls:
            to = (USER,) if agent == self.agent else (self.agent,)
            self._step(agent, role, Message(to=to, content=pack_or_refuse(content)))
            if agent == self.agent:
                self._answer = pack_or_refuse(content)
        for call in calls:
            self._call(agent, role, call)

    def trace(self, header: Header, status: str, success: bool | None) -> Trace:
        """Return the trace of what was added; its answer is the last thing the agent said."""
        end = End(status=status, success=success, answer=self._answer, steps=len(self.steps))
        return Trace(header=header, steps=tuple(self.steps), end=end)

    def _step(self, agent: str, role: str, body: Body) -> None:
        index = len(self.steps)
        parents = (index - 1,) if index else ()
        if isinstance(body, Observation) and 0 <= body.of < index - 1:
            parents = (body.of,)
        self.steps.append(
            Step(step=index, time=float(index), agent=agent, role=role, body=body, parents=parents)
        )

    def _call(self, agent: str, role: str, call: Any) -> None:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            self.ignored["tool call without a function name"] += 1
            return
        arguments: Any = function.get("arguments", "{}")
        if isinstance(arguments, str):
            try:
                decoded = json.loads(arguments)
            except (ValueError, RecursionError):
                decoded = None
            arguments = decoded if isinstance(decoded, dict) else arguments
        identity = str(call.get("id") or "")
        self._open[identity] = (len(self.steps), function["name"])
        proposed = pack_or_refuse({"args": arguments})
        self._step(
            agent, role, Action(kind="tool_call", name=function["name"], proposed=proposed, id=identity)
        )

    def _result(self, message: dict[str, Any]) -> None:
        of, name = self._open.pop(str(message.get("tool_call_id") or ""), (-1, ""))
        content = message.get("content")
        value: Any = content
        if isinstance(content, str):
            try:
                value = json.loads(content)
            except (ValueError, RecursionError):
                value = content
        failed = isinstance(content, str) and content.lstrip().lower().startswith("error")
        outcome = {"error": {"type": "Error", "message": content}} if failed else value
        name = str(message.get("name") or name or "unknown")
        self._step(
            self.agent, "tool",
            Observation(kind="tool_result", name=name, of=of, outcome=pack_or_refuse(outcome), ok=not failed),
        )  # fmt: skip


def read_runs(data: Any, unread: Unread) -> Sequence[dict[str, Any]]:
    """Return the runs of a file that holds a list of objects; raise UsageError otherwise."""
    if not isinstance(data, list) or not data or not all(isinstance(one, dict) for one in data):
        raise unread.shape(data)
    return data
