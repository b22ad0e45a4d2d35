"""A check as plain JSON values: every verdict, and every violating step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from masfire.contracts.model import Contract, Verdict, Violation
from masfire.reporting.checked import Check, Checked, violating

CHECK_VERSION = "check/v1"


def json_lines(check: Check) -> Iterator[str]:
    """Yield the lines of a JSON text that says what `as_json` does, a violation a line.

    A log may hold a million violations: they are written down one by one.
    """
    yield _opened(_head(check), "traces")
    for place, one in enumerate(check.checked):
        yield ("  " if place == 0 else "  ,") + _opened(_trace(one), "contracts")
        for number, verdict in enumerate(one.verdicts):
            yield ("    " if number == 0 else "    ,") + _opened(_verdict(verdict, one), "violations")
            for index, violation in enumerate(verdict.violations):
                yield ("      " if index == 0 else "      ,") + json.dumps(_violation(violation, one))
            yield "    ]}"
        yield "  ]}"
    yield "]}"


def _opened(values: dict[str, Any], last: str) -> str:
    """Return an object's JSON text left open, in a list under its `last` key."""
    return f"{json.dumps(values)[:-1]}, {json.dumps(last)}: ["


def as_json(check: Check) -> dict[str, Any]:
    """Return the check as values that JSON holds.

    Steps are 0-based, lines of logs 1-based; the end of a run counts as the step, or line, after the
    last. `violating_steps` and `violating_lines` list each place once, `violations` everything that is
    violated there.
    """
    return {**_head(check), "traces": [_checked(one) for one in check.checked]}


def _head(check: Check) -> dict[str, Any]:
    return {
        "masfire": CHECK_VERSION,
        "exit_code": check.exit_code,
        "contracts": [_contract(contract) for contract in check.contracts],
        "never_applied": list(check.never_applied),
        "inconclusive": check.causes,
    }


def _contract(contract: Contract) -> dict[str, Any]:
    names = ("id", "where", "description", "severity", "enforce", "catches", "pattern", "tags")
    return {name: msgspec.to_builtins(getattr(contract, name)) for name in names}


def _checked(one: Checked) -> dict[str, Any]:
    verdicts = [
        {**_verdict(verdict, one), "violations": [_violation(item, one) for item in verdict.violations]}
        for verdict in one.verdicts
    ]
    return {**_trace(one), "contracts": verdicts}


def _trace(one: Checked) -> dict[str, Any]:
    return {
        "trace": one.source,
        "status": one.status.value,
        "steps": one.steps,
        "ended": one.ended,
        "damage": one.damage,
    }


def _verdict(verdict: Verdict, one: Checked) -> dict[str, Any]:
    steps = violating(verdict)
    found: dict[str, Any] = {
        "contract": verdict.contract,
        "status": verdict.status.value,
        "severity": verdict.severity,
        "applied": verdict.applied,
        "inconclusive": verdict.inconclusive,
        "causes": dict(verdict.causes),
        "violating_steps": steps,
    }
    if one.log:
        found["violating_lines"] = [one.lines[step] for step in steps]
    return found


def _violation(found: Violation, one: Checked) -> dict[str, Any]:
    told: dict[str, Any] = {"step": found.violated_at, "blame": found.blame}
    if found.violated_at in one.lines:
        told["line"] = one.lines[found.violated_at]
    if found.blame in one.lines:
        told["blame_line"] = one.lines[found.blame]
    return told | {
        "agent": found.agent,
        "role": found.role,
        "severity": found.severity,
        "rule": found.rule,
        "binding": {name: _plain(value) for name, value in found.binding},
        "formula": found.formula,
        "saw": [[name, _plain(value)] for name, value in found.saw],
        "witnesses": [
            {"step": witness.step, "text": witness.text}
            | ({"line": one.lines[witness.step]} if witness.step in one.lines else {})
            for witness in found.witnesses
        ],
        "path": list(found.path),
        "reason": found.reason,
        "where": found.where,
    }


def _plain(value: Any) -> Any:
    try:
        return msgspec.to_builtins(value, enc_hook=str)
    except (TypeError, ValueError, RecursionError):
        return str(value)
