"""`masfire memory`: what was learnt, to read, to review, to pass on, to thin out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from masfire.cli import EXIT_CODES
from masfire.cli.learn import DEFAULT
from masfire.cli.options import formatted, print_json

if TYPE_CHECKING:
    from masfire.knowledge.model import ErrorSchema, MistakeNote
    from masfire.knowledge.postgres import PostgresStore
    from masfire.knowledge.store import SqliteStore

_where = click.option(
    "--memory", "where", default=DEFAULT, show_default=True, metavar="FILE|URL",
    help="A SQLite file, or postgresql://… for a shared memory.",
)  # fmt: skip


@click.group(name="memory", epilog=EXIT_CODES)
def command() -> None:
    """Look at and look after what `masfire learn` has remembered.

    \b
    Example:
      masfire memory list
      masfire memory export lessons.yaml
    """


@command.command(name="list", epilog=EXIT_CODES)
@_where
@formatted
def list_(where: str, form: str) -> int:
    """List notes with their trials, and schemata with how often they were seen.

    \b
    Example:
      masfire memory list --format json
    """
    import msgspec

    with _opened(where) as store:
        notes, schemata = _held(store)
    if form == "json":
        print_json({"notes": msgspec.to_builtins(notes), "schemata": msgspec.to_builtins(schemata)})
        return 0
    for note in notes:
        _tell_note(note)
    for schema in schemata:
        _tell_schema(schema)
    if not notes and not schemata:
        click.echo("Nothing has been learnt yet. `masfire learn DIR` learns from failed runs.")
    return 0


def _tell_note(note: MistakeNote) -> None:
    from masfire.reporting.printable import printable

    trial = note.trial
    score = "not tried"
    if trial is not None:
        score = f"{trial.wins} wins, {trial.losses} losses of {len(trial.batch)} as a {trial.way}"
    click.echo(printable(f"{note.status:>8}  {note.subject.key}  from {note.support}, {score}", limit=240))
    click.echo(printable(f"          {note.mistake}", limit=240))
    for reason in trial.reasons if trial is not None else ():
        click.echo(printable(f"          rejected: {reason}", limit=240))


def _tell_schema(schema: ErrorSchema) -> None:
    from masfire.reporting.printable import printable

    sure = "" if schema.precision is None else f", right {schema.precision:.0%} of the time on stored runs"
    what = "general" if schema.general else " schema"
    line = f" {what}  {schema.id}  {schema.fault}/{schema.role or '-'}  seen {schema.support}{sure}"
    click.echo(printable(line, limit=240))
    click.echo(printable(f"          {', '.join(schema.signature.traits[:5])}", limit=240))


@command.command(name="export", epilog=EXIT_CODES)
@click.argument("out", type=click.Path(dir_okay=False))
@_where
def export(out: str, where: str) -> int:
    """Write all lessons to OUT: YAML that can be imported again, or Markdown (.md) to read.

    \b
    Example:
      masfire memory export lessons.md
    """
    from masfire.errors import UsageError
    from masfire.knowledge.export import to_markdown, to_yaml

    if Path(out).suffix not in (".md", ".yaml", ".yml"):
        raise UsageError(f"{out} says no format.", hint="Name it .yaml (to import again) or .md (to read).")
    with _opened(where) as store:
        notes, schemata = _held(store)
    if not notes and not schemata:
        raise UsageError(f"The memory {where} holds nothing to export.", hint="`masfire learn DIR` fills it.")
    write = to_markdown if out.endswith(".md") else to_yaml
    Path(out).write_text(write(schemata, notes), encoding="utf-8")
    click.echo(out)
    return 0


@command.command(name="import", epilog=EXIT_CODES)
@click.argument("lessons", type=click.Path(exists=True, dir_okay=False))
@_where
def import_(lessons: str, where: str) -> int:
    """Add the lessons of a YAML file, reviewed by you: an accepted note in it is believed.

    \b
    Example:
      masfire memory import lessons.yaml --memory postgresql://db.example/agents
    """
    from masfire.knowledge.export import MAX_BYTES, from_yaml
    from masfire.knowledge.opening import open_store

    with Path(lessons).open("rb") as stream:
        text = stream.read(MAX_BYTES + 1).decode("utf-8", "replace")
    read = from_yaml(text, where=lessons)
    with open_store(where) as store:
        notes, schemata = _held(store)
        known = {note.id for note in notes} | {schema.id for schema in schemata}
        store.put(*read.schemata, *read.notes)
        for name in [schema.id for schema in read.schemata] + [note.id for note in read.notes]:
            store.log("imported", entry=name, why=lessons)
    new_schemata = sum(one.id not in known for one in read.schemata)
    new_notes = sum(one.id not in known for one in read.notes)
    click.echo(
        f"{len(read.schemata)} schemata ({new_schemata} new), {len(read.notes)} notes ({new_notes} new)"
    )
    return 0


@command.command(name="forget", epilog=EXIT_CODES)
@click.option("--keep", type=click.IntRange(1), required=True, help="How many schemata stay.")
@_where
def forget(keep: int, where: str) -> int:
    """Delete the least used schemata beyond --keep; the last one of a fault always stays.

    \b
    Example:
      masfire memory forget --keep 1000
    """
    from masfire.knowledge.memory import Memory

    with _opened(where) as store:
        click.echo(f"{len(Memory(store).forget(keep))} schemata forgotten")
    return 0


def _opened(where: str) -> SqliteStore | PostgresStore:
    """Return the store of a memory that is there; raise UsageError for a file that is not."""
    from masfire.knowledge.opening import existing, open_store

    return open_store(existing(where))


def _held(store: SqliteStore | PostgresStore) -> tuple[list[MistakeNote], list[ErrorSchema]]:
    return list(store.notes()), list(store.schemata())
