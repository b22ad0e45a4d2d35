"""Which runs a plan consists of, and what each of them is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from masfire.campaign.plan import ALL, EVERY, ONCE, PLAN_VERSION, Plan
from masfire.errors import UnknownName
from masfire.faults import base

MODEL, STUB = "model", "stub"
"""Who answers the systems of a cell: the plan's model, or the perfect copier in its place."""


class Variant(Struct, frozen=True):
    """A system as it is run: its name in the plan, and whether the model or the stub answers it."""

    system: str
    model: str = MODEL

    @property
    def label(self) -> str:
        """Return the name this variant has in results; a stub's is marked."""
        return self.system if self.model == MODEL else f"{self.system}~stub"


class Asked(Struct, frozen=True):
    """A fault as the plan asks for it: the address without its count, and the count apart."""

    spec: base.FaultSpec
    times: str
    named: bool
    """Whether the plan names this fault, rather than asking for `all`."""

    @property
    def fault(self) -> str:
        """Return the address without its count: the row this belongs to."""
        return msgspec.structs.replace(self.spec, times=1).address


class Job(Struct, frozen=True):
    """One run to do; `fault` and `address` are empty for a control."""

    id: str
    variant: Variant
    task: dict[str, Any]
    seed: int
    fault: str = ""
    times: str = ""
    address: str = ""

    @property
    def control(self) -> bool:
        """Return whether this is a fault-free run."""
        return not self.fault


def variants(plan: Plan) -> list[Variant]:
    """Return every system with everyone who is to answer it."""
    answering = {"off": [MODEL], "only": [STUB], "beside": [MODEL, STUB]}[plan.model.stub]
    return [Variant(system.name, model) for model in answering for system in plan.systems]


def asked(plan: Plan) -> list[Asked]:
    """Return the faults of the plan, `all` spelt out, each with its counts; no cell twice."""
    found: dict[tuple[str, str], Asked] = {}
    for text in plan.faults:
        named = text != ALL
        for address in [text] if named else base.FAULTS.names():
            spec = base.FaultSpec.parse(address)
            for times in [_count(spec)] if "times=" in address else plan.times:
                item = Asked(msgspec.structs.replace(spec, times=_number(times)), times, named)
                found.setdefault((item.fault, times), item)
    return list(found.values())


def run_id(label: str, address: str, task: str, seed: int) -> str:
    """Return the run's id: 16 hex digits of a hash of everything that names it."""
    text = json.dumps([PLAN_VERSION, label, address, task, seed], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def control(variant: Variant, task: dict[str, Any], seed: int) -> Job:
    """Return the fault-free run of a task under a seed."""
    return Job(run_id(variant.label, "", task["id"], seed), variant, task, seed)


def injected(variant: Variant, task: dict[str, Any], seed: int, wish: Asked, spec: base.FaultSpec) -> Job:
    """Return the run of a task under a seed with the fault `wish`, aimed as `spec` says."""
    name = run_id(variant.label, spec.address, task["id"], seed)
    return Job(name, variant, task, seed, wish.fault, wish.times, spec.address)


def controls(plan: Plan, tasks: Sequence[dict[str, Any]]) -> Iterator[Job]:
    """Yield every fault-free run, one seed after the other."""
    for seed in plan.control_seeds:
        for task in tasks:
            for variant in variants(plan):
                yield control(variant, task, seed)


def rotated(points: Sequence[base.FaultSpec], turn: int, *, each: bool) -> list[base.FaultSpec]:
    """Return the points to strike in the `turn`-th run of a cell: all, or the one whose turn it is."""
    return list(points) if each else [points[turn % len(points)]]


def cell(job: Job) -> tuple[str, str, str]:
    """Return the cell a job belongs to: its system's label, its fault, its count."""
    return job.variant.label, job.fault, job.times


def launch(job: Job) -> dict[str, Any]:
    """Return how to start this run again, as a trace's header stores it."""
    where = {"plan": "../plan.yaml", "system": job.variant.label, "task": job.task["id"], "seed": job.seed}
    return {**where, "fault": job.address} if job.address else where


def pick(
    plan: Plan, system: str, tasks: Iterable[dict[str, Any]], task: str
) -> tuple[Variant, dict[str, Any]]:
    """Return the variant and the task that go by these names; raise UsageError for unknown ones."""
    answering = (STUB,) if plan.model.stub == "only" else (MODEL, STUB)
    by_label = {Variant(s.name, m).label: Variant(s.name, m) for s in plan.systems for m in answering}
    by_id = {item["id"]: item for item in tasks}
    if system not in by_label:
        raise UnknownName("system", system, by_label)
    if task not in by_id:
        raise UnknownName("task", task, by_id)
    return by_label[system], by_id[task]


def _count(spec: base.FaultSpec) -> str:
    return {1: ONCE, base.EVERY: EVERY}.get(spec.times, str(spec.times))


def _number(times: str) -> int:
    return {ONCE: 1, EVERY: base.EVERY}.get(times) or int(times)


__all__ = [
    "MODEL", "STUB", "Asked", "Job", "Variant", "asked", "cell", "control", "controls", "injected", "launch",
    "pick", "rotated", "run_id", "variants",
]  # fmt: skip
