"""`masfire show`: a trace, told step by step."""

from __future__ import annotations

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json


@click.command(name="show", epilog=EXIT_CODES)
@click.argument("trace", type=EXISTING)
@click.option("--truth", is_flag=True, help="Show where faults were injected (hidden otherwise).")
@formatted
def command(trace: str, truth: bool, form: str) -> int:
    """Tell a TRACE step by step.

    A damaged trace is shown as far as it is good, with exit code 3.

    \b
    Example:
      masfire show results/first/traces/2f8c06025c51e928.jsonl --truth
    """
    from masfire.analysis import analyze
    from masfire.errors import TraceError
    from masfire.reporting.printable import printable
    from masfire.reporting.story import as_json, story
    from masfire.trace.io import read_trace
    from masfire.trace.model import Trace

    damage = ""
    try:
        found = read_trace(trace)
    except TraceError as error:
        if not isinstance(error.prefix, Trace):
            raise
        found, damage = error.prefix, str(error)
    report = analyze(found)
    if form == "json":
        print_json(as_json(found, report, truth=truth) | {"damage": damage})
    else:
        for line in story(found, report, truth=truth):
            click.echo(line)
    if damage:
        click.echo(f"masfire: {printable(damage)}", err=True)
    return 3 if damage else 0
