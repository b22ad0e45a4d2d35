"""Named things that a data file or a marker may ask for, each with one owner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from masfire.errors import DuplicateName, UnknownName

T = TypeVar("T")

ENTRY_POINT_GROUP = "masfire"


class Registry(Generic[T]):
    """A name → object table that refuses duplicates and suggests the nearest match.

    Third parties extend it by an entry point in the group ``masfire`` named ``<kind>.<anything>``
    whose target is a callable taking this registry, for example
    ``[project.entry-points.masfire] "fault.mine" = "my_package:register"``. Entry points are loaded
    the first time a name is looked up, never on import.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._owners: dict[str, str] = {}
        self._loaded = False

    def add(self, name: str, entry: T, *, owner: str) -> None:
        """Register `entry`; raise DuplicateName naming both owners when the name is taken."""
        if name in self._entries:
            raise DuplicateName(
                f"{self.kind} {name!r} of {owner} is already registered by {self._owners[name]}.",
                hint="Choose another name.",
            )
        self._entries[name], self._owners[name] = entry, owner

    def get(self, name: str, *, where: str = "") -> T:
        """Return the entry; raise UnknownName with the nearest match otherwise."""
        self._load()
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._entries, where=where) from None

    def names(self) -> list[str]:
        """Return every name, in order of registration."""
        self._load()
        return list(self._entries)

    def __iter__(self) -> Iterator[T]:
        self._load()
        return iter(list(self._entries.values()))

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        from importlib.metadata import entry_points

        for point in entry_points(group=ENTRY_POINT_GROUP):
            if point.name.split(".")[0] == self.kind:
                point.load()(self)
