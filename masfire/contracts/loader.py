"""Contracts from files: read, checked, and compiled to rules, every mistake with its line and column."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from masfire.contracts.compilation import Entry, FileReading
from masfire.contracts.model import Contract
from masfire.errors import UnknownName, UsageError
from masfire.yamlfile import MAX_MISTAKES, read_text

SUFFIXES = (".yaml", ".yml")


class ContractMistake(Struct, frozen=True, order=True):
    """One thing that is wrong in a contract file; `line` and `column` are 1-based.

    `excerpt` shows the formula with a mark under what is wrong (empty when it is no formula).
    """

    path: str
    line: int
    column: int
    what: str
    excerpt: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.column else f"{self.path}:{self.line}"
        return f"{place}: {self.what}" + (f"\n{self.excerpt}" if self.excerpt else "")


class ContractErrors(UsageError):
    """Contract files that cannot be used; `mistakes` lists everything that is wrong with them."""

    def __init__(self, mistakes: Sequence[ContractMistake]) -> None:
        found = sorted(set(mistakes))
        self.mistakes = tuple(found[:MAX_MISTAKES])
        more = "at least " if len(found) > MAX_MISTAKES else ""
        count = "1 mistake" if len(found) == 1 else f"{more}{len(self.mistakes)} mistakes"
        files = len({mistake.path for mistake in found})
        where = self.mistakes[0].path if files == 1 else f"{files} files"
        super().__init__("\n".join([f"{where}: {count}.", *map(str, self.mistakes)]))


def load_contracts(*paths: str | Path) -> tuple[Contract, ...]:
    """Return the contracts in files and folders (each ``*.yaml`` in it); a pack may be named, too.

    Raise ContractErrors with all mistakes of all files, or UsageError when there is no such file.
    """
    return tuple(entry.contract for entry in load_entries(*paths))


def load_entries(*paths: str | Path) -> tuple[Entry, ...]:
    """Return the contracts of files, folders and packs with what was written (examples, fields)."""
    if not paths:
        raise UsageError("No contracts were given.", hint="Name a file, a folder or a pack.")
    files = list(dict.fromkeys(itertools.chain.from_iterable(_files(path) for path in paths)))
    entries: list[Entry] = []
    mistakes: list[ContractMistake] = []
    owners: dict[str, str] = {}
    for name, file in files:
        reading = FileReading(read_text(file, "contract file", kind="contract"), name)
        found = reading.entries()
        mistakes += _told(reading)
        for entry in found:
            first = owners.setdefault(entry.contract.id, entry.contract.where)
            if first != entry.contract.where:
                mistakes.append(_twice(entry, first))
        entries += found
    if mistakes:
        raise ContractErrors(mistakes)
    return tuple(entries)


def parse_contracts(text: str, *, name: str = "contracts.yaml") -> tuple[Contract, ...]:
    """Return the contracts that a YAML text holds; `name` is what errors call the file."""
    reading = FileReading(text, name)
    entries = reading.entries()
    mistakes = _told(reading)
    owners: dict[str, str] = {}
    for entry in entries:
        first = owners.setdefault(entry.contract.id, entry.contract.where)
        if first != entry.contract.where:
            mistakes.append(_twice(entry, first))
    if mistakes:
        raise ContractErrors(mistakes)
    return tuple(entry.contract for entry in entries)


@functools.cache
def pack(name: str) -> tuple[Contract, ...]:
    """Return the contracts of a pack that travels with masfire; raise UnknownName otherwise."""
    if name not in pack_names():
        raise UnknownName("contract pack", name, pack_names())
    return load_contracts(packs_folder() / f"{name}.yaml")


def pack_names() -> list[str]:
    """Return the names of the packs that travel with masfire."""
    return sorted(path.stem for path in packs_folder().glob("*.yaml"))


def packs_folder() -> Path:
    """Return where the packs are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "data" / "contracts"
    return installed if installed.is_dir() else package.parent / "contracts"


def _files(path: str | Path) -> list[tuple[str, Path]]:
    """Return the files that a name stands for, each with what errors call it."""
    found = Path(path)
    if found.is_dir():
        files = sorted(item for item in found.iterdir() if item.suffix in SUFFIXES and item.is_file())
        if not files:
            raise UsageError(f"The folder {found} holds no contract file (*.yaml).")
        return [(_shipped(file) if found == packs_folder() else str(file), file) for file in files]
    if not found.exists() and str(path) in pack_names():
        file = packs_folder() / f"{path}.yaml"
        return [(_shipped(file), file)]
    if not found.exists() and not found.suffix and len(found.parts) == 1:
        raise UnknownName("contract file or pack", str(path), pack_names())
    return [(str(path), found)]


def _shipped(file: Path) -> str:
    """Return what reports call a pack's file: not where it happens to be installed."""
    return f"masfire/contracts/{file.name}"


def _told(reading: FileReading) -> list[ContractMistake]:
    return [
        ContractMistake(reading.name, each.line, each.column, each.what, reading.excerpts.get(each, ""))
        for each in reading.mistakes
    ]


def _twice(entry: Entry, first: str) -> ContractMistake:
    name, _, line = entry.contract.where.rpartition(":")
    what = f"Contract {entry.contract.id!r} is already given at {first}."
    return ContractMistake(name, int(line), entry.column, what)
