"""Values survive a trace unchanged, or are refused in words; never changed silently."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from masfire.errors import RefusedValue
from masfire.trace.context import ContextTable, expand
from masfire.trace.io import TraceWriter, read_trace
from masfire.trace.model import Action, Header, Message, Step
from masfire.trace.payload import MAX_DEPTH, pack, pack_flat, pack_or_refuse, unpack
from masfire.trace.redact import Redactor


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


SURVIVE: dict[str, Any] = {
    "infinity": [math.inf, -math.inf],
    "2**70": 2**70,
    "negative big": -(2**200),
    "lone surrogate": "a\ud800b",
    "surrogate key": {"\udfff": 1},
    "separators": "a\u2028b\u0085c\u2029",
    "escapes": "\x1b[31mred\x1b]0;title\x07\x00\x7f",
    "quotes": '\\"\\u0041 </script>',
    "float and int": [1, 1.0, True, 0.1, 1e300, 5e-324],
    "our own keys": {"$json": "1", "$ref": [0], "$off": 1, "$refused": "x"},
    "envelope inside": [{"$json": "{}"}],
    "deep": nested(MAX_DEPTH),
    "empty": {"": [[], {}, "", None]},
}


@pytest.mark.parametrize("name", SURVIVE)
def test_hostile_content_survives_identically(name: str, tmp_path: Path) -> None:
    value = SURVIVE[name]
    for redactor in (None, Redactor(), Redactor(["never-there"])):
        with TraceWriter(tmp_path / "t", Header(run="r"), redactor=redactor) as writer:
            writer.write(Step(0, 1.0, "a", Message(("b",), pack(value))))
            writer.write(
                Step(
                    1,
                    1.0,
                    "a",
                    Message(("b",), pack({"password": "x", "v": value}) if name != "deep" else pack(1)),
                )
            )
        trace = read_trace(tmp_path / "t")
        assert trace.steps[0].value == value
        assert repr(trace.steps[0].value) == repr(value)
        if name != "deep":
            assert repr(trace.steps[1].value["v"]) == repr(value)
        assert len((tmp_path / "t").read_bytes().split(b"\n")) == 4


def test_nan_survives_and_is_not_null() -> None:
    back = unpack(pack({"x": [float("nan"), None]}))
    assert math.isnan(back["x"][0])
    assert back["x"][1] is None
    assert unpack(pack((1, (2,)))) == [1, [2]]


class Colour(enum.Enum):
    RED = "red"


def cycle() -> list[Any]:
    value: list[Any] = [1]
    value.append({"again": value})
    return value


REFUSE: dict[str, Any] = {
    "5,000 digits": 10**5000,
    "100,000 brackets": nested(100_000),
    "too deep": nested(MAX_DEPTH + 1),
    "cycle": cycle(),
    "bytes": b"raw",
    "set": {1, 2},
    "integer keys": {1: "a"},
    "mixed keys": {"1": "a", 1: "b"},
    "none key": {None: 1},
    "date": datetime.date(2026, 1, 1),
    "decimal": decimal.Decimal("1.10"),
    "enum": [Colour.RED],
    "object": {"x": object()},
    "inside infinity": [math.inf, {1: 2}],
}


@pytest.mark.parametrize("name", REFUSE)
def test_what_cannot_be_held_is_refused_not_changed(name: str) -> None:
    with pytest.raises(RefusedValue):
        pack(REFUSE[name])
    shown = unpack(pack_or_refuse(REFUSE[name]))
    assert "$refused" in str(shown) or "$python" in str(shown) or "$pairs" in str(shown)


def test_pack_or_refuse_says_what_there_was() -> None:
    assert unpack(pack_or_refuse({1: datetime.date(2026, 1, 2)})) == {
        "$pairs": [[1, {"$python": "date", "text": "2026-01-02"}]]
    }
    assert unpack(pack_or_refuse({"ok": [1]})) == {"ok": [1]}


class Bomb:
    def __str__(self) -> str:
        raise RuntimeError("boom")

    __repr__ = __str__


@pytest.mark.parametrize("value", [Bomb(), {Bomb(): 1}, [Bomb()], nested(100_000), cycle()])
def test_pack_or_refuse_never_raises(value: Any) -> None:
    assert "$refused" in unpack(pack_or_refuse(value))


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'"\xff"', b"1e999", b"9" * 5000, b"[" * 900 + b"]" * 900, b"[" * 10**5]
)
def test_undecodable_payloads_are_named(raw: bytes) -> None:
    with pytest.raises(RefusedValue):
        unpack(Raw(raw))


def call(step: int, *messages: Any) -> Step:
    return Step(step, 1.0, "a", Action("model_call", "m", pack({"model": "m", "messages": list(messages)})))


def test_requests_share_what_they_repeat_and_expand_to_what_was_sent() -> None:
    long = [{"role": "user", "content": f"{n} " + "x" * 60} for n in range(4)]
    odd = [{"$ref": [0, "messages", 0]}, {"$item": "{}"}, {"$ref": 5, "more": 1}]
    table = ContextTable()
    requests = [long[:1], long[:2], [*long, *odd], [*odd, *long], [long[0], long[0]]]
    stored = []
    for index, messages in enumerate(requests):
        step = call(index, *messages)
        stored.append(step.with_payload(table.shorten(step.payload, index)))
    for index, messages in enumerate(requests):
        assert expand(stored, index) == {"model": "m", "messages": messages}
    strange = [{"$json": 3}, *odd]  # keeps the whole request in an envelope
    assert expand([call(0, *strange)], 0) == {"model": "m", "messages": strange}
    assert sum(bytes(step.payload).count(b"x" * 60) for step in stored) == 4


def test_a_request_that_is_no_object_is_stored_as_it_is() -> None:
    assert ContextTable().shorten(pack(["x"]), 0) == pack(["x"])


@pytest.mark.parametrize(
    "value",
    ["text", 'q"\n\\', "null", "\ud800", 7, 10**30, 10**6000, -0.0, 1e300, math.nan, math.inf, True, None],
    ids=lambda value: f"{type(value).__name__}-{ascii(value)[:12]}" if value != 10**6000 else "too-long",
)
@pytest.mark.parametrize("key", ["order", "$json"])
def test_the_short_way_packs_alike_or_not_at_all(key: str, value: Any) -> None:
    flat = pack_flat({key: value})
    assert not flat or bytes(flat) == bytes(pack({key: value}))
    if key == "order" and value in ("text", 7, True):
        assert flat
