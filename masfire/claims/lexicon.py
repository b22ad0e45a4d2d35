"""Word lists that claims are recognised by (English)."""

from __future__ import annotations

HEDGES = (
    "probably", "possibly", "perhaps", "maybe", "likely", "approximately", "roughly", "almost",
    "apparently", "presumably", "it seems that", "it seems", "it appears that", "i think", "i believe",
    "i am not sure but", "i'm not sure but", "as far as i know",
)  # fmt: skip
"""Words that weaken a claim; longer phrases are matched first."""

NEGATIONS = frozenset({"not", "no", "never", "none", "cannot", "without", "neither", "nor", "nothing"})

OPPOSITES = {
    "yes": "no", "true": "false", "approved": "rejected", "approve": "reject", "accepted": "refused",
    "accept": "refuse", "correct": "incorrect", "valid": "invalid", "available": "unavailable",
    "possible": "impossible", "success": "failure", "succeeded": "failed", "passed": "failed",
    "pass": "fail", "confirmed": "cancelled", "open": "closed", "enabled": "disabled", "increase": "decrease",
    "increased": "decreased", "higher": "lower", "more": "less", "before": "after", "first": "last",
    "all": "some", "always": "never", "ok": "failed", "in stock": "out of stock", "ready": "blocked",
    "same": "different", "safe": "unsafe", "early": "late", "large": "small", "good": "bad",
    "right": "wrong", "match": "mismatch", "matches": "contradicts", "complete": "incomplete",
}  # fmt: skip
"""Verdict words and their opposites (read both ways)."""

OPPOSITE = {**{right: left for left, right in OPPOSITES.items()}, **OPPOSITES}

MODALS = frozenset(
    """must shall should required require requires need needs only exactly least most never always before
    after until deadline by within cannot format limit maximum minimum not without unless if when""".split()  # noqa: SIM905 - a word list reads as text
)
"""Words that mark a constraint or a decision point."""

STOPWORDS = frozenset(
    """a an the this that these those and or but nor so yet for of in on at to from by with as is are was
    were be been being am do does did done have has had having will would can could may might must shall
    should i you he she it we they me him her us them my your his its our their mine yours what which who
    whom whose when where why how if then than there here please thanks thank dear hello hi regards sincerely
    yes no not ok okay also just very too into onto over under out up down off about after before each every
    any all some more most other such only own same again once both few new let next first second third
    finally""".split()  # noqa: SIM905 - a word list reads as text
)
"""Function words and courtesies that state nothing."""

_DAYS = (
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
     "november", "december"),
    ("today", "tomorrow", "yesterday"),
)  # fmt: skip
_GOODS = (
    ("chair", "table", "lamp", "desk", "shelf", "sofa", "mirror", "clock"),
    ("chairs", "tables", "lamps", "desks", "shelves", "sofas", "mirrors", "clocks"),
)
_NUMERALS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip

CLASSES: tuple[tuple[str, ...], ...] = (
    *_DAYS, *_GOODS, _NUMERALS,
    ("red", "blue", "green", "yellow", "black", "white", "brown", "grey", "orange", "purple"),
    ("small", "medium", "large"),
    ("berlin", "paris", "london", "rome", "madrid", "vienna", "zurich", "oslo", "lisbon", "prague", "dublin",
     "geneva", "munich", "hamburg", "milan"),
    ("germany", "france", "italy", "spain", "austria", "switzerland", "norway", "portugal", "ireland"),
    ("usd", "eur", "gbp", "chf", "jpy"), ("kg", "g", "lb", "oz"), ("km", "m", "cm", "mm", "mile", "miles"),
    ("second", "minute", "hour", "day", "week", "month", "year"),
    ("seconds", "minutes", "hours", "days", "weeks", "months", "years"),
    ("low", "normal", "high", "urgent"), ("north", "south", "east", "west"),
    ("alice", "bob", "carol", "david", "emma", "frank", "grace", "henry"),
    ("add", "subtract", "multiply", "divide"), ("sum", "difference", "product", "quotient"),
)  # fmt: skip
"""Words that can plausibly be mistaken for one another."""

TIMES = frozenset(word for members in _DAYS for word in members)
GOODS = frozenset(word for members in _GOODS for word in members)
