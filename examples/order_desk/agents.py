"""How the desk's agents speak: a role, example turns, then what they read of the shared conversation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool
from langchain_openai import ChatOpenAI
from langgraph.graph.message import add_messages
from pydantic import SecretStr

from examples.order_desk.prompts import Example, Role, Turn


class State(TypedDict, total=False):
    """The shared conversation, the day's bookings, and how often the work was started over."""

    messages: Annotated[list[AnyMessage], add_messages]
    booked: list[list[Any]]
    rounds: int


class DeskError(Exception):
    """The desk cannot go on with this request; the message says why."""


@cache
def _model(base_url: str, key: str, name: str) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=base_url,
        api_key=SecretStr(key),
        model=name,
        temperature=0.2,
        max_completion_tokens=100,
        timeout=120,
        max_retries=1,
    )


def model() -> ChatOpenAI:
    """Return the chat model the environment names (OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL)."""
    environ = os.environ
    return _model(environ["OPENAI_BASE_URL"], environ.get("OPENAI_API_KEY", "none"), environ["OPENAI_MODEL"])


def mail(task: Mapping[str, Any]) -> State:
    """Return the state a request starts from: the customer's e-mail."""
    return {"messages": [HumanMessage(str(task["email"]), name="customer")], "booked": [], "rounds": 0}


def reading(state: State, *names: str) -> list[Turn]:
    """Return what the named speakers said so far, in order; what everybody said without names."""
    turns = [(message.name or message.type, str(message.content)) for message in state["messages"]]
    return [turn for turn in turns if not names or turn[0] in names]


def last(state: State, name: str) -> str:
    """Return the last thing `name` said; raise DeskError when it said nothing."""
    turns = reading(state, name)
    if not turns:
        raise DeskError(f"nothing was heard from the {name}")
    return turns[-1][1]


def speak(role: Role, seen: Sequence[Turn], *, name: str = "", examples: Sequence[Example] = ()) -> AIMessage:
    """Let the model answer in `role` and return its message for the conversation."""
    name = name or role.name
    prompt: list[AnyMessage] = [SystemMessage(role.duty)]
    for turns, answer in examples or role.examples:
        prompt += [HumanMessage(f"{who}: {what}") for who, what in turns]
        prompt.append(AIMessage(answer))
    prompt += [HumanMessage(f"{who}: {what}") for who, what in seen]
    extra: dict[str, Any] = {}
    if role.schema is not None:
        shape = {"name": role.name, "schema": role.schema, "strict": True}
        extra["response_format"] = {"type": "json_schema", "json_schema": shape}
    reply = model().invoke(prompt, **extra)
    return AIMessage(str(reply.content).strip(), name=name)


def ordered(plan: str) -> list[str]:
    """Return the tools of a plan, each after those it needs; raise DeskError when that cannot be."""
    try:
        waiting = {step["step"]: set(step["needs"]) for step in json.loads(plan)["steps"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DeskError(f"the plan cannot be read: {error}") from error
    done: list[str] = []
    while waiting:
        ready = next((step for step, needs in waiting.items() if needs <= set(done)), None)
        if ready is None:
            raise DeskError("the plan cannot be carried out: its steps wait for something that never comes")
        done.append(ready)
        del waiting[ready]
    return done


def use(catalogue: Mapping[str, BaseTool], call: str) -> str:
    """Make the tool call that a clerk wrote as JSON; return the tool's answer or what was wrong."""
    try:
        wanted = json.loads(call)
        return str(catalogue[wanted["tool"]].invoke(wanted["args"]))
    except (ValueError, KeyError, TypeError) as error:  # pydantic's and the tools' own errors are ValueErrors
        return f"error: {type(error).__name__}: {error}".splitlines()[0]


def heard(name: str, text: str) -> HumanMessage:
    """Return a line of the conversation that no model wrote (a tool's answer, a rule's finding)."""
    return HumanMessage(text, name=name)


def outcome(state: State, author: str = "writer") -> dict[str, Any]:
    """Return what the customer gets: the author's last letter and the bookings."""
    return {"confirmation": last(state, author), "booked": state.get("booked", [])}


def needing(node: Callable[[State], dict[str, Any]], *senders: str) -> Any:
    """Return `node` so that it stays silent until one of the speakers it works from was heard."""

    def acts(state: State) -> dict[str, Any]:
        return node(state) if reading(state, *senders) else {}

    return acts


def since(state: State, mark: str, *names: str) -> list[Turn]:
    """Return what the named speakers said after `mark` spoke last (after the start, if it never did)."""
    turns = reading(state)
    start = max((at for at, turn in enumerate(turns) if turn[0] == mark), default=-1)
    return [turn for turn in turns[start + 1 :] if turn[0] in names]


def failed(turn: Turn) -> bool:
    """Return whether a line reports an error."""
    return turn[1].startswith("error")


def disagreement(order: str, letter: str, booked: Sequence[Sequence[Any]]) -> str:
    """Return what in the letter or the bookings does not fit the order; "" when all does."""
    try:
        wanted = json.loads(order)
        quantity, item, city = wanted["quantity"], wanted["item"], wanted["city"]
        due = [[item, quantity, city]] if wanted["kind"] == "order" else []
    except (ValueError, KeyError, TypeError):
        return "the order cannot be read"
    if not letter:
        return "there is no letter"
    missing = [str(part) for part in (quantity, item, city) if str(part) not in letter]
    if missing:
        return f"the letter does not say {', '.join(missing)}"
    if not letter.startswith("We reserved" if wanted["kind"] == "order" else "We quoted"):
        return f"the letter is not about {wanted['kind']}"
    return "" if list(map(list, booked)) == due else "the booking differs"
