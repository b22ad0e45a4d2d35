"""The state of monitors as JSON, and back."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import msgspec

from masfire.contracts.model import Violation, Witness
from masfire.contracts.tables import NEVER
from masfire.contracts.values import FOREIGN, MISSING
from masfire.contracts.view import View
from masfire.trace.model import Step

_SCALARS = (str, bool, type(None))
_step_encoder = msgspec.json.Encoder()
_step_decoder = msgspec.json.Decoder(Step)


def dump(value: Any) -> Any:
    """Return a JSON value that `load` turns back into an equal state."""
    if isinstance(value, _SCALARS):
        return value
    if type(value) is int:
        return value if -(2**53) < value < 2**53 else {"n": str(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"f": repr(value)}
    if type(value) is list:
        return [dump(part) for part in value]
    if type(value) is tuple:
        return {"t": [dump(part) for part in value]}
    if type(value) is deque:
        return {"q": [dump(part) for part in value]}
    if type(value) is dict:
        return {"d": [[dump(key), dump(part)] for key, part in value.items()]}
    if value is MISSING or value is FOREIGN:
        return {"a": value is FOREIGN}
    if isinstance(value, View):
        return {"v": [dump(value.step), dump(value.call), value.time]}
    if isinstance(value, Step):
        return {"s": _step_encoder.encode(value).decode("utf-8", "surrogateescape")}
    if isinstance(value, Violation):
        return {"w": [dump(getattr(value, name)) for name in Violation.__struct_fields__]}
    if isinstance(value, Witness):
        return {"x": [value.step, value.text]}
    raise TypeError(f"A {type(value).__name__} is no part of a monitor's state.")


def load(value: Any) -> Any:
    """Return the state that `dump` wrote."""
    if type(value) is list:
        return [load(part) for part in value]
    if type(value) is not dict:
        return value
    ((tag, inner),) = value.items()
    if tag == "n":
        return int(inner)
    if tag == "f":
        return float(inner)
    if tag == "t":
        found = tuple(load(part) for part in inner)
        return NEVER if found == NEVER else found
    if tag == "q":
        return deque(load(part) for part in inner)
    if tag == "d":
        return {load(key): load(part) for key, part in inner}
    return _load_object(tag, inner)


def _load_object(tag: str, inner: Any) -> Any:
    if tag == "a":
        return FOREIGN if inner else MISSING
    if tag == "v":
        return View(load(inner[0]), load(inner[1]), inner[2])
    if tag == "s":
        return _step_decoder.decode(inner.encode("utf-8", "surrogateescape"))
    if tag == "w":
        return Violation(*map(load, inner))
    return Witness(*inner)
