"""Options and output that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

EXISTING = click.Path(exists=True, dir_okay=False)


def formatted(function: F) -> F:
    """Give a command the option ``--format text|json``."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How to print the result.",
    )(function)


def print_json(value: Any) -> None:
    """Print a value as JSON, in ASCII so that no recorded text can act on a terminal."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))
