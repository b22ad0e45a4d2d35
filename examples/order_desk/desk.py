"""The order desk itself: catalogue, depots, ledger, tools, tasks, and what counts as a right answer."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool, tool

ITEMS = {  # article: price in euro
    "black pen": 2, "blue mug": 9, "desk lamp": 31, "garden hose": 24, "glass vase": 17, "green chair": 58,
    "oak table": 240, "paper tray": 6, "red notebook": 4, "steel kettle": 39, "wall clock": 22,
    "wool blanket": 45,
}  # fmt: skip
CITIES = ["Basel", "Bergen", "Bonn", "Cork", "Ghent", "Graz", "Lyon", "Malmo", "Oslo", "Porto", "Turin", "Vienna"]
KINDS = {"order": "reserve_stock", "quote": "quote_price"}
STOCK = 60
"""Pieces of every article in every depot at the start of a day."""

TASKS = Path(__file__).with_name("tasks.jsonl")


class Ledger:
    """The day's bookings, in a database of its own. One order holds at most one reservation."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute("CREATE TABLE booking (number INTEGER PRIMARY KEY, item TEXT, quantity INTEGER, city TEXT)")
        self._checked: set[tuple[str, str]] = set()

    def check(self, item: str, quantity: int, city: str) -> str:
        """Return whether the depot of `city` holds `quantity` pieces of `item`."""
        self._checked.add((item, city))
        return f"in stock: {quantity} {item} in {city}" if 0 < quantity <= STOCK else f"out of stock: {item}"

    def reserve(self, item: str, quantity: int, city: str) -> str:
        """Reserve the pieces; a second reservation replaces the first, so that repeating one is harmless."""
        if (item, city) not in self._checked:
            raise ValueError("stock was not checked before")
        if not 0 < quantity <= STOCK:
            raise ValueError(f"cannot reserve {quantity}")
        self._db.execute("INSERT OR REPLACE INTO booking VALUES (1, ?, ?, ?)", (item, quantity, city))
        return f"reserved: {quantity} {item} to {city}, reference R-{reference(item, quantity, city)}"

    def quote(self, item: str, quantity: int, city: str) -> str:
        """Return the price of the pieces, delivered to `city`."""
        if (item, city) not in self._checked:
            raise ValueError("stock was not checked before")
        return f"quoted: {quantity} {item} to {city}, price {quantity * ITEMS[item]} euro"

    def rows(self) -> list[list[Any]]:
        """Return the bookings as [item, quantity, city]."""
        return [list(row) for row in self._db.execute("SELECT item, quantity, city FROM booking")]


def reference(item: str, quantity: int, city: str) -> int:
    """Return the two-digit reference number of a reservation."""
    return 10 + (7 * list(ITEMS).index(item) + 11 * CITIES.index(city) + 3 * quantity) % 90


def tools(ledger: Ledger) -> dict[str, BaseTool]:
    """Return the desk's tools by name, working on `ledger`."""

    @tool
    def check_stock(item: str, quantity: int, city: str) -> str:
        """Check that the depot of a city holds so many pieces of an article."""
        return ledger.check(_known(item, ITEMS), quantity, _known(city, CITIES))

    @tool
    def reserve_stock(item: str, quantity: int, city: str) -> str:
        """Reserve so many pieces of an article for delivery to a city."""
        return ledger.reserve(_known(item, ITEMS), quantity, _known(city, CITIES))

    @tool
    def quote_price(item: str, quantity: int, city: str) -> str:
        """Quote the price of so many pieces of an article delivered to a city."""
        return ledger.quote(_known(item, ITEMS), quantity, _known(city, CITIES))

    return {made.name: made for made in (check_stock, reserve_stock, quote_price)}


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
    figure = reference(item, quantity, city) if wanted["kind"] == "order" else quantity * ITEMS[item]
    return {quantity, figure} <= numbers and item in said and city in said
