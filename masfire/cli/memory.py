"""`masfire memory`: what was learnt, to read, to review, to pass on, to thin out."""

from __future__ import annotations

from pathlib import Path

import click

from masfire.cli import EXIT_CODES
from masfire.cli.learn import DEFAULT
from masfire.cli.options import formatted, print_json

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

    from masfire.knowledge.opening import open_store
    from masfire.reporting.printable import printable

    with open_store(_existing(where)) as store:
        notes, schemata = list(store.notes()), list(store.schemata())
    if form == "json":
        print_json({"notes": msgspec.to_builtins(notes), "schemata": msgspec.to_builtins(schemata)})
        return 0
    for note in notes:
        click.echo(printable(f"{note.status:>8}  {note.subject.key}  {note.mistake}", limit=240))
    for schema in schemata:
        traits = ", ".join(schema.signature.traits[:5])
        use = f"seen {schema.support}, used {schema.hits}"
        line = f"  schema  {schema.fault}/{schema.role or '-'}  {use}: {traits}"
        click.echo(printable(line, limit=240))
    if not notes and not schemata:
        click.echo("Nothing has been learnt yet. `masfire learn DIR` learns from failed runs.")
    return 0


@command.command(name="export", epilog=EXIT_CODES)
@click.argument("out", type=click.Path(dir_okay=False))
@_where
def export(out: str, where: str) -> int:
    """Write all lessons to OUT: YAML that can be imported again, or Markdown (.md) to read.

    \b
    Example:
      masfire memory export lessons.md
    """
    from masfire.knowledge.export import to_markdown, to_yaml
    from masfire.knowledge.opening import open_store

    with open_store(_existing(where)) as store:
        write = to_markdown if out.endswith(".md") else to_yaml
        Path(out).write_text(write(store.schemata(), store.notes()), encoding="utf-8")
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
        store.put(*read.schemata, *read.notes)
        for name in [schema.id for schema in read.schemata] + [note.id for note in read.notes]:
            store.log("imported", entry=name, why=lessons)
    click.echo(f"{len(read.schemata)} schemata, {len(read.notes)} notes")
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
    from masfire.knowledge.opening import open_store

    with open_store(_existing(where)) as store:
        click.echo(f"{len(Memory(store).forget(keep))} schemata forgotten")
    return 0


def _existing(where: str) -> str:
    """Return the address of a memory; raise UsageError for a named file that is not there."""
    from masfire.campaign.recurrence import existing

    return where if where == DEFAULT else existing(where)
