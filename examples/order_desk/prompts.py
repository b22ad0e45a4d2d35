"""What the agents are told: their roles, a few example turns each, and the shape of their answers."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from examples.order_desk.desk import CITIES, ITEMS, KINDS, reference

TOOLS = ["check_stock", "place_order", "quote_price"]

Turn = tuple[str, str]
"""One line of the shared conversation: who said it, and what."""
Example = tuple[list[Turn], str]
"""What an agent saw of the conversation, and what it answered."""


class Role(NamedTuple):
    """An agent's name, its duty (the system prompt), example turns, and the shape of its answers."""

    name: str
    duty: str
    examples: list[Example]
    schema: dict[str, Any] | None = None


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_FIELDS: dict[str, Any] = {
    "quantity": {"type": "integer"},
    "item": {"enum": list(ITEMS)},
    "city": {"enum": CITIES},
}
ORDER = _object(kind={"enum": list(KINDS)}, **_FIELDS)
CALL = _object(tool={"enum": TOOLS}, args=_object(**_FIELDS))
STEP = _object(step={"enum": TOOLS}, needs={"type": "array", "items": {"enum": TOOLS}, "maxItems": 2})
PLAN = _object(
    goal={"enum": list(KINDS)}, steps={"type": "array", "items": STEP, "minItems": 2, "maxItems": 3}
)

_MAILS = [
    ("order", 3, "blue mugs", "Rome", "Hi, please send 3 blue mugs to Rome by Friday."),
    ("quote", 12, "desk lamps", "Milan", "What would 12 desk lamps delivered to Milan cost? Thanks!"),
    ("quote", 7, "red notebooks", "Paris", "Could you price 7 red notebooks for our Paris office?"),
    ("order", 25, "black pens", "London", "Good morning, we need 25 black pens in London next week."),
]
_MAILS = [(k, q, i, c, f"Subject: {k.capitalize()}\n{mail}") for k, q, i, c, mail in _MAILS]


def compact(value: Any) -> str:
    """Return JSON without spaces: fewer tokens to write."""
    return json.dumps(value, separators=(",", ":"))


def order(kind: str, quantity: int, item: str, city: str) -> str:
    """Return an order as the reader writes it."""
    return compact({"kind": kind, "quantity": quantity, "item": item, "city": city})


def plan(kind: str) -> str:
    """Return the plan for one kind of request: its goal first, then what that needs."""
    steps = [
        {"step": KINDS[kind], "needs": ["check_stock"]},
        {"step": "check_stock", "needs": []},
    ]
    return compact({"goal": kind, "steps": steps})


def call(tool: str, quantity: int, item: str, city: str) -> str:
    """Return a tool call as the clerk writes it."""
    return compact({"tool": tool, "args": {"quantity": quantity, "item": item, "city": city}})


def stocked(quantity: int, item: str, city: str) -> str:
    """Return what check_stock says when there is enough."""
    return f"in stock: {quantity} {item} in {city}"


def result(kind: str, quantity: int, item: str, city: str) -> str:
    """Return what the last tool of such a request says."""
    if kind == "order":
        return f"reserved: {quantity} {item} to {city}, reference R-{reference(quantity, item, city)}"
    return f"quoted: {quantity} {item} to {city}, price {quantity * ITEMS[item]} euro"


def letter(kind: str, quantity: int, item: str, city: str) -> str:
    """Return the sentence the customer gets."""
    if kind == "order":
        return f"We reserved {quantity} {item} to {city}, reference R-{reference(quantity, item, city)}."
    return f"We quoted {quantity} {item} to {city}, price {quantity * ITEMS[item]} euro."


def _clerk_examples() -> list[Example]:
    steps = ("check_stock", "quote_price", "check_stock", "place_order")
    return [
        ([("reader", order(k, q, i, c)), ("step", step)], call(step, q, i, c))
        for step, (k, q, i, c, _) in zip(steps, _MAILS, strict=True)
    ]


def _critic_examples() -> list[Example]:
    examples: list[Example] = []
    for at, (k, q, i, c, mail) in enumerate(_MAILS):
        other = CITIES[(CITIES.index(c) + 5) % len(CITIES)]
        wrong = letter(k, q + 2, i, other) if at in (0, 2) else letter(k, q, i, c)
        examples.append(([("writer", wrong), ("customer", mail)], order(k, q, i, c)))
    return examples


_INSTRUCTIONS = [
    (step, q, i, c)
    for step, (_, q, i, c, _) in zip(
        ("check_stock", "quote_price", "check_stock", "place_order"), _MAILS, strict=True
    )
]


def _peer_examples(earlier: int) -> list[Example]:
    examples: list[Example] = []
    for k, q, i, c, mail in _MAILS:
        said = order(k, q, i, c)
        examples.append(([("customer", mail), *[(who, said) for who in ("sales", "depot")[:earlier]]], said))
    return examples


_PEER = {"sales": _peer_examples(0), "depot": _peer_examples(1), "billing": _peer_examples(2)}

READER = Role(
    "reader",
    "You are the reader. Copy kind, quantity, item and city from the customer's e-mail into one JSON object.",
    [([("customer", mail)], order(k, q, i, c)) for k, q, i, c, mail in _MAILS],
    ORDER,
)
PLANNER = Role(
    "planner",
    "You are the planner. Copy the goal. An order needs place_order, a quote needs quote_price.",
    [([("customer", mail), ("reader", order(k, q, i, c))], plan(k)) for k, q, i, c, mail in _MAILS],
    PLAN,
)
CLERK = Role(
    "clerk",
    "You are the clerk. Turn the step into one tool call as JSON. Copy the reader's numbers and names.",
    _clerk_examples(),
    CALL,
)
WRITER = Role(
    "writer",
    "You are the writer. Tell the customer the result in one sentence. Copy every name and number.",
    [
        (
            [("reader", order(k, q, i, c)), ("stock", stocked(q, i, c)), ("stock", result(k, q, i, c))],
            letter(k, q, i, c),
        )
        for k, q, i, c, _ in _MAILS
    ],
)
GATE = Role(
    "critic",
    "You are the critic. Check the writer's letter. Check it always. Do you check or accept the letter? "
    "Answer with one word.",
    [],
    {"enum": ["check", "accept"]},
)
CRITIC = Role(
    "critic",
    "You are the critic. Read the customer's e-mail again. Copy kind, quantity, item and city from it.",
    _critic_examples(),
    ORDER,
)

INSTRUCTOR_FIRST = Role(
    "instructor",
    "You are the instructor. Let the assistant check the stock. Copy the numbers and names of the e-mail.",
    [([("customer", mail)], call("check_stock", q, i, c)) for _, q, i, c, mail in _MAILS],
    CALL,
)
INSTRUCTOR_THEN = Role(
    "instructor",
    "You are the instructor. The stock was checked. An order needs place_order, a quote needs quote_price.",
    [
        ([("stock", stocked(q, i, c)), ("customer", mail)], call(KINDS[k], q, i, c))
        for k, q, i, c, mail in _MAILS
    ],
    CALL,
)
ASSISTANT = Role(
    "assistant",
    "You are the assistant. Do what the instructor says: copy the instruction into one tool call as JSON.",
    [([("instructor", call(step, q, i, c))], call(step, q, i, c)) for step, q, i, c in _INSTRUCTIONS],
    CALL,
)
ASSISTANT_WRITES = Role(
    "assistant",
    "You are the assistant. Tell the customer the result in one sentence. Copy every name and number.",
    [([("stock", result(k, q, i, c))], letter(k, q, i, c)) for k, q, i, c, _ in _MAILS],
)


def peer(name: str) -> Role:
    """Return the role of one peer of the mesh: it says what the whole conversation orders."""
    duty = {
        "sales": "You are sales, one of three peers.",
        "depot": "You are the depot, one of three peers.",
        "billing": "You are billing, one of three peers.",
    }[name]
    return Role(
        name, f"{duty} Copy kind, quantity, item and city of the customer's wish.", _PEER[name], ORDER
    )
