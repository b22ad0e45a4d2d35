"""`masfire check`: traces and event logs, judged by contracts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES

if TYPE_CHECKING:
    from masfire.contracts.model import Contract
    from masfire.reporting.checked import Check, Checked

_FORMS = ("text", "json", "sarif", "junit", "github")


@click.command(name="check", epilog=EXIT_CODES)
@click.argument(
    "traces", metavar="TRACE...", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True)
)
@click.option(
    "--contracts",
    "named",
    required=True,
    multiple=True,
    metavar="FILE|DIR|PACK",
    help="A contract file, a folder of them, or the name of a shipped pack ('all': every pack); repeatable.",
)
@click.option("--format", "form", type=click.Choice(_FORMS), default="text", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), help="Write the result to this file.")
@click.option(
    "--format-in",
    type=click.Choice(["trace", "events", "jsonl"]),
    default="trace",
    show_default=True,
    help="What TRACE is: a trace of masfire, a log of lines name,arg1,arg2,…, or JSON Lines.",
)
@click.option(
    "--time-column",
    type=int,
    metavar="N",
    help="Of events: the column that holds the time, from 0 (the name's, usually); -1 is the last.",
)
@click.option(
    "--map",
    "fields",
    metavar="FIELD=PATH,...",
    multiple=True,
    help="Of JSON Lines: which field is the event's name, agent, role, time, args (dotted: within).",
)
def command(
    traces: Sequence[str],
    named: Sequence[str],
    form: str,
    out: str | None,
    format_in: str,
    time_column: int | None,
    fields: Sequence[str],
) -> int:
    """Judge every TRACE by contracts and say at which steps which of them is violated.

    A folder stands for the traces (*.jsonl) in it. Of an event log, lines are named, counted from 1.
    Contracts never see which faults were injected. 3 is returned when nothing is violated, but
    something could not be judged, or not one contract applied.

    \b
    Examples:
      masfire check results/first/traces --contracts contracts/desk.yaml
      masfire check run.jsonl --contracts termination --contracts tools --format sarif --out run.sarif
      masfire check access.log --contracts access.yaml --format-in events --time-column -1
      masfire check app.jsonl --contracts pay.yaml --format-in jsonl --map name=type,time=ts,args=payload
    """
    from masfire.checking import resolve
    from masfire.errors import UsageError
    from masfire.reporting.checked import Check

    contracts = resolve(named)
    if not contracts:
        raise UsageError(f"{', '.join(named)} holds no contract.")
    _refuse_misfits(format_in, time_column, fields)
    options = {"form": format_in, "time_column": time_column, "fields": _mapped(fields)}
    checked = tuple(_checked(path, contracts, options) for path in _sources(traces, format_in))
    check = Check(contracts, checked)
    _write(_lines(check, form), out)
    return check.exit_code


def _checked(path: str, contracts: Sequence[Contract], options: dict[str, Any]) -> Checked:
    from masfire.checking import check_file, check_log
    from masfire.errors import NoTrace

    if options["form"] == "trace":
        try:
            return check_file(path, contracts)
        except NoTrace as error:
            form = "jsonl" if error.begins.lstrip().startswith(b"{") else "events"
            error.hint = f"If it is the log of another program, add --format-in {form}."
            raise
    from masfire.adapters.events import EventLog

    return check_log(EventLog(path, **options), contracts)


def _sources(traces: Sequence[str], format_in: str) -> Iterator[str]:
    from masfire.errors import UsageError

    for path in traces:
        if path == "-" and format_in == "trace":
            raise UsageError(
                "A trace is read from a file, not from standard input.",
                hint="Event logs may be: --format-in events.",
            )
        if path == "-" or not os.path.isdir(path):
            yield path
            continue
        inside = sorted(Path(path).glob("*.jsonl"))
        if not inside:
            raise UsageError(f"There is no trace (*.jsonl) in {path}.")
        yield from map(str, inside)


def _refuse_misfits(format_in: str, time_column: int | None, fields: Sequence[str]) -> None:
    from masfire.errors import UsageError

    if time_column is not None and format_in != "events":
        raise UsageError("--time-column is for --format-in events.")
    if fields and format_in != "jsonl":
        raise UsageError("--map is for --format-in jsonl.")


def _mapped(fields: Sequence[str]) -> dict[str, str]:
    from masfire.errors import UsageError

    found: dict[str, str] = {}
    for part in (part.strip() for text in fields for part in text.split(",")):
        name, equals, path = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not path:
            raise UsageError(f"--map {part!r} cannot be read.", hint="Write --map name=type,args=payload.")
        if name in found:
            raise UsageError(f"--map names {name!r} twice.")
        found[name] = path
    return found


def _lines(check: Check, form: str) -> Iterator[str]:
    if form == "text":
        from masfire.reporting.violations import check_lines

        yield from check_lines(check)
    elif form == "github":
        from masfire.reporting.github import github

        yield from github(check)
    elif form == "junit":
        from masfire.reporting.junit import junit

        yield junit(check).rstrip("\n")
    elif form == "sarif":
        from masfire.reporting.sarif import sarif

        yield json.dumps(sarif(check), indent=2, ensure_ascii=True)
    else:
        from masfire.reporting.verdicts import json_lines

        yield from json_lines(check)


def _write(lines: Iterator[str], out: str | None) -> None:
    if out is None:
        for line in lines:
            click.echo(line)
        return
    path = Path(out)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
