"""Payload predicates: masfire's compiled validator beside jsonschema, same schemas, same process.

    python benchmarks/bench_payload.py [--json]

Rounds are interleaved and medians compared, so that a busy machine slows both alike. `jsonschema` is used
as its documentation says: one Draft202012Validator a schema, made beforehand, asked by `is_valid`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jsonschema

from masfire.contracts.payload import compile_schema

BAR = 50.0
ROUNDS = 15
SECONDS = 0.02
"""How long one measurement of one side lasts, about."""

_MONEY = {
    "type": "object",
    "properties": {"value": {"type": "number", "minimum": 0}, "currency": {"enum": ["EUR", "USD"]}},
    "required": ["value", "currency"],
}
_ORDER = {
    "type": "object",
    "required": ["order", "amount", "lines"],
    "properties": {
        "order": {"type": "string", "pattern": "^A-[0-9]+$"},
        "amount": {"type": "number", "maximum": 10000},
        "lines": {
            "type": "array",
            "maxItems": 20,
            "items": {
                "type": "object",
                "required": ["sku", "count"],
                "properties": {"sku": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
            },
        },
    },
}
_MAIL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["to", "subject", "body"],
    "properties": {
        "to": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "subject": {"type": "string", "maxLength": 200},
        "body": {"type": "string"},
        "priority": {"enum": ["low", "normal", "high"]},
    },
}
_TRANSFER = {
    "$defs": {"money": _MONEY},
    "type": "object",
    "required": ["from", "to", "sum"],
    "properties": {
        "from": {"type": "string"},
        "to": {"type": "string"},
        "sum": {"$ref": "#/$defs/money"},
        "fee": {"$ref": "#/$defs/money"},
    },
}
_CHOICE = {
    "oneOf": [
        {
            "properties": {"kind": {"const": "card"}, "number": {"type": "string"}},
            "required": ["kind", "number"],
        },
        {"properties": {"kind": {"const": "iban"}, "iban": {"type": "string"}}, "required": ["kind", "iban"]},
    ]
}
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "order with lines": (
        _ORDER,
        {
            "order": "A-17",
            "amount": 12.5,
            "lines": [{"sku": "lamp", "count": 2}, {"sku": "chair", "count": 1}],
        },
    ),
    "mail, closed": (
        _MAIL,
        {"to": ["a@example.org", "b@example.org"], "subject": "hi", "body": "text " * 40, "priority": "low"},
    ),
    "transfer, $ref": (
        _TRANSFER,
        {
            "from": "DE1",
            "to": "DE2",
            "sum": {"value": 3.5, "currency": "EUR"},
            "fee": {"value": 0.1, "currency": "EUR"},
        },
    ),
    "card or iban, oneOf": (_CHOICE, {"kind": "iban", "iban": "DE1200"}),
    "one bound": ({"properties": {"amount": {"maximum": 10000}}}, {"to": "DE12", "amount": 12.5}),
}


def microseconds(function: Callable[[Any], Any], value: Any, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        function(value)
    return (time.perf_counter() - started) / calls * 1e6


def measure(schema: dict[str, Any], value: Any) -> tuple[float, float]:
    """Return the median microseconds of a check by masfire and by jsonschema, rounds interleaved."""
    ours = compile_schema(schema)
    theirs = jsonschema.Draft202012Validator(schema).is_valid
    assert ours(value) == []
    assert theirs(value)
    few, many = (max(1, int(SECONDS / (microseconds(f, value, 20) * 1e-6))) for f in (theirs, ours))
    rounds = [(microseconds(ours, value, many), microseconds(theirs, value, few)) for _ in range(ROUNDS)]
    return statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)


def main() -> int:
    rows = []
    for name, (schema, value) in CASES.items():
        ours, theirs = measure(schema, value)
        rows.append({"payload": name, "masfire_us": ours, "jsonschema_us": theirs, "ratio": theirs / ours})
    middle = statistics.median(row["ratio"] for row in rows)
    passed = middle >= BAR
    if "--json" in sys.argv:
        print(json.dumps({"rows": rows, "median_ratio": middle, "bar": BAR, "passed": passed}, indent=2))
    else:
        print("| payload | masfire, µs | jsonschema, µs | times faster |\n|---|---|---|---|")
        for row in rows:
            ours, theirs = row["masfire_us"], row["jsonschema_us"]
            print(f"| {row['payload']} | {ours:.2f} | {theirs:.1f} | {row['ratio']:.0f} |")
        print(f"\nMedian: {middle:.0f} times (goal: {BAR:.0f}): {'met' if passed else 'not met'}.")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
