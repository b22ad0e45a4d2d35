"""Cassettes: the recorded runs of tests that later runs are answered from, under VCR's record modes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from masfire.campaign.again import ORDER, Heard, Order, heard_file
from masfire.trace.io import read_trace, save_trace
from masfire.trace.model import Header, Trace

if TYPE_CHECKING:
    from masfire import session
    from masfire.pytest_plugin.settings import Settings
    from masfire.recorder.player import Player

LONGEST = 90
"""Characters of a test's name in the name of its cassette."""

_UNSAVED = frozenset({"interrupted"})


class Playing:
    """How one run of a test is played: by nobody, unless a subclass says otherwise."""

    player: Player | None = None
    faults: tuple[str, ...] | None = None
    out: Path | None = None
    run: session.Run | None = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep, after the block, what is to be kept of the run in it."""
        try:
            yield
        finally:
            if self.run is not None:
                self.keep(self.run)

    def keep(self, run: session.Run) -> None:
        """Do with the run, which is over, whatever is to be done."""


class Cassette(Playing):
    """One run's cassette: who answers it, and whether it is saved when it is over."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        mode, there = settings.record, path.is_file()
        if mode == "all" or (mode in ("once", "new_episodes") and not there):
            return
        hint = "Record it again with --masfire-record=all, or what is new with new_episodes."
        if not there:
            hint = f"There is no cassette {path}; record it with --masfire-record=once."
        self.player = _player(
            path, strict=False, live=mode == "new_episodes", live_tools=settings.live_tools, hint=hint
        )

    def keep(self, run: session.Run) -> None:
        """Save the run as the cassette, if it has something to keep that the cassette lacks."""
        played, trace = self.player, run.trace
        if played is not None and not played.asked_live:
            return
        if len(trace) and trace.end is not None and trace.end.status not in _UNSAVED:
            save_trace(trace, self.path)


class Ordered(Playing):
    """The run that `masfire replay` asks for, or another of the same test, answered from its own trace."""

    def __init__(self, order: Order, count: int) -> None:
        trace = Path(order.trace)
        if count == order.run:
            self.player = _player(
                trace, strict=order.strict, live=order.live, live_tools=order.live_tools, until=order.until
            )
            self.faults, self.out = order.faults, Path(order.out)
            return
        stem = trace.stem.removesuffix(f"-{order.run}") if order.run else trace.stem
        beside = trace.with_name(f"{stem}-{count}.jsonl" if count else f"{stem}.jsonl")
        self.player = _player(beside, strict=False, live_tools=order.live_tools)

    def keep(self, run: session.Run) -> None:
        """Write down beside the new trace what the player saw, for who gave the order."""
        if self.out is None or self.player is None:
            return
        left, ended = self.player.divergence, self.player.ended
        heard = Heard(self.player.answered, self.player.asked_live, str(ended or ""))
        if left is not None:
            heard = Heard(
                heard.answered, heard.asked_live, heard.stopped, left.message, left.hint, left.step,
                left.agent, left.path, left.expected, left.got,
            )  # fmt: skip
        heard_file(self.out).write_bytes(msgspec.json.encode(heard, enc_hook=str))


def playing(item: pytest.Item, settings: Settings, count: int) -> Playing:
    """Return how the `count`-th run of a test is played."""
    text = os.environ.get(ORDER)
    if text:
        return Ordered(msgspec.json.decode(text, type=Order), count)
    if not settings.record:
        return Playing()
    name = item.nodeid.partition("::")[2] or item.name
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")
    if slug != name.replace("::", "-") or len(slug) > LONGEST:  # two tests must not share one
        digest = hashlib.sha256(item.nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        slug = f"{slug[:LONGEST]}-{digest}"
    number = f"-{count}" if count else ""
    folder = item.path.parent / settings.cassettes / item.path.stem
    return Cassette(folder / f"{slug}{number}.jsonl", settings)


def _player(path: Path, **options: Any) -> Player:
    from masfire.recorder.player import Player

    there = path.is_file()
    return Player(read_trace(path) if there else Trace(Header(run="none"), ()), **options)
