"""What a test asks for: its faults, seeds and conditions, from marker, command line and ini file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from masfire.errors import MasfireError, UnknownName, UsageError
from masfire.pytest_plugin import contracts
from masfire.pytest_plugin.settings import Settings

if TYPE_CHECKING:
    from masfire.contracts.model import Contract

CLEAN = "clean"
ALL = "all"

_ARGUMENTS = ("faults", "seeds", "control", "require_witnessed", "budget", "task", "system", "contracts")


@dataclass(frozen=True)
class Cell:
    """One case of an expanded test: the faults of one run (none: a fault-free control) and its seed."""

    faults: tuple[str, ...] = ()
    seed: int = 0

    @property
    def id(self) -> str:
        """Return the readable part of the test's id, such as `hallucination@planner-seed0`."""
        return f"{'+'.join(self.faults) or CLEAN}-seed{self.seed}"


@dataclass(frozen=True)
class Ask:
    """What one test asks for; `where` is its file and line, `expands` whether its id gets a cell."""

    cells: tuple[Cell, ...]
    expands: bool
    require_witnessed: bool
    budget: dict[str, float]
    task: Any
    system: str
    where: str
    contracts: tuple[Contract, ...] = ()

    @property
    def cell(self) -> Cell:
        """Return the cell that the test runs under."""
        return self.cells[0]


def read_ask(node: pytest.Item, settings: Settings, problems: list[str]) -> Ask:
    """Return what `node` asks for; add to `problems` every mistake of its marker."""
    path, line, _ = node.location
    where = f"{path}:{(line or 0) + 1}"
    found = _arguments(node, where, problems)
    faults, seeds = _faults(found, settings), _seeds(found, settings, where)
    plans = list(_plans(faults, where, problems))
    if (plans or seeds) and found.get("control", settings.control):
        plans.insert(0, ())
    cells = tuple(Cell(plan, seed) for plan in plans or [()] for seed in seeds or [settings.seed])
    return Ask(
        cells=tuple(dict.fromkeys(cells)),
        expands=bool(plans or seeds),
        require_witnessed=bool(found.get("require_witnessed", True)),
        budget=_budget(found.get("budget"), settings, where),
        task=found.get("task"),
        system=str(found.get("system", "")),
        where=where,
        contracts=contracts.load(
            settings.contracts
            if settings.overrides("contracts")
            else found.get("contracts", settings.contracts),
            node,
            where,
        ),
    )


def addresses(faults: Any) -> Iterable[tuple[str, ...]]:
    """Yield the canonical addresses of each plan in `faults`.

    An element is an address, a FaultSpec, or a list of them that strike in the same run; the word
    "all" stands for every known fault. Raise UsageError or UnknownName.
    """
    for element in [faults] if isinstance(faults, str) else faults:
        if element == ALL:
            for name in known_faults():
                yield (name,)
        elif isinstance(element, (list, tuple)):
            yield tuple(_address(one) for one in element)
        else:
            yield (_address(element),)


def known_faults() -> list[str]:
    """Return the name of every registered fault."""
    from masfire.faults.base import FAULTS

    return FAULTS.names()


def _address(fault: Any) -> str:
    from masfire.faults.base import FaultSpec

    if isinstance(fault, FaultSpec):
        return FaultSpec.parse(fault.address).address
    if isinstance(fault, str):
        return FaultSpec.parse(fault).address
    raise UsageError(
        f"{fault!r} is no fault.", hint="Give an address such as 'hallucination@planner', or a FaultSpec."
    )


def _arguments(node: pytest.Item, where: str, problems: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for marker in node.iter_markers("masfire"):  # the closest first: a function's win over its class's
        arguments = dict(marker.kwargs)
        if len(marker.args) > 1 or (marker.args and "faults" in arguments):
            problems.append(f"{where}: the marker masfire takes one positional argument, its faults.")
        elif marker.args:
            arguments["faults"] = marker.args[0]
        for name, value in arguments.items():
            if name in _ARGUMENTS:
                found.setdefault(name, value)
            else:
                problems.append(str(UnknownName("marker argument", name, _ARGUMENTS, where=where)))
    return found


def _faults(found: dict[str, Any], settings: Settings) -> Any:
    if settings.overrides("faults"):
        return settings.faults or ()
    return found.get("faults", settings.faults or ())


def _seeds(found: dict[str, Any], settings: Settings, where: str) -> Sequence[int]:
    if settings.overrides("seeds") or found.get("seeds") is None:
        return settings.seeds or ()
    seeds = found["seeds"]
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise UsageError(
            f"seeds={seeds!r} are not whole numbers.", hint="Write seeds=[0, 1, 2].", where=where
        )
    return seeds


def _plans(faults: Any, where: str, problems: list[str]) -> Iterable[tuple[str, ...]]:
    if not isinstance(faults, (str, Iterable)) or isinstance(faults, dict):
        problems.append(f"{where}: faults={faults!r} is no list. Write faults=['hallucination@planner'].")
        return
    for element in [faults] if isinstance(faults, str) else faults:
        try:
            yield from addresses([element])
        except MasfireError as error:
            error_where = "" if getattr(error, "where", "") else f"{where}: "
            problems.append(f"{error_where}{error}")


def _budget(budget: Any, settings: Settings, where: str) -> dict[str, float]:
    limits = dict(settings.budget)
    if budget is None:
        return limits
    given = budget if isinstance(budget, dict) else {name: getattr(budget, name, None) for name in limits}
    for name, value in given.items():
        if name not in limits or not isinstance(value, (int, float)):
            hint = f"Give a masfire.Budget or a dict of {', '.join(limits)}."
            raise UsageError(f"budget={budget!r} cannot be read.", hint=hint, where=where)
        if not settings.overrides(f"budget_{name}"):
            limits[name] = value
    return limits
