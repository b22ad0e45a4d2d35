"""`masfire version`."""

from __future__ import annotations

import platform

import click

from masfire import __version__
from masfire.cli.options import formatted, print_json


@click.command(name="version")
@formatted
def command(form: str) -> None:
    """Print the version.

    \b
    Example:
      masfire version --format json
    """
    if form == "json":
        print_json({"masfire": __version__, "python": platform.python_version()})
    else:
        click.echo(f"masfire {__version__} (Python {platform.python_version()})")
