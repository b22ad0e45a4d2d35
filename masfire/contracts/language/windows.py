"""How far back an operator looks: an amount and a unit."""

from __future__ import annotations

from masfire.contracts.language.fields import nearest
from masfire.contracts.language.syntax import Window

_UNITS = {
    "steps": ("steps", 1.0), "step": ("steps", 1.0),
    "seconds": ("seconds", 1.0), "second": ("seconds", 1.0), "secs": ("seconds", 1.0),
    "sec": ("seconds", 1.0), "s": ("seconds", 1.0), "ms": ("seconds", 0.001),
    "milliseconds": ("seconds", 0.001),
    "minutes": ("seconds", 60.0), "minute": ("seconds", 60.0), "min": ("seconds", 60.0),
    "m": ("seconds", 60.0),
    "hours": ("seconds", 3600.0), "hour": ("seconds", 3600.0),
    "h": ("seconds", 3600.0),
    "days": ("seconds", 86400.0), "day": ("seconds", 86400.0), "d": ("seconds", 86400.0),
}  # fmt: skip


def window(amount: float, unit: str) -> Window:
    """Return a window of `amount` `unit`s (steps, seconds, minutes, …); raise ValueError with the reason."""
    if unit not in _UNITS:
        raise ValueError(f"unknown unit {unit!r}.{nearest(unit, _UNITS)} Known: {', '.join(_UNITS)}")
    name, factor = _UNITS[unit]
    if amount <= 0:
        raise ValueError(f"a window of {amount:g} {unit} is empty; write a number above 0")
    if name == "steps" and amount != int(amount):
        raise ValueError(f"{amount:g} steps are no whole number of steps")
    return Window(amount * factor if factor != 1.0 else amount, name)
