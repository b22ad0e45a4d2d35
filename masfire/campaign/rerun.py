"""Runs of a campaign once more, with something between faults and agents: notes on trial, a guard."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from masfire.campaign import cells
from masfire.campaign.orders import Order, Setting
from masfire.campaign.planfile import load_plan
from masfire.campaign.results import Results, RunResult
from masfire.campaign.runner import CACHE_FILE, RESULTS_FILE, TRACES
from masfire.campaign.serving import served
from masfire.campaign.tasks import load_tasks
from masfire.campaign.worker import Bench
from masfire.errors import UsageError
from masfire.recorder import Interceptor, PerRun


class Rerunner:
    """Repeats runs of one campaign folder under the same task, seed, fault and model.

    Replies come from the campaign's cache where a request is the same; traces go to a folder of their
    own. Made by `rerunning`.
    """

    def __init__(self, folder: Path, bench: Bench, out: Path) -> None:
        self.folder, self.plan, self.out = folder, bench.plan, out
        self._bench = bench
        self._tasks = load_tasks(self.plan)
        with Results(folder / RESULTS_FILE, readonly=True) as results:
            self._shown = results.solutions(self.plan.control_seeds)

    def again(self, result: RunResult, interceptors: Sequence[Interceptor | PerRun] = ()) -> RunResult:
        """Return what this run comes to with `interceptors` after its fault; its trace is in `out`."""
        variant, task = cells.pick(self.plan, result.system, self._tasks, result.task)
        shown = self._shown.get((result.system, result.task), "")
        self._bench.interceptors = tuple(interceptors)
        try:
            return self._bench.run(
                Order(
                    id=result.id,
                    system=variant.system,
                    label=variant.label,
                    stub=variant.model == cells.STUB,
                    task=task,
                    seed=result.seed,
                    path=str(self.out / f"{result.id}.jsonl"),
                    address=result.address,
                    fault=result.fault,
                    times=result.times,
                    control=str(self.folder / TRACES / shown) if shown else "",
                )
            )
        finally:
            self._bench.interceptors = ()


@contextlib.contextmanager
def rerunning(folder: Path, *, out: Path | None = None, stub: bool | None = None) -> Iterator[Rerunner]:
    """Yield a Rerunner of a campaign folder, its model within reach; a local one is stopped at the end.

    `out` keeps the traces (None: a temporary folder); `stub` says that only the stub will answer.
    Raise UsageError when the folder holds no campaign.
    """
    source = folder / "plan.yaml"
    if not (folder / RESULTS_FILE).is_file() or not source.is_file():
        raise UsageError(f"{folder} holds no campaign.", hint="Name the --out folder of a campaign.")
    plan = load_plan(source)
    cache = Path(plan.root, plan.model.cache_file) if plan.model.cache_file else folder / CACHE_FILE
    with contextlib.ExitStack() as stack:
        kept = Path(stack.enter_context(tempfile.TemporaryDirectory())) if out is None else out
        kept.mkdir(parents=True, exist_ok=True)
        model = stack.enter_context(served(plan.model, stub=stub))
        before = dict(os.environ)
        os.environ.update(model.environments[0])
        bench = Bench(
            Setting(
                plan=plan.model_dump(mode="json"),
                root=plan.root,
                cache=str(cache.absolute()) if plan.model.cache and cache.is_file() else "",
                cache_name=model.name if model.local else "",
                model_name=model.name,
                slot=model.slot,
            )
        )
        try:
            bench.load()
            yield Rerunner(folder, bench, kept)
        finally:
            bench.close()
            os.environ.clear()
            os.environ.update(before)
