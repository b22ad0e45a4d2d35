"""What a worker process is told and what it answers: one JSON line each way."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from masfire.campaign.results import RunResult


class Setting(Struct, frozen=True, tag="setting"):
    """What all runs of a worker share: the plan as JSON, its root, and where the model is.

    `cache` is the reply cache's file ("" for none) under the stable model name `cache_name`.
    """

    plan: dict[str, Any]
    root: str
    cache: str = ""
    cache_name: str = ""
    model_name: str = ""
    slot: int = 0


class Order(Struct, frozen=True, tag="order"):
    """One run to do.

    `path` is the file its trace goes to, `control` the trace of a fault-free run of the same task that
    shows the system's agents, roles and tools ("" when there is none), `launch` how to start it again.
    """

    id: str
    system: str
    label: str
    stub: bool
    task: dict[str, Any]
    seed: int
    path: str
    address: str = ""
    fault: str = ""
    times: str = ""
    control: str = ""
    launch: dict[str, Any] = {}


class Ready(Struct, frozen=True, tag="ready"):
    """The worker has imported every system; runs may begin."""


class Broken(Struct, frozen=True, tag="broken"):
    """The worker cannot work at all (a module is missing, say)."""

    error: str


class Done(Struct, frozen=True, tag="done"):
    """A run is over, its trace is closed."""

    result: RunResult


Answer = Ready | Broken | Done
Told = Setting | Order
