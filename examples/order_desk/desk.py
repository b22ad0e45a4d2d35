"""The order desk itself: catalogue, depots, ledger, tools, tasks, and what counts as a right answer."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool, tool

ITEMS = {  # article: price in euro
    "black pens": 2, "blue mugs": 9, "desk lamps": 31, "garden hoses": 24, "glass vases": 17,
    "green chairs": 58, "oak tables": 240, "paper trays": 6, "red notebooks": 4, "steel kettles": 39,
    "wall clocks": 22, "wool blankets": 45,
}  # fmt: skip
CITIES = [
    "Berlin",
    "Dublin",
    "Geneva",
    "Lisbon",
    "London",
    "Madrid",
    "Milan",
    "Munich",
    "Paris",
    "Prague",
    "Rome",
    "Vienna",
]
KINDS = {"order": "place_order", "quote": "quote_price"}
STOCK = 60
"""Pieces of every article in every depot at the start of a day."""

TASKS = Path(__file__).with_name("tasks.jsonl")


class Ledger:
    """The day's bookings, in a database of its own. One order holds at most one reservation."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE booking (number INTEGER PRIMARY KEY, item TEXT, quantity INTEGER, city TEXT)"
        )
        self._checked: set[tuple[str, str]] = set()

    def check(self, quantity: int, item: str, city: str) -> str:
        """Return whether the depot of `city` holds `quantity` pieces of `item`."""
        self._checked.add((item, city))
        return f"in stock: {quantity} {item} in {city}" if 0 < quantity <= STOCK else f"out of stock: {item}"

    def reserve(self, quantity: int, item: str, city: str) -> str:
        """Reserve the pieces; a second reservation replaces the first, so that repeating one is harmless."""
        if (item, city) not in self._checked:
            raise ValueError("stock was not checked before")
        if not 0 < quantity <= STOCK:
            raise ValueError(f"cannot reserve {quantity}")
        self._db.execute("INSERT OR REPLACE INTO booking VALUES (1, ?, ?, ?)", (item, quantity, city))
        return f"reserved: {quantity} {item} to {city}, reference R-{reference(quantity, item, city)}"

    def quote(self, quantity: int, item: str, city: str) -> str:
        """Return the price of the pieces, delivered to `city`."""
        if (item, city) not in self._checked:
            raise ValueError("stock was not checked before")
        return f"quoted: {quantity} {item} to {city}, price {quantity * ITEMS[item]} euro"

    def cancel(self) -> None:
        """Take the reservation back; harmless when there is none."""
        self._db.execute("DELETE FROM booking")

    def rows(self) -> list[list[Any]]:
        """Return the bookings as [item, quantity, city]."""
        return [list(row) for row in self._db.execute("SELECT item, quantity, city FROM booking")]


def reference(quantity: int, item: str, city: str) -> int:
    """Return the two-digit reference number of a reservation."""
    return 10 + (7 * list(ITEMS).index(item) + 11 * CITIES.index(city) + 3 * quantity) % 90


def tools(ledger: Ledger) -> dict[str, BaseTool]:
    """Return the desk's tools by name, working on `ledger`."""

    @tool
    def check_stock(quantity: int, item: str, city: str) -> str:
        """Check that the depot of a city holds so many pieces of an article."""
        return ledger.check(quantity, _known(item, ITEMS), _known(city, CITIES))

    @tool
    def place_order(quantity: int, item: str, city: str) -> str:
        """Reserve so many pieces of an article for delivery to a city."""
        return ledger.reserve(quantity, _known(item, ITEMS), _known(city, CITIES))

    @tool
    def quote_price(quantity: int, item: str, city: str) -> str:
        """Quote the price of so many pieces of an article delivered to a city."""
        return ledger.quote(quantity, _known(item, ITEMS), _known(city, CITIES))

    made = (check_stock, place_order, quote_price)
    for one in made:
        one.tags = ["masfire:live"]  # the ledger is in this process: a replay may book in it again
    return {one.name: one for one in made}


def _known(name: str, names: Any) -> str:
    if name not in names:
        raise ValueError(f"unknown: {name!r}")
    return str(name)


def load(split: str = "") -> list[dict[str, Any]]:
    """Return the tasks of one split ("dev" or "held"), or all of them."""
    tasks = [json.loads(line) for line in TASKS.read_text("utf-8").splitlines()]
    return [task for task in tasks if not split or task["split"] == split]


def check(task: dict[str, Any], answer: dict[str, Any]) -> bool:
    """Return whether the customer got what the e-mail asked for: the right booking and the right words."""
    wanted = task["expected"]
    item, quantity, city = wanted["item"], wanted["quantity"], wanted["city"]
    booked = [[item, quantity, city]] if wanted["kind"] == "order" else []
    if answer.get("booked") != booked:
        return False
    said = str(answer.get("confirmation", ""))
    numbers = {int(number) for number in re.findall(r"\d+", said)}
    figure = reference(quantity, item, city) if wanted["kind"] == "order" else quantity * ITEMS[item]
    return {quantity, figure} <= numbers and item in said and city in said
