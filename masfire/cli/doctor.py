"""`masfire doctor`: what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json

if TYPE_CHECKING:
    from masfire.campaign.checkup import Finding


@click.command(name="doctor", epilog=EXIT_CODES)
@click.argument("file", type=EXISTING, required=False)
@formatted
def command(file: str | None, form: str) -> int:
    """Say what is missing on this machine, for a plan, or in a trace (FILE).

    For a plan: is everything installed and importable that it needs. For a trace: is it rich enough for
    contracts, genealogy and diagnosis. Exits with 3 when something needed is missing.

    \b
    Example:
      masfire doctor plan.yaml
    """
    import msgspec

    from masfire.reporting.printable import printable

    findings = list(_look(file))
    bad = any(finding.needed and not finding.ok for finding in findings)
    if form == "json":
        print_json({"ok": not bad, "findings": msgspec.to_builtins(findings)})
        return 3 if bad else 0
    for finding in findings:
        mark = "ok     " if finding.ok else "MISSING" if finding.needed else "absent "
        detail = f": {printable(finding.detail, limit=300)}" if finding.detail else ""
        click.echo(f"{mark}  {printable(finding.what)}{detail}")
        if not finding.ok and finding.remedy:
            click.echo(f"         {printable(finding.remedy)}")
    return 3 if bad else 0


def _look(file: str | None) -> Iterator[Finding]:
    from masfire.campaign import checkup

    if file is None:
        yield from checkup.check_machine()
        return
    with Path(file).open("rb") as start:
        is_trace = start.read(1) == b"{" or file.endswith(".jsonl")
    if is_trace:
        from masfire.trace.io import read_trace

        yield from checkup.check_trace(read_trace(file))
        return
    from masfire.campaign.attack import load_attack
    from masfire.campaign.planfile import load_plan
    from masfire.yamlfile import kind_of, read_text

    attack = kind_of(read_text(Path(file), "plan")) == "attack"
    yield from checkup.check_plan(load_attack(file).plain() if attack else load_plan(file))
