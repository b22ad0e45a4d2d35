"""The named patterns by name, and the rules that each becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from masfire.contracts.language.selector import Selector
from masfire.contracts.language.syntax import Formula
from masfire.contracts.language.words import phrase, sentence
from masfire.contracts.model import Rule
from masfire.contracts.patterns import count, flow, order
from masfire.contracts.patterns.pattern import Pattern, Reader
from masfire.errors import UsageError
from masfire.registry import Registry

PATTERNS: Registry[Pattern] = Registry("pattern")
"""A pattern of one's own: an entry point in the group `masfire` named `pattern.<anything>`."""

for _module in (order, count, flow):
    for _pattern in _module.PATTERNS:
        PATTERNS.add(_pattern.name, _pattern, owner="masfire")


def rules_of_pattern(
    pattern: str, fields: Mapping[str, Any] | BaseModel, *, read: Reader | None = None, where: str = ""
) -> tuple[Rule, ...]:
    """Return the rules of a named pattern.

    `read` turns selectors and formulas into syntax trees (None: as a file's loader does). Raise
    UnknownName for the pattern, UsageError for fields that are missing, unknown or of the wrong type.
    """
    found = PATTERNS.get(pattern, where=where)
    try:
        values = fields if isinstance(fields, BaseModel) else found.fields.model_validate(dict(fields))
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, detail['loc'])) or pattern}: {detail['msg']}" for detail in error.errors()
        )
        raise UsageError(
            f"The fields of pattern {pattern!r} are wrong: {told}.",
            hint=f"Its fields are {', '.join(found.fields.model_fields)}.",
            where=where,
        ) from None
    reading, words = read or read_plainly, dict(values)

    def noting(value: Selector | str, field: str) -> Formula:
        formula = reading(value, field)
        words[field] = phrase(formula)
        return formula

    rules = found.build(values, noting)
    says = sentence(found.says, words) if found.says else ""
    return tuple(msgspec.structs.replace(rule, text=says) for rule in rules)


def read_plainly(value: Selector | str, field: str) -> Formula:
    """Return the formula of a selector or a formula's text, errors naming the field."""
    from masfire.contracts.language.formula import parse_condition, parse_formula
    from masfire.contracts.language.selector import formula_of

    if isinstance(value, str):
        return parse_formula(value, where=field, part=True)
    return formula_of(value, lambda text: parse_condition(text, where=field))
