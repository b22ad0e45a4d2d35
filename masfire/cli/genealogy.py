"""`masfire genealogy`: which claim came from which, as a graph or in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, print_json

if TYPE_CHECKING:
    from masfire.genealogy.seed import Seed


@click.command(name="genealogy", epilog=EXIT_CODES)
@click.argument("trace", type=EXISTING)
@click.option("--messages", is_flag=True, help="The graph of steps (declared edges) instead of claims.")
@click.option(
    "--follow", metavar="CLAIM", help='Follow a claim: a text, or JSON such as \'{"city":"Oslo"}\'.'
)
@click.option("--codeword", metavar="WORD", help="Follow a codeword, literally.")
@click.option(
    "--against", type=EXISTING, help="A clean run of the same task: say what appeared and vanished."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "graphml", "dot"]),
    default="text",
    show_default=True,
    help="How to print the result; with --follow text or json.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="Write to this file.")
def command(
    trace: str,
    messages: bool,
    follow: str | None,
    codeword: str | None,
    against: str | None,
    form: str,
    out: str | None,
) -> int:
    """Show the genealogy of a TRACE's claims, or how far one of them came.

    Edges that the trace declares and edges inferred from texts are told apart. Exits with 3 when the
    claim that is followed was never taken over.

    \b
    Examples:
      masfire genealogy run.jsonl --format dot --out claims.dot
      masfire genealogy run.jsonl --follow '{"city": "Oslo"}'
    """  # fmt: skip
    from masfire.genealogy.graph import claim_graph, message_graph
    from masfire.trace.io import read_trace

    found = read_trace(trace).blind()
    if against is not None:
        return _compare(read_trace(against).blind(), found, form)
    if follow is not None or codeword is not None:
        return _follow(found, _seed(follow, codeword), form)
    graph = message_graph(found) if messages else claim_graph(found)
    if form == "text":
        from masfire.reporting.cascade import graph_lines

        text = "\n".join(graph_lines(graph))
    else:
        from masfire.genealogy.export import FORMATS

        text = FORMATS[form](graph)
    if out:
        Path(out).write_text(text, encoding="utf-8")
    else:
        click.echo(text)
    return 0


def _seed(follow: str | None, codeword: str | None) -> Seed:
    import json

    from masfire.genealogy.seed import Seed

    claim: Any = follow
    if follow is not None and follow.lstrip()[:1] in ("{", "["):
        try:
            claim = json.loads(follow)
        except (ValueError, RecursionError):
            claim = follow
    return Seed(codeword=codeword or "", claim=claim)


def _follow(found: Any, seed: Seed, form: str) -> int:
    import msgspec

    from masfire.genealogy.cascade import measure
    from masfire.reporting.cascade import cascade_lines

    cascade = measure(found, seed)
    if form == "json":
        print_json({"final": cascade.final, "peak": cascade.peak, **msgspec.to_builtins(cascade)})
    else:
        for line in cascade_lines(cascade):
            click.echo(line)
    return 0 if cascade.reached else 3


def _compare(clean: Any, found: Any, form: str) -> int:
    import msgspec

    from masfire.genealogy.cascade import compare
    from masfire.reporting.printable import printable

    result = compare(clean, found)
    if form == "json":
        print_json(msgspec.to_builtins(result))
        return 0
    for mark, side in (("+", result.appeared), ("-", result.vanished)):
        for agent, text in side:
            click.echo(f"{mark} {printable(agent)}: {printable(text, limit=100)}")
    return 0
