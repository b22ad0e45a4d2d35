"""A contract in plain words."""

from __future__ import annotations

import json

from masfire.contracts.language.show import show, show_path
from masfire.contracts.language.syntax import Formula, Implies
from masfire.contracts.language.words import phrase, window_words
from masfire.contracts.model import Always, AtEnd, Contract, Judge, Payload, Response, Retire, Rule

_ENFORCED = {
    "block": "an action that would violate it is blocked",
    "rewrite": "an action that would violate it is made harmless",
    "warn": "an action that would violate it is let through, with a warning",
}


def explain(contract: Contract) -> str:
    """Return what a contract demands, of whom, and what happens when it is violated, as some lines."""
    lines = [contract.id + (f": {contract.description}" if contract.description else "")]
    lines += [f"  {line}" for line in dict.fromkeys(map(sentence_of, contract.rules))]
    if contract.key:
        fields = " and ".join(map(show_path, contract.key))
        lines.append(f"  For each {fields} by itself; steps without it are passed over.")
    if contract.order == "causal":
        lines.append("  Earlier means: among the causes of a step, whatever else happens at the same time.")
    if contract.retire is not None:
        lines.append(f"  {_retired(contract.retire)}")
    lines += [f"  Formula: {text}" for text in _formulas(contract)]
    if contract.catches:
        lines.append(f"  Meant to notice: {', '.join(contract.catches)}.")
    lines.append(f"  Severity {contract.severity}; under governance {_ENFORCED[contract.enforce]}.")
    if contract.where:
        lines.append(f"  Written at {contract.where}.")
    return "\n".join(lines)


def sentence_of(rule: Rule) -> str:
    """Return one rule as a sentence."""
    if rule.text.endswith("."):
        return rule.text
    if isinstance(rule, Always):
        return _capital(_always(rule.formula))
    if isinstance(rule, Response):
        when = f"within {window_words(rule.within)}" if rule.within else "later, before the run ends"
        return f"Whenever {phrase(rule.trigger)}, there is {phrase(rule.response)} {when}."
    if isinstance(rule, AtEnd):
        applies = f", if ever {phrase(rule.applies)}" if rule.applies is not None else ""
        return f"When the run ends, {phrase(rule.formula)}{applies}."
    if isinstance(rule, Payload):
        schema = json.dumps(rule.schema, ensure_ascii=False)
        return f"In {phrase(rule.when)}, {show_path(rule.path)} fits the JSON Schema {schema}."
    if isinstance(rule, Judge):
        return f"In {phrase(rule.when)}, the function {_named(rule.function)} agrees."
    return rule.text or f"A monitor of its own judges: {_named(rule.make)}."


def _always(formula: Formula) -> str:
    if isinstance(formula, Implies):
        return f"whenever {phrase(formula.left)}: {phrase(formula.right)}."
    return f"at every step: {phrase(formula)}."


def _formulas(contract: Contract) -> list[str]:
    shown: list[str] = []
    for rule in contract.rules:
        if isinstance(rule, (Always, AtEnd)):
            shown.append(show(rule.formula))
        elif isinstance(rule, Response):
            shown += [f"{show(rule.trigger)}, answered by {show(rule.response)}"]
    return shown


def _retired(retire: Retire) -> str:
    ways = []
    if retire.at is not None:
        ways.append(f"at {phrase(retire.at)}")
    if retire.after is not None:
        ways.append(f"after {window_words(retire.after)} of silence")
    if retire.keys:
        ways.append(f"when there are more than {retire.keys}, the oldest first")
    return f"A key is forgotten {' or '.join(ways)}."


def _named(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
