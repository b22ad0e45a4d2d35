"""Who a LangGraph task is, what woke it, and which messages are still on their way to whom."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from masfire.adapters.langgraph_writes import (
    BRANCH,
    JOIN,
    MISSING,
    TASKS,
    holds_one,
    is_control,
    merges_messages,
    messages_of,
    value_of,
)
from masfire.recorder import ACTOR, PRODUCED, Actor, Recorder
from masfire.trace.model import USER

KEY = "langgraph"
READ_BACK = 24
"""How many of the last messages in a node's input count as parents of what it does."""
PARENTS = 64
"""Most parents a message gets."""

TOOL: ContextVar[str] = ContextVar("masfire_tool", default="")
"""The LangChain tool whose code runs in this context: an unnamed agent inside is called after it."""

_UNNAMED = "LangGraph"
_AGENT_NODES = frozenset(
    {"model", "agent", "tools", "pre_model_hook", "post_model_hook", "generate_structured_response"}
)
_MIDDLEWARE = (".before_agent", ".before_model", ".after_model", ".after_agent")


class State:
    """What this adapter remembers of one run: tasks in flight, and which step each message came from."""

    def __init__(self, run: Recorder) -> None:
        self.run = run
        self.tasks: dict[str, TaskNote] = {}
        self._origin: dict[str, tuple[int, Any]] = {}
        self._steps: dict[int, int] = {}
        self._kept: dict[int, Any] = {}
        self.boards: dict[tuple[str, str], Board] = {}
        self.views: dict[int, View] = {}

    def stems(self, message: Any, step: int) -> None:
        """Remember that `message` was sent by step `step` (-1: one that was not recorded)."""
        before = self._origin.get(message.id)
        if before is not None:
            self._steps.pop(id(before[1]), None)  # another object with the same id has taken its place
        self._origin[message.id] = (step, message)
        self._kept[id(message)] = message  # while it lives, its address is its own
        self._steps[id(message)] = step

    def causes(self, messages: list[Any]) -> set[int]:
        """Return the recorded steps that sent these messages (a list may hold other things as well)."""
        # By their addresses, which does not touch them: mostly they are the very objects that were sent.
        steps: set[Any] = set(map(self._steps.get, map(id, messages)))
        if None in steps:
            found = [self._origin.get(getattr(message, "id", "")) for message in messages]
            steps = {sent[0] for sent in found if sent is not None}
        steps.discard(-1)
        return steps


def state_of(run: Recorder) -> State:
    """Return the adapter's memory of this run."""
    state: State | None = run.notes.get(KEY)
    if state is None:
        state = run.notes.setdefault(KEY, State(run))
    return state


class Pending:
    """A message step that its recipient has not been seen to receive yet."""

    __slots__ = ("ids", "send", "step", "values", "wrap")

    def __init__(
        self, step: int, ids: dict[str, list[str]], values: dict[str, Any], send: Any, wrap: bool
    ) -> None:
        self.step, self.ids, self.values, self.send, self.wrap = step, ids, values, send, wrap


class Board:
    """Deliveries and provenance of one graph (of one thread, when it has a checkpointer).

    `wakers`: node → steps that activate it next; `known`: messages in this graph's state by id;
    `writers`: channel → (superstep, steps that wrote it last); `hidden`: agent → ids of messages it
    must not see; `overrides`: (agent, channel) → (value it sees in place of the shared one, the shared
    one); `redeliver`: node → further copies it still has to be woken with; `forced`: whether a fault
    added edges.
    """

    def __init__(self) -> None:
        self.wakers: dict[str, list[int]] = {}
        self.known: dict[str, Any] = {}
        self.writers: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.sends: dict[int, tuple[Any, int]] = {}
        self.pending: dict[str, list[Pending]] = {}
        self.hidden: dict[str, set[str]] = {}
        self.overrides: dict[tuple[str, str], tuple[Any, Any]] = {}
        self.redeliver: dict[str, deque[Any]] = {}
        self.forced = False

    def wrote(self, names: Iterable[str], superstep: int, index: int) -> None:
        """Remember that step `index` wrote these channels, with others of its superstep."""
        writers = self.writers
        alone = (superstep, (index,))
        for name in names:
            last = writers.get(name)
            writers[name] = alone if last is None or last[0] != superstep else (superstep, (*last[1], index))

    @property
    def has_mail(self) -> bool:
        """Return whether some agent's input has to be looked at."""
        return bool(self.pending or self.hidden or self.overrides)


STATE, EDGE, SENDS, OTHER = range(4)
"""What writing to a channel does: change the state, activate a node, send packets, something internal."""


class Channel:
    """What this adapter knows of a channel: its `kind`, the node it activates, how it takes writes."""

    __slots__ = ("kind", "merges", "node", "single")

    def __init__(self, name: str, channel: Any) -> None:
        self.node = ""
        if name.startswith(BRANCH):
            self.kind, self.node = EDGE, name[len(BRANCH) :]
        elif name.startswith(JOIN):
            self.kind, self.node = EDGE, join_target(name)
        elif name == TASKS:
            self.kind = SENDS
        else:
            self.kind = OTHER if is_control(name) else STATE
        self.single = channel is not None and holds_one(channel)
        self.merges = channel is not None and merges_messages(channel)


@functools.lru_cache(maxsize=4096)
def _edge(name: str) -> Channel:
    return Channel(name, None)


class View:
    """One running graph (a LangGraph loop) as this adapter sees it.

    `asked` are the steps that had this graph started from inside a task; `heard` is where that task
    notes what it was given (a tool's code notes for the tool's result). `direct`: nothing that its
    nodes send can be changed or looked at on the way.
    """

    __slots__ = (
        "agent", "asked", "board", "channels", "direct", "greeted", "heard", "kind", "loop", "notes",
        "parent", "prefix", "produced", "run", "state",
    )  # fmt: skip

    def __init__(self, run: Recorder, loop: Any, parent: TaskNote | None) -> None:
        self.run, self.loop, self.parent = run, loop, parent
        self.state = state_of(run)
        self.notes: list[TaskNote] = []
        self.produced: list[int] = []
        self.channels: dict[str, Channel] = {}
        self.greeted = False
        self.kind = kind_of(loop.nodes)
        self.direct = self.kind == "graph" and not (run.has_interceptors or run.watched)
        self.agent, self.prefix = _place(self.kind, loop, parent)
        actor = None if parent is None else ACTOR.get()
        self.asked = () if actor is None else actor.parents
        self.heard = None if parent is None else PRODUCED.get()
        conf = loop.config.get("configurable", {})
        thread = conf.get("thread_id")
        if loop.checkpointer is None or thread is None:
            self.board = Board()
        else:
            key = (str(thread), conf.get("checkpoint_ns", ""))
            self.board = self.state.boards.setdefault(key, Board())
        self._know_what_is_there()

    def _know_what_is_there(self) -> None:
        """Remember messages that were in the state before, so that they do not count as new."""
        known = self.board.known
        for channel in self.loop.channels.values():
            value = getattr(channel, "value", None)
            if type(value) is list and value:
                for message in messages_of(value) or ():
                    if message.id:
                        known.setdefault(message.id, message)

    def begin(self) -> None:
        """Prepare the notes of the tasks that the next superstep runs."""
        tasks = self.state.tasks
        for old in self.notes:
            tasks.pop(old.id, None)
        self.notes = []
        sends = None
        for task in self.loop.tasks.values():
            if task.writes:
                continue
            packet = None
            if task.path[0] == "__pregel_push" and len(task.path) == 3:
                if sends is None:
                    sends = self.loop.channels[TASKS].get()
                packet = sends[task.path[1]]
            note = TaskNote(self, task, packet)
            tasks[task.id] = note
            self.notes.append(note)
        self.board.wakers = {}
        if self.board.sends:
            self.board.sends = {}

    def end(self) -> None:
        """Let the surrounding code know the last thing an agent with a name of its own was told."""
        if self.produced and self.heard is not None:
            self.heard.append(self.produced[-1])

    def learn(self, name: str) -> Channel:
        """Return what is to be known of a channel, remembering it."""
        channel = (
            _edge(name) if name.startswith((BRANCH, JOIN)) else Channel(name, self.loop.channels.get(name))
        )
        self.channels[name] = channel
        return channel

    def name_of(self, node: str) -> str:
        """Return the agent that runs node `node` of this graph."""
        return self.prefix + node

    def node_of(self, agent: str) -> str | None:
        """Return the node of this graph that reaches agent `agent`, or None."""
        local = agent[len(self.prefix) :] if self.prefix and agent.startswith(self.prefix) else agent
        for node in (local, local.partition("/")[0]):
            if BRANCH + node in self.loop.channels:
                return node
        return None

    def state_for(self, node: str) -> dict[str, Any]:
        """Return the shared state as node `node` would read it, so that it can start from a packet."""
        names = self.loop.nodes[node].channels
        held = {}
        for name in names if isinstance(names, list) else ():
            value = value_of(self.loop.channels.get(name))
            if value is not MISSING:
                held[name] = value
        return held

    @property
    def beyond(self) -> str:
        """Return who gets what the graph ends with: the user, or the agent this graph is part of."""
        return USER if self.parent is None else self.parent.agent


class TaskNote:
    """One task (an execution of a node): its agent, its parents, and what it has produced so far."""

    __slots__ = (
        "actor", "agent", "caller", "id", "internal", "is_call", "name", "overridden", "packet", "parents",
        "produced", "shares_parent", "view",
    )  # fmt: skip

    def __init__(self, view: View, task: Any, packet: Any) -> None:
        self.view, self.id, self.name, self.packet = view, task.id, task.name, packet
        self.produced: list[int] = []
        self.overridden: dict[str, Any] | None = None
        self.caller: TaskNote | None = None
        self.actor: Actor
        self.is_call = self.shares_parent = False
        parent = view.parent
        self.internal = view.kind == "agent"
        if self.internal:
            self._inside(view, task, parent)
            return
        if task.name == "__start__":
            self.agent = view.beyond
        else:
            self.agent = view.prefix + task.name
        self.parents = self._parents(task)
        path = task.name if packet is None else f"{task.name}[{task.path[1]}]"
        if parent is not None and parent.actor.path:
            path = f"{parent.actor.path}/{path}"
        self.actor = Actor(self.agent, "", "langgraph", path, self.parents)

    def _inside(self, view: View, task: Any, parent: TaskNote | None) -> None:
        """Become a part of one agent: its inner nodes share what it has produced and read it back."""
        self.agent = view.agent
        path = self.agent
        if parent is not None:
            self.parents, path = parent.parents, parent.actor.path
            if parent.agent == self.agent:
                self.produced, self.shares_parent = parent.produced, True
            else:
                self.parents, self.produced = view.asked, view.produced
                path = f"{path}/{self.agent.rpartition('/')[2]}"
        else:
            self.parents, self.produced = self._parents(task), view.produced
        parents = self.parents
        if self.produced:
            parents = tuple(sorted({*parents, *self.produced[-READ_BACK:]}))
        self.actor = Actor(self.agent, "", "langgraph", path, parents)

    def passed_on(self, made: Any) -> None:
        """Let the surrounding task know what was said inside it: its own message is made from that."""
        heard = self.view.heard
        if heard is not None and not self.shares_parent:
            for offer in made:
                heard.extend(step.step for step in offer.steps)

    def _parents(self, task: Any) -> tuple[int, ...]:
        view = self.view
        board = view.board
        found: set[int] = set()
        if self.packet is not None:
            sent = board.sends.get(id(self.packet))
            if sent is not None:
                found.add(sent[1])
        else:
            found.update(board.wakers.get(task.name, ()))
        given = task.input
        if type(given) is dict:
            writers = board.writers
            for channel, value in given.items():
                if type(value) is list and value and hasattr(value[-1], "id"):
                    found |= view.state.causes(value[-READ_BACK:])
                elif self.packet is None:
                    wrote = writers.get(channel)
                    if wrote is not None:
                        found.update(wrote[1])
        elif self.packet is None:
            for _, wrote_last in board.writers.values():
                found.update(wrote_last)
        if not found and view.parent is not None:
            return view.asked
        return tuple(found) if len(found) == 1 else tuple(sorted(found)[-PARENTS:])


def kind_of(nodes: Any) -> str:
    """Return `agent` (create_agent, create_react_agent), `function` (functional API) or `graph`."""
    if "__start__" not in nodes:
        return "function"
    names = [name for name in nodes if not name.startswith("__")]
    if ("model" in names or "agent" in names) and all(
        name in _AGENT_NODES or name.endswith(_MIDDLEWARE) for name in names
    ):
        return "agent"
    return "graph"


def _place(kind: str, loop: Any, parent: TaskNote | None) -> tuple[str, str]:
    """Return the agent that the graph as a whole is (for an agent graph), and the prefix of its nodes."""
    if kind == "agent":
        given = _given_name(loop)
        if parent is None:
            return given or "agent", ""
        last = parent.agent.rpartition("/")[2]
        if parent.internal:
            return f"{parent.agent}/{given if given and given != last else TOOL.get() or 'agent'}", ""
        return (parent.agent if not given or given == last else f"{parent.agent}/{given}"), ""
    if parent is None or kind == "function":
        return "", "" if parent is None else f"{parent.agent}/"
    return parent.agent, f"{parent.agent}/"


def _given_name(loop: Any) -> str:
    """Return the name an agent graph was built with, or nothing.

    The loop does not know it, but the graph that drives the loop is on the stack; older and newer
    versions disagree whether the metadata has it, and pass it on to the agents inside.
    """
    frame = sys._getframe(1)
    for _ in range(8):
        graph = frame.f_locals.get("self")
        if getattr(graph, "nodes", None) is loop.nodes and isinstance(name := getattr(graph, "name", 0), str):
            return "" if name == _UNNAMED else name
        if frame.f_back is None:
            break
        frame = frame.f_back
    return str((loop.config.get("metadata") or {}).get("lc_agent_name") or "")


def join_target(channel: str) -> str:
    """Return the node that a join channel activates."""
    return channel.rpartition(":")[2] if channel.startswith(JOIN) else ""
