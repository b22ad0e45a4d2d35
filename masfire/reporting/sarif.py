"""A check as SARIF 2.1.0, which code-scanning pages show."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from masfire import __version__
from masfire.contracts.model import Contract, Status, Verdict, Violation
from masfire.reporting.checked import Check, Checked
from masfire.reporting.printable import printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
MOST_RESULTS = 5_000
"""Results in one file: code-scanning services take no more in a run."""

_WHERE = re.compile(r"(.+?):(\d+)(?::(\d+))?")


def sarif(check: Check) -> dict[str, Any]:
    """Return the check as a SARIF log: contracts are rules, violations results.

    A violation's place is the line of its step in the trace file; related to it are the contract's own
    lines and the witnesses. What is inconclusive or pending is a result of kind `review` or `open`.
    """
    indexes = {contract.id: index for index, contract in enumerate(check.contracts)}
    results: list[dict[str, Any]] = []
    omitted = 0
    for one in check.checked:
        for verdict in one.verdicts:
            contract = check.contracts[indexes[verdict.contract]]
            for result in _results(one, verdict, contract):
                if len(results) < MOST_RESULTS:
                    results.append(result | {"ruleIndex": indexes[contract.id]})
                else:
                    omitted += 1
    driver = {
        "name": "masfire",
        "semanticVersion": __version__,
        "rules": [_rule(contract) for contract in check.contracts],
    }
    invocation = {
        "executionSuccessful": not any(one.damage for one in check.checked),
        "exitCode": check.exit_code,
        "toolExecutionNotifications": _notes(check, omitted),
    }
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run | {"columnKind": "unicodeCodePoints"}]}


def place_of(where: str) -> tuple[str, int, int]:
    """Return file, line and column of `file:line[:column]`; 0 for what it does not say."""
    found = _WHERE.fullmatch(where)
    if found is None:
        return where, 0, 0
    return found[1], int(found[2]), int(found[3] or 0)


def headline(violation: Violation, one: Checked) -> str:
    """Return a violation in one sentence."""
    at = "at the end" if violation.violated_at >= one.steps else f"at step {violation.violated_at}"
    if one.log and violation.violated_at in one.lines:
        at = f"at line {one.lines[violation.violated_at]}"
    who = f" by {printable(violation.agent, limit=60)}" if violation.agent else ""
    why = violation.reason or (f"{violation.formula} is false" if violation.formula else "")
    return f"{printable(violation.contract)} is violated {at}{who}" + (
        f": {printable(why, limit=500)}" if why else ""
    )


def _rule(contract: Contract) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": printable(contract.id),
        "shortDescription": {"text": printable(contract.description.strip() or contract.id, limit=1000)},
        "defaultConfiguration": {"level": LEVELS.get(contract.severity, "error")},
        "properties": {"tags": [printable(tag) for tag in contract.tags], "catches": list(contract.catches)},
    }
    return rule


def _results(one: Checked, verdict: Verdict, contract: Contract) -> Iterator[dict[str, Any]]:
    for violation in verdict.violations:
        yield {
            "ruleId": printable(contract.id),
            "kind": "fail",
            "level": LEVELS.get(violation.severity, "error"),
            "message": {"text": headline(violation, one)},
            "locations": [_location(one, violation.blame)],
            "relatedLocations": _related(one, violation, contract),
            "partialFingerprints": {"masfire/v1": _fingerprint(one, violation)},
            "properties": {"step": violation.violated_at, "blame": violation.blame},
        }
    if verdict.status in (Status.INCONCLUSIVE, Status.PENDING):
        cause = verdict.causes[0][0] if verdict.causes else "an obligation is open"
        yield {
            "ruleId": printable(contract.id),
            "kind": "review" if verdict.status is Status.INCONCLUSIVE else "open",
            "level": "none",
            "message": {
                "text": f"{printable(contract.id)} is {verdict.status.value}: {printable(cause, limit=500)}"
            },
            "locations": [_location(one, -1)],
        }


def _location(one: Checked, step: int) -> dict[str, Any]:
    artifact = {"uri": uri(one.source)}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": _line(one, step)}}}


def _line(one: Checked, step: int) -> int:
    return max(1, one.lines.get(step, 1))


def _related(one: Checked, violation: Violation, contract: Contract) -> list[dict[str, Any]]:
    file, line, column = place_of(violation.where or contract.where)
    region = {"startLine": max(1, line)} | ({"startColumn": column} if column else {})
    places = [{"uri": uri(file), "region": region, "text": "the contract"}] if file else []
    places += [
        {
            "uri": uri(one.source),
            "region": {"startLine": _line(one, witness.step)},
            "text": printable(f"step {witness.step}: {witness.text}", limit=300),
        }
        for witness in violation.witnesses[:20]
    ]
    return [
        {
            "id": number,
            "physicalLocation": {"artifactLocation": {"uri": place["uri"]}, "region": place["region"]},
            "message": {"text": place["text"]},
        }
        for number, place in enumerate(places, 1)
    ]


def uri(path: str) -> str:
    """Return a path as a URI reference: relative when it is, with everything odd escaped."""
    escaped = quote(path.replace("\\", "/").encode("utf-8", "surrogatepass"), safe="/-._~")
    return f"file://{escaped}" if path.startswith("/") else escaped


def _fingerprint(one: Checked, violation: Violation) -> str:
    parts = (violation.contract, one.source, str(violation.rule), str(violation.violated_at))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _notes(check: Check, omitted: int) -> list[dict[str, Any]]:
    texts = [f"{printable(name)} never applied" for name in check.never_applied]
    texts += [
        f"{printable(one.source)} is damaged: {printable(one.damage, limit=300)}"
        for one in check.checked
        if one.damage
    ]
    if omitted:
        texts.append(f"{omitted} more results were left out")
    return [{"level": "note", "message": {"text": text}} for text in texts]
