"""`masfire govern check` and `schema`: what a policy says, before anything runs."""

from __future__ import annotations

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json


@click.command(name="check", epilog=EXIT_CODES)
@click.argument("policy", type=EXISTING)
@formatted
def check(policy: str, form: str) -> int:
    """Say in words what a POLICY allows, and what in it can never take effect.

    Ends with 1 when there is a warning (notes do not count), with 2 when the file is wrong: every mistake
    is then told with its place. Whether names are those of your agents and tools only recorded runs can
    tell: `masfire govern dry-run`.

    \b
    Example:
      masfire govern check policy.yaml
    """
    from masfire.governance import load_policy
    from masfire.governance.review import WARNING, review, rules_of
    from masfire.reporting.printable import printable

    read = load_policy(policy)
    rules, remarks = list(rules_of(read)), review(read)
    warnings = sum(remark.level == WARNING for remark in remarks)
    per_run = list(read.per_run())
    if form == "json":
        print_json({
            "rules": [{key: getattr(rule, key) for key in rule.__struct_fields__} for rule in rules],
            "per_run": per_run,
            "contracts": [contract.id for contract in read.contracts],
            "warnings": warnings,
            "findings": [{key: getattr(one, key) for key in one.__struct_fields__} for one in remarks],
        })  # fmt: skip
        return 1 if warnings else 0
    agent = ""
    for rule in rules:
        if rule.agent != agent:
            click.echo(printable(rule.agent))
            agent = rule.agent
        what = f"{rule.name}: {rule.says}" if rule.name else rule.says
        click.echo(f"  {rule.section:<12}  {printable(what)}")
    if read.contracts:
        click.echo("contracts: " + printable(", ".join(contract.id for contract in read.contracts)))
    if per_run:
        click.echo(f"{', '.join(per_run)} hold for one run: an action in no run is blocked")
    for remark in remarks:
        click.echo(printable(f"{policy}: {remark.level} {remark.where}: {remark.message}"))
    click.echo(f"{len(read.agents)} agents, {warnings} warnings, {len(remarks) - warnings} notes")
    return 1 if warnings else 0


@click.command(name="schema", epilog=EXIT_CODES)
def schema() -> None:
    """Print the JSON Schema of policy files, by which editors complete them.

    \b
    Example:
      masfire govern schema > policy.schema.json
      # first line of a policy file:
      # yaml-language-server: $schema=policy.schema.json
    """
    from masfire.governance.policyfile import schema as published

    print_json(published())
