"""Fault taxonomies: what each fault means, read from YAML data files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from masfire.errors import UnknownName, UsageError

VERSION = "taxonomy/v1"


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One fault in words.

    `id` is the paper's abbreviation, `name` the one of fault addresses, `scope` `intra` or `inter`
    agent, `mechanisms` some of PM, RR, MR; the rest are sentences.
    """

    id: str
    name: str
    scope: str
    category: str
    mechanisms: tuple[str, ...]
    definition: str
    injection: str
    deterministic: str
    predicate: str


class Taxonomy(Struct, frozen=True, forbid_unknown_fields=True):
    """A named list of fault entries with the paper it comes from."""

    masfire: str
    name: str
    title: str
    source: str
    entries: tuple[Entry, ...]
    mechanisms: dict[str, str] = {}

    def entry(self, name: str) -> Entry:
        """Return the entry with this name or id; raise UnknownName with the nearest match otherwise."""
        for entry in self.entries:
            if name in (entry.name, entry.id):
                return entry
        raise UnknownName("fault", name, [entry.name for entry in self.entries], where=self.name)


def names() -> list[str]:
    """Return the names of the taxonomies that travel with masfire."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


@functools.cache
def load(name: str = "masfire") -> Taxonomy:
    """Return a taxonomy by name; raise UnknownName or UsageError (a bad file, with its path)."""
    path = _folder() / f"{name}.yaml"
    if name not in names():
        raise UnknownName("taxonomy", name, names())
    return read(path)


def read(path: Path) -> Taxonomy:
    """Return the taxonomy in a YAML file; raise UsageError when it is none."""
    import yaml

    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        taxonomy = msgspec.convert(data, Taxonomy)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"This is no taxonomy: {error}.", where=str(path)) from None
    if taxonomy.masfire != VERSION:
        raise UsageError(
            f"Taxonomy version {taxonomy.masfire!r} is not supported.",
            hint=f"Use {VERSION}.",
            where=str(path),
        )
    return taxonomy


def _folder() -> Path:
    """Return where the data files are: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "data" / "taxonomies"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "taxonomies"
