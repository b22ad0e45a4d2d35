"""Sentences about variables that are not bound, or whose unseen values would decide."""

from __future__ import annotations

from masfire.contracts.language.atoms import BARE
from masfire.contracts.language.fields import NAMES, OF_OUTCOME, nearest


def unbound(name: str) -> str:
    """Return what is wrong with a name that is neither a field nor bound."""
    constant = {"true": "true", "false": "false", "none": "null", "null": "null", "nil": "null"}.get(
        name.lower()
    )
    if constant:
        return f"{name!r} is no value; write {constant}"
    near = nearest(name, [*NAMES, *OF_OUTCOME, *BARE])
    return (
        f"{name!r} is neither a field of a step nor a variable that an atom binds.{near} "
        f"A text is quoted ('{name}'), a field of the arguments is args.{name}, "
        f"a variable is bound as in event('open', {name}) or tool('pay', order={name})"
    )


def unseen(name: str, word: str = "") -> str:
    """Return why a quantified formula cannot be monitored."""
    if word == "exists":
        return (
            f"'exists {name}' hangs on values of {name!r} that no step has shown: "
            f"for such a value this is not false. Quantifiers range over the values seen so far; "
            f"bind {name!r} in an atom that must have happened: exists {name}. once event('…', {name}) and …"
        )
    return (
        f"the truth hangs on values of {name!r} that no step has shown: for such a value this is not true. "
        f"Quantifiers range over the values seen so far; bind {name!r} before the arrow, "
        f"event('…', {name}) -> …, or write exists {name}."
    )
