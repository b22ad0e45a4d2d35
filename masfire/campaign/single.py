"""One cell of a plan, run in this process: for looking closer, and for starting a recorded run again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masfire.campaign import cells
from masfire.campaign.orders import Order, Setting
from masfire.campaign.plan import Plan
from masfire.campaign.results import Results, RunResult
from masfire.campaign.runner import CACHE_FILE, RESULTS_FILE, TRACES
from masfire.campaign.serving import Served, absent, served
from masfire.campaign.tasks import load_tasks
from masfire.campaign.worker import Bench
from masfire.faults.base import FaultSpec

if TYPE_CHECKING:
    from masfire.recorder import Interceptor
    from masfire.recorder.player import Player


def run_cell(
    plan: Plan,
    system: str,
    task: str,
    *,
    out: Path,
    fault: str = "",
    seed: int = 0,
    folder: Path | None = None,
    source: Path | None = None,
    shown: Path | None = None,
    replay: Player | None = None,
    interceptors: Sequence[Interceptor] = (),
    launch: Mapping[str, Any] | None = None,
) -> RunResult:
    """Run `task` on `system` under `seed`, with the fault at address `fault` if any; trace to `out`.

    When `folder` holds a campaign of this plan, its controls show the injector the system and its reply
    cache answers what it can, so that a run of the campaign happens again as it was; `shown` is a control
    of one's own. `source` is the plan's file, for the trace's header; `launch` is what else that says of how
    the run was started. `interceptors` see every step before it is recorded, as in `Bench`. With `replay` the
    run repeats a record, and no model is started unless the player may ask one. Raise UsageError for unknown
    names, and what a broken installation raises.
    """
    variant, found = cells.pick(plan, system, load_tasks(plan), task)
    spec = FaultSpec.parse(fault) if fault else None
    control, cache = _left_behind(plan, folder, variant.label, task)
    control = str(shown) if shown is not None else control
    with _within_reach(plan, variant, replay) as model:
        before = dict(os.environ)
        os.environ.update(model.environments[0])
        bench = Bench(
            Setting(
                plan=plan.model_dump(mode="json"),
                root=plan.root,
                cache=cache if replay is None or replay.live else "",
                cache_name=model.name if model.local else "",
                model_name=model.name,
                slot=model.slot,
            )
        )
        bench.interceptors = tuple(interceptors)
        try:
            bench.load()
            out.parent.mkdir(parents=True, exist_ok=True)
            address = spec.address if spec else ""
            job = cells.Job(
                cells.run_id(variant.label, address, task, seed), variant, found, seed, address, "", address
            )
            return bench.run(
                Order(
                    id=job.id,
                    system=variant.system,
                    label=variant.label,
                    stub=variant.model == cells.STUB,
                    task=found,
                    seed=seed,
                    path=str(out),
                    address=address,
                    fault=address,
                    control=control,
                    launch={**_launch(job, out, source, control), **(launch or {})},
                ),
                replay=replay,
            )
        finally:
            bench.close()
            os.environ.clear()
            os.environ.update(before)


def _within_reach(
    plan: Plan, variant: cells.Variant, replay: Player | None
) -> contextlib.AbstractContextManager[Served]:
    """Return the model that answers, or nobody in its place when a record does."""
    if replay is None or replay.live:
        return served(plan.model, stub=variant.model == cells.STUB)
    names = replay.trace.header.models
    return contextlib.nullcontext(absent(plan.model, names[0] if names else ""))


def _launch(job: cells.Job, out: Path, source: Path | None, control: str) -> dict[str, Any]:
    """Return how to start this run again from its trace, with paths relative to it."""
    how = cells.launch(job)
    if source is not None:
        how["plan"] = os.path.relpath(source, out.parent)
    return {**how, "control": os.path.relpath(control, out.parent)} if control else how


def _left_behind(plan: Plan, folder: Path | None, label: str, task: str) -> tuple[str, str]:
    """Return the control trace and the reply cache that a campaign in `folder` left, or nothing."""
    if folder is None or not (folder / RESULTS_FILE).is_file():
        return "", ""
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        fact = results.fact("plan") or {}
        if fact.get("plan") != plan.digest:
            return "", ""
        shown = results.solutions(plan.control_seeds).get((label, task), "")
    cache = Path(plan.root, plan.model.cache_file) if plan.model.cache_file else folder / CACHE_FILE
    return (
        str(folder / TRACES / shown) if shown else "",
        str(cache.absolute()) if plan.model.cache and cache.is_file() else "",
    )
