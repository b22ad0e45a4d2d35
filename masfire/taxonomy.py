"""Taxonomies of faults and errors, and how they relate, read from YAML data files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from masfire.errors import UnknownName, UsageError

VERSION = "taxonomy/v1"
ERRORS_VERSION = "errors/v1"
CROSSWALK_VERSION = "crosswalk/v1"
CROSSWALK = "crosswalk"

RELATIONS = {"equal": "equal", "narrower": "broader", "broader": "narrower", "overlaps": "overlaps"}
"""Kinds of relation between two kinds of error, and each read the other way round."""


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


class Kind(Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of error in words: what it is, where it comes from, examples, and how to notice it."""

    id: str
    name: str
    group: str
    definition: str
    examples: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    source: str = ""


class ErrorTaxonomy(Struct, frozen=True, forbid_unknown_fields=True):
    """A named list of kinds of errors with its source; `groups` says what its groups mean."""

    masfire: str
    name: str
    title: str
    source: str
    groups: dict[str, str]
    entries: tuple[Kind, ...]

    def entry(self, name: str) -> Kind:
        """Return the kind with this id or name; raise UnknownName with the nearest match otherwise."""
        for entry in self.entries:
            if name in (entry.id, entry.name):
                return entry
        known = {word for entry in self.entries for word in (entry.id, entry.name)}
        raise UnknownName("kind of error", name, known, where=self.name)


class Relation(Struct, frozen=True, forbid_unknown_fields=True):
    """`source` is equal to, narrower or broader than `target`, or overlaps it ("taxonomy:id" each)."""

    source: str = msgspec.field(name="from")
    relation: str = ""
    target: str = msgspec.field(name="to", default="")


def names() -> list[str]:
    """Return the names of the taxonomies that travel with masfire."""
    return sorted(path.stem for path in _folder().glob("*.yaml") if path.stem != CROSSWALK)


@functools.cache
def kinds(name: str) -> ErrorTaxonomy:
    """Return any taxonomy as kinds of errors, the fault taxonomy included; raise UnknownName."""
    if name not in names():
        raise UnknownName("taxonomy", name, names())
    path = _folder() / f"{name}.yaml"
    data = _yaml(path)
    if isinstance(data, dict) and data.get("masfire") == VERSION:
        return _as_kinds(read(path))
    taxonomy = _converted(data, ErrorTaxonomy, path)
    _require(taxonomy.masfire, ERRORS_VERSION, path)
    for entry in taxonomy.entries:
        if entry.group not in taxonomy.groups:
            raise UsageError(f"Entry {entry.id!r} is of the unknown group {entry.group!r}.", where=str(path))
    return taxonomy


@functools.cache
def crosswalk() -> tuple[Relation, ...]:
    """Return how kinds of errors relate; raise UsageError naming every id that does not exist."""
    path = _folder() / f"{CROSSWALK}.yaml"
    data = _yaml(path)
    if not isinstance(data, dict) or data.get("masfire") != CROSSWALK_VERSION:
        raise UsageError(f"This is no crosswalk of version {CROSSWALK_VERSION}.", where=str(path))
    relations: tuple[Relation, ...] = _converted(data.get("relations"), tuple[Relation, ...], path)
    mistakes = [problem for one in relations for problem in _mistakes(one)]
    if mistakes:
        raise UsageError(f"The crosswalk is wrong: {'; '.join(mistakes)}.", where=str(path))
    return relations


def related(name: str, *, to: str = "") -> list[tuple[str, str]]:
    """Return (relation, "taxonomy:id") of all kinds related to "taxonomy:id", read from its side.

    `to` keeps one taxonomy. Raise UnknownName for an unknown taxonomy or id.
    """
    place, _, identity = name.partition(":")
    own = f"{place}:{kinds(place).entry(identity).id}"
    if to:
        kinds(to)
    found = []
    for one in crosswalk():
        if one.source == own:
            found.append((one.relation, one.target))
        elif one.target == own:
            found.append((RELATIONS[one.relation], one.source))
    return [(relation, other) for relation, other in found if not to or other.partition(":")[0] == to]


def _mistakes(one: Relation) -> list[str]:
    found = [] if one.relation in RELATIONS else [f"{one.relation!r} is no relation"]
    for name in (one.source, one.target):
        place, _, identity = name.partition(":")
        if place not in names():
            found.append(f"{name!r} is of no known taxonomy")
        elif identity not in {entry.id for entry in kinds(place).entries}:
            found.append(f"{name!r} does not exist")
    return found


def _as_kinds(faults: Taxonomy) -> ErrorTaxonomy:
    entries = tuple(
        Kind(
            id=entry.id,
            name=entry.name,
            group=entry.category,
            definition=entry.definition,
            examples=(entry.injection,),
            hints=(entry.predicate,),
        )
        for entry in faults.entries
    )
    groups = {entry.category: f"{entry.scope}-agent faults" for entry in faults.entries}
    return ErrorTaxonomy(
        masfire=ERRORS_VERSION,
        name=faults.name,
        title=faults.title,
        source=faults.source,
        groups=groups,
        entries=entries,
    )


T = TypeVar("T")


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"This is no taxonomy: {error}.", where=str(path)) from None


def _converted(data: Any, shape: type[T], path: Path) -> T:
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise UsageError(f"This is no taxonomy: {error}.", where=str(path)) from None


def _require(version: str, wanted: str, path: Path) -> None:
    if version != wanted:
        raise UsageError(
            f"Taxonomy version {version!r} is not supported.", hint=f"Use {wanted}.", where=str(path)
        )


@functools.cache
def load(name: str = "masfire") -> Taxonomy:
    """Return a taxonomy by name; raise UnknownName or UsageError (a bad file, with its path)."""
    path = _folder() / f"{name}.yaml"
    if name not in names():
        raise UnknownName("taxonomy", name, names())
    return read(path)


def read(path: Path) -> Taxonomy:
    """Return the taxonomy in a YAML file; raise UsageError when it is none."""
    taxonomy = _converted(_yaml(path), Taxonomy, path)
    _require(taxonomy.masfire, VERSION, path)
    return taxonomy


def _folder() -> Path:
    """Return where the data files are: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "data" / "taxonomies"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "taxonomies"
