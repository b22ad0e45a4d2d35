"""`masfire faults`: the list, or one of them explained."""

from __future__ import annotations

import sys
from typing import Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import formatted, print_json

_WIDE = 110
"""Terminals from this many columns on show the parameters in the list too."""


@click.command(name="faults", epilog=EXIT_CODES)
@click.argument("name", required=False)
@formatted
def command(name: str | None, form: str) -> None:
    """List the faults, or explain the one called NAME (or by its abbreviation).

    \b
    Example:
      masfire faults blind_trust
    """
    from masfire.faults.catalogue import catalogue, explain

    if name is not None:
        found = explain(name)
        print_json(found) if form == "json" else _explain(found)
    elif form == "json":
        print_json(catalogue())
    else:
        _list(catalogue())


def _list(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    columns = ["id", "name", "scope", "category", "mechanisms"]
    if console.width >= _WIDE:
        columns.append("parameters")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != "parameters")
    for row in rows:
        cells = {**row, "mechanisms": " + ".join(row["mechanisms"])}
        cells["parameters"] = ", ".join(f"{key}={_shown(item)}" for key, item in row["parameters"].items())
        table.add_row(*(str(cells[column]) for column in columns))
    console.print(table)
    click.echo(
        "A fault is addressed as name@agent#n?parameter=value&times=every; masfire faults NAME explains one."
    )


def _explain(found: dict[str, Any]) -> None:
    title = f"{found['id']} {found['name']}"
    place = " ".join(filter(None, (found["scope"], found["category"], "+".join(found["mechanisms"]))))
    click.echo(f"{title}  ({place})" if place else title)
    for label, key in (
        ("means", "definition"), ("injected", "injection"), ("variant", "deterministic"),
        ("landed if", "predicate"), ("summary", "summary"),
    ):  # fmt: skip
        if found.get(key) and not (key == "summary" and found.get("definition")):
            _paragraph(label, str(found[key]))
    lasting = "; lasts the whole run" if found["persistent"] else ""
    _paragraph("strikes", f"{', '.join(found['events'])} steps{lasting}")
    parameters = ", ".join(f"{key}={_shown(value)}" for key, value in found["parameters"].items())
    _paragraph("parameters", f"{parameters or 'none'}. {found['parameters_help']}")
    query = next((f"?{key}={_shown(item)}" for key, item in found["parameters"].items() if item != ""), "")
    _paragraph("address", f"{found['name']}@AGENT{query}")


def _paragraph(label: str, text: str) -> None:
    click.echo(click.wrap_text(text, width=100, initial_indent=f"  {label:<11}", subsequent_indent=" " * 13))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or "''"
