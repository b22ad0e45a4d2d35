"""`masfire contracts`: look at contracts without running anything."""

from __future__ import annotations

import click

from masfire.cli import EXIT_CODES
from masfire.cli.contract_words import explain, test
from masfire.cli.options import EXISTING, formatted, print_json


@click.group(name="contracts", epilog=EXIT_CODES)
def command() -> None:
    """Check, explain and test contracts themselves.

    \b
    Example:
      masfire contracts lint contracts/
    """


@command.command(name="lint", epilog=EXIT_CODES)
@click.argument("sources", nargs=-1, required=True, metavar="FILE|DIR|PACK…")
@click.option(
    "--trace", "traces", multiple=True, type=EXISTING, help="A sample of what really happens (repeatable)."
)
@formatted
def lint(sources: tuple[str, ...], traces: tuple[str, ...], form: str) -> int:
    """Find contracts that can never fire, always fail, contradict or repeat each other.

    With sample traces also: names of tools and events that no sample shows, and contracts that none of
    them wakes. Ends with 1 when there is a warning (notes do not count), with 2 when a file is wrong.

    \b
    Examples:
      masfire contracts lint desk.yaml
      masfire contracts lint contracts/ --trace results/first/traces/3f2a.jsonl
    """
    from masfire.contracts.lint import NOTE, WARNING, Finding
    from masfire.contracts.lint import lint as look
    from masfire.contracts.loader import load_entries
    from masfire.reporting.printable import printable
    from masfire.trace.io import read_trace

    entries = load_entries(*sources)
    findings = look([entry.contract for entry in entries], traces=(read_trace(path) for path in traces))
    bare = "It has no examples: nothing shows that it can pass and fail."
    findings += [
        Finding("no-examples", entry.contract.id, entry.contract.where, bare, NOTE)
        for entry in entries
        if entry.examples is None
    ]
    warnings = sum(finding.level == WARNING for finding in findings)
    if form == "json":
        rows = [
            {key: getattr(finding, key) for key in ("rule", "level", "contract", "where", "message")}
            for finding in findings
        ]
        print_json({"contracts": len(entries), "warnings": warnings, "findings": rows})
    else:
        for finding in findings:
            text = f"{finding.where}: {finding.level} [{finding.rule}] {finding.contract}: {finding.message}"
            click.echo(printable(text))
        click.echo(f"{len(entries)} contracts, {warnings} warnings, {len(findings) - warnings} notes")
    return 1 if warnings else 0


@command.command(name="schema", epilog=EXIT_CODES)
def schema() -> None:
    """Print the JSON Schema of contract files, by which editors complete them.

    \b
    Example:
      masfire contracts schema > contract.schema.json
      # first line of a contract file:
      # yaml-language-server: $schema=contract.schema.json
    """
    from masfire.contracts.fileformat import contract_schema

    print_json(contract_schema())


command.add_command(explain)
command.add_command(test)
