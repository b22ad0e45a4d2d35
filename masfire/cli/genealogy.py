"""`masfire genealogy`: which claim came from which, as a graph or in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING

if TYPE_CHECKING:
    from masfire.genealogy.seed import Seed
    from masfire.trace.model import Trace


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
    help="What the result is; graphml and dot only of a whole graph.",
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

    Edges that the trace declares and edges inferred from texts are told apart. --follow, --codeword,
    --against and --messages each show something else, so one of them at a time. Exits with 3 when the claim
    that is followed was never taken over.

    \b
    Examples:
      masfire genealogy run.jsonl --format dot --out claims.dot
      masfire genealogy run.jsonl --follow '{"city": "Oslo"}'
      masfire genealogy attacked.jsonl --against clean.jsonl
    """  # fmt: skip
    from masfire.trace.io import read_trace

    _refuse_mixture(messages=messages, follow=follow, codeword=codeword, against=against, form=form)
    found = read_trace(trace).blind()
    code = 0
    if against is not None:
        text = _compared(read_trace(against).blind(), found, form)
    elif follow is not None or codeword is not None:
        text, code = _followed(found, _seed(follow, codeword), form)
    else:
        text = _graph(found, form, messages=messages)
    if out:
        Path(out).write_text(f"{text}\n", encoding="utf-8")
    else:
        click.echo(text)
    return code


def _refuse_mixture(
    *, messages: bool, follow: str | None, codeword: str | None, against: str | None, form: str
) -> None:
    """Raise UsageError for options of which one would have to be ignored."""
    from masfire.errors import UsageError

    asked = {
        "--messages": messages,
        "--follow": follow is not None,
        "--codeword": codeword is not None,
        "--against": against is not None,
    }
    given = [name for name, wanted in asked.items() if wanted]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} ask for different things.", hint="Use one of them.")
    if form in ("graphml", "dot") and given not in ([], ["--messages"]):
        raise UsageError(
            f"{given[0]} makes no graph, so --format {form} has nothing to write.", hint="Use text or json."
        )


def _seed(follow: str | None, codeword: str | None) -> Seed:
    import json

    from masfire.errors import UsageError
    from masfire.genealogy.seed import Seed

    claim: Any = follow
    text = (follow or "").strip()
    if text.startswith("{") or (text.startswith("[") and text.endswith("]")):
        try:
            claim = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"--follow looks like JSON and is none: {error}.",
                hint='Write for example \'{"city": "Oslo"}\', or a sentence.',
            ) from None
    return Seed(codeword=codeword or "", claim=claim)


def _graph(found: Trace, form: str, *, messages: bool) -> str:
    from masfire.genealogy.export import FORMATS
    from masfire.genealogy.graph import claim_graph, message_graph
    from masfire.reporting.cascade import graph_lines, message_lines

    if messages and form == "text":
        return "\n".join(message_lines(found))
    graph = message_graph(found) if messages else claim_graph(found)
    return "\n".join(graph_lines(graph)) if form == "text" else FORMATS[form](graph)


def _followed(found: Trace, seed: Seed, form: str) -> tuple[str, int]:
    import json

    import msgspec

    from masfire.genealogy.cascade import measure
    from masfire.reporting.cascade import cascade_lines

    cascade = measure(found, seed)
    code = 0 if cascade.reached else 3
    if form == "json":
        content = {"final": cascade.final, "peak": cascade.peak, **msgspec.to_builtins(cascade)}
        return json.dumps(content, indent=2), code
    return "\n".join(cascade_lines(cascade)), code


def _compared(clean: Trace, found: Trace, form: str) -> str:
    import json

    import msgspec

    from masfire.genealogy.cascade import compare
    from masfire.reporting.cascade import comparison_lines

    result = compare(clean, found)
    warning = ""
    if bytes(clean.header.task) != bytes(found.header.task):
        warning = "the two runs had different tasks, so differences may come from these"
        click.echo(f"masfire: {warning}", err=True)
    if form == "json":
        return json.dumps(msgspec.to_builtins(result) | {"warning": warning}, indent=2)
    return "\n".join(comparison_lines(result))
