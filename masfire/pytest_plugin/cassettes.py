"""Cassettes: the recorded runs of tests that later runs are answered from, under VCR's record modes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from masfire.errors import Divergence
from masfire.trace.io import read_trace, save_trace
from masfire.trace.model import Header, Trace

if TYPE_CHECKING:
    from masfire.pytest_plugin.settings import Settings
    from masfire.recorder.player import Player

ORDER = "MASFIRE_REPLAY"
"""The environment variable by which `masfire replay` says which run of which test to repeat, and how."""

_UNSAVED = frozenset({"interrupted"})


class Order(msgspec.Struct, frozen=True):
    """What `masfire replay` asks of the one test that it starts.

    `run` is the number of the test's run that the trace at `trace` holds, `faults` are addresses in
    place of the recorded ones (None: those), `out` is where the new trace goes.
    """

    trace: str
    out: str
    run: int = 0
    faults: tuple[str, ...] | None = None
    strict: bool = True
    live: bool = False
    live_tools: bool = False
    until: int | None = None


class Heard(msgspec.Struct, frozen=True):
    """What the player of an ordered replay saw: calls answered and asked live, why it was stopped."""

    answered: int = 0
    asked_live: int = 0
    stopped: str = ""
    message: str = ""
    step: int = -1
    agent: str = ""
    path: str = ""
    expected: Any = None
    got: Any = None


class Cassette:
    """One run's cassette: who answers it, and whether it is saved when it is over."""

    def __init__(self, path: Path, settings: Settings) -> None:
        from masfire.recorder.player import Player

        self.path, self.mode = path, settings.record
        self.player: Player | None = None
        there = path.is_file()
        if self.mode == "all" or (self.mode in ("once", "new_episodes") and not there):
            return
        again = "Record it with --masfire-record=once."
        if there:
            again = "Record it again with --masfire-record=all, or what is new with new_episodes."
        self.player = Player(
            read_trace(path) if there else Trace(Header(run="none"), ()),
            strict=False,
            live=self.mode == "new_episodes",
            live_tools=settings.live_tools,
            hint=again if there else f"There is no cassette {path}. {again}",
        )

    def keep(self, trace: Trace) -> None:
        """Save the run as the cassette, if it has something to keep that the cassette lacks."""
        played = self.player
        if played is not None and (not played.live or not played.asked_live):
            return
        if len(trace) and trace.end is not None and trace.end.status not in _UNSAVED:
            save_trace(trace, self.path)


def cassette(item: pytest.Item, settings: Settings, count: int) -> Cassette | None:
    """Return the cassette of the `count`-th run of a test; None when no record mode is set."""
    if not settings.record:
        return None
    name = item.nodeid.partition("::")[2] or item.name
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")
    if slug != name.replace("::", "-") or len(slug) > 100:  # two tests must not share one
        slug = f"{slug[:90]}-{hashlib.sha256(item.nodeid.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    number = f"-{count}" if count else ""
    folder = item.path.parent / settings.cassettes / item.path.stem
    return Cassette(folder / f"{slug}{number}.jsonl", settings)


def ordered() -> Order | None:
    """Return what `masfire replay` asks for, if it started this process."""
    text = os.environ.get(ORDER)
    return msgspec.json.decode(text, type=Order) if text else None


def player_of(order: Order) -> Player:
    """Return the player that carries out an order."""
    from masfire.recorder.player import Player

    return Player(
        read_trace(order.trace),
        strict=order.strict,
        live=order.live,
        live_tools=order.live_tools,
        until=order.until,
    )


def report(order: Order, player: Player) -> None:
    """Write down beside the new trace what the player saw, for who gave the order."""
    left = player.divergence
    where: dict[str, Any] = {}
    if isinstance(left, Divergence):
        where = {"message": str(left), "step": left.step, "agent": left.agent, "path": left.path}
        where |= {"expected": left.expected, "got": left.got}
    stopped = str(player.ended) if player.ended is not None else ""
    heard = Heard(player.answered, player.asked_live, stopped, **where)
    Path(f"{order.out}.heard").write_text(json.dumps(msgspec.to_builtins(heard), default=str), "utf-8")
