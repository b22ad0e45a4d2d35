"""`masfire contracts explain` and `masfire contracts test`: what contracts mean, and their own examples."""

from __future__ import annotations

from typing import Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import formatted, print_json


@click.command(name="explain", epilog=EXIT_CODES)
@click.argument("source", metavar="FILE|PACK")
@click.argument("ids", nargs=-1, metavar="[ID]…")
@formatted
def explain(source: str, ids: tuple[str, ...], form: str) -> None:
    """Say in plain words what contracts demand: all of a file or pack, or those named.

    \b
    Examples:
      masfire contracts explain messages
      masfire contracts explain desk.yaml refund-needs-login
    """
    from masfire.contracts.loader import load_contracts
    from masfire.contracts.plainly import explain as in_words
    from masfire.contracts.plainly import sentence_of
    from masfire.errors import UnknownName
    from masfire.reporting.printable import printable

    known = {contract.id: contract for contract in load_contracts(source)}
    for name in ids:
        if name not in known:
            raise UnknownName("contract", name, known, where=source)
    chosen = [known[name] for name in ids] or list(known.values())
    if form == "json":
        print_json(
            [
                {
                    "id": contract.id,
                    "where": contract.where,
                    "description": contract.description,
                    "rules": [sentence_of(rule) for rule in contract.rules],
                    "catches": list(contract.catches),
                    "severity": contract.severity,
                    "enforce": contract.enforce,
                }
                for contract in chosen
            ]
        )
        return
    click.echo("\n\n".join(printable(in_words(contract), lines=True) for contract in chosen))


@click.command(name="test", epilog=EXIT_CODES)
@click.argument("sources", nargs=-1, required=True, metavar="FILE|DIR|PACK…")
@formatted
def test(sources: tuple[str, ...], form: str) -> None:
    """Judge the contracts' own examples: clean is satisfied, violating violated, vacuous vacuous.

    Ends with 1 when an example is not what it promises, with 3 when there is no example at all.

    \b
    Examples:
      masfire contracts test desk.yaml
      masfire contracts test contracts/
    """
    from masfire.contracts.examples import judge_examples
    from masfire.contracts.loader import load_entries
    from masfire.reporting.printable import printable

    entries = load_entries(*sources)
    outcomes = [
        outcome
        for entry in entries
        if entry.examples is not None
        for outcome in judge_examples(entry.contract, entry.examples)
    ]
    bare = [entry.contract.id for entry in entries if not _count(entry.examples)]
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    if form == "json":
        rows: list[dict[str, Any]] = [
            {
                "contract": outcome.contract,
                "example": outcome.example,
                "status": outcome.status and outcome.status.value,
                "wrong": outcome.wrong,
                "where": outcome.where,
            }
            for outcome in outcomes
        ]
        print_json({"examples": rows, "without": bare, "failed": len(wrong)})
    else:
        for outcome in wrong:
            said = f"{outcome.where}: {outcome.contract}: the {outcome.example} example {outcome.wrong}"
            click.echo(printable(said))
        if bare:
            click.echo(f"Without examples: {', '.join(bare)}")
        click.echo(
            f"{len(outcomes)} examples of {len(entries)} contracts, {len(wrong)} not as promised"
            if outcomes
            else "No contract has an example: nothing was tested."
        )
    raise SystemExit(1 if wrong else 0 if outcomes else 3)


def _count(examples: Any) -> int:
    from masfire.contracts.examples import WANTED

    return 0 if examples is None else sum(getattr(examples, name) is not None for name in WANTED)
