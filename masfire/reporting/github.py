"""A check as annotations of GitHub Actions: one workflow command a violation."""

from __future__ import annotations

from collections.abc import Iterator

from masfire.contracts.model import Status
from masfire.reporting.checked import Check
from masfire.reporting.printable import printable
from masfire.reporting.sarif import headline, place_of

COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def github(check: Check) -> Iterator[str]:
    """Yield one line a violation, placed at its contract, where a reviewer can act on it.

    Inconclusive and pending contracts are warnings. Everything recorded is escaped, so that no text of
    a trace becomes a command.
    """
    named = {contract.id: contract for contract in check.contracts}
    for one in check.checked:
        for verdict in one.verdicts:
            where = named[verdict.contract].where
            for violation in verdict.violations:
                text = f"{headline(violation, one)} ({printable(one.source)})"
                yield _command(COMMANDS.get(violation.severity, "error"), where, verdict.contract, text)
            if verdict.status in (Status.INCONCLUSIVE, Status.PENDING):
                cause = verdict.causes[0][0] if verdict.causes else "an obligation is open"
                text = f"{verdict.status.value}: {printable(cause, limit=500)} ({printable(one.source)})"
                yield _command("warning", where, verdict.contract, text)
        if one.damage:
            yield _command("warning", one.source, "damaged trace", printable(one.damage, limit=500))


def _command(name: str, where: str, title: str, text: str) -> str:
    file, line, column = place_of(where)
    fields = {"file": file, "line": str(line or ""), "col": str(column or ""), "title": f"masfire: {title}"}
    told = ",".join(f"{key}={_property(printable(value))}" for key, value in fields.items() if value)
    return f"::{name} {told}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
