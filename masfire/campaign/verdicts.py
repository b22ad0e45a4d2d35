"""The contracts of a plan, and what they say of each run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from masfire.contracts.model import Contract
from masfire.metrics.compliance import Judged, judged
from masfire.trace.model import Trace

ALL = "all"
"""The name that stands for every pack."""


def load(named: Sequence[str], root: str) -> tuple[Contract, ...]:
    """Return the contracts that a plan names: files and folders under `root`, or packs.

    Raise UsageError with every mistake of every file.
    """
    if not named:
        return ()
    from masfire.contracts.loader import load_contracts

    return load_contracts(*_places(named, root))


def digest(named: Sequence[str], root: str) -> str:
    """Return the SHA-256 (hex) of the files that a plan names; empty when it names none."""
    if not named:
        return ""
    found = hashlib.sha256()
    for place in _places(named, root):
        files = sorted(place.glob("*.y*ml")) if place.is_dir() else [place]
        for file in files:
            content = file.read_bytes()
            found.update(f"{file.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def verdicts(trace: Trace, contracts: Sequence[Contract]) -> tuple[Judged, ...]:
    """Return what contracts say of a run, its ground truth hidden from them."""
    if not contracts:
        return ()
    from masfire.contracts.engine import judge

    return judged(judge(trace.blind(), contracts))


def _places(named: Sequence[str], root: str) -> list[Path]:
    from masfire.contracts.loader import pack_names, packs_folder

    packs = pack_names()
    places = []
    for name in named:
        path = Path(root, name)
        if not path.exists() and name == ALL:
            path = packs_folder()
        elif not path.exists() and name in packs:
            path = packs_folder() / f"{name}.yaml"
        places.append(path)
    return places
