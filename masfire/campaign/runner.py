"""A campaign from start to end: controls first, then faults on what the controls solved."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from masfire import __version__
from masfire.campaign import cells
from masfire.campaign.cells import Asked, Job, Variant
from masfire.campaign.executors.local import LocalPool, Lost
from masfire.campaign.orders import Order, Setting
from masfire.campaign.plan import Plan
from masfire.campaign.planfile import dump_plan
from masfire.campaign.points import points
from masfire.campaign.recurrence import recurrences
from masfire.campaign.results import Results
from masfire.campaign.salvage import salvage
from masfire.campaign.serving import Served, served
from masfire.campaign.strangers import agents_of, refusal, without_target
from masfire.campaign.summary import Summary, summarize, trials, write_summary
from masfire.campaign.tasks import load_tasks, tasks_digest
from masfire.campaign.verdicts import digest, load
from masfire.contracts.model import Contract
from masfire.errors import UsageError
from masfire.faults.base import FaultSpec
from masfire.faults.injector import Knowledge
from masfire.knowledge.memory import Memory
from masfire.knowledge.opening import existing, open_store
from masfire.metrics.rates import WITNESSED, solved_tasks
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

PLAN_FILE, RESULTS_FILE, SUMMARY_FILE = "plan.yaml", "results.sqlite", "summary.json"
REPORT_FILE, TRACES, LOG_FILE, CACHE_FILE = "report.html", "traces", "workers.log", "replies.sqlite"
_PART = ".part"


class Progress(Struct, frozen=True):
    """How far a phase is: `phase` in words, runs done of all, and those done by an earlier campaign."""

    phase: str
    done: int
    total: int
    before: int = 0


Watcher = Callable[[Progress], None]


class Campaign:
    """Runs a plan into a folder, and can go on after any interruption.

    `resume` goes on with what the folder holds; without it the folder must hold no campaign. A
    KeyboardInterrupt leaves everything that was done. `watch` is told after each run. `memory` is the
    address of a memory: the summary then says which failures it knew.
    """

    def __init__(
        self,
        plan: Plan,
        out: str | os.PathLike[str],
        *,
        resume: bool = False,
        workers: int = 0,
        watch: Watcher | None = None,
        memory: str = "",
    ) -> None:
        self.plan, self.out = plan, Path(out)
        self.workers = workers or plan.executor.workers or os.cpu_count() or 1
        self._resume = resume
        self._memory = existing(memory) if memory else ""
        self._watch: Watcher = watch or (lambda _: None)
        self.summary: Summary | None = None
        """What the campaign came to so far; set when `run` ends, however it ends."""
        self._tasks: list[dict[str, Any]] = []
        self._points: dict[tuple[str, str, str], list[FaultSpec]] = {}
        self._shown: dict[tuple[str, str], tuple[Trace, Knowledge] | None] = {}
        self._solutions: dict[tuple[str, str], str] = {}
        self._slot = 0
        self._contracts: tuple[Contract, ...] = ()

    def run(self) -> Summary:
        """Run whatever is missing; write and return the summary.

        Raise UsageError for a folder or plan that cannot be used, WorkerFailed when no run can start.
        """
        self._tasks = load_tasks(self.plan)
        self._contracts = load(self.plan.contracts, self.plan.root)
        with self._opened() as results:
            self._sweep()
            try:
                with served(self.plan.model) as model:
                    results.note("model", {"name": model.name, "slot": model.slot, "local": model.local})
                    results.note("complete", False)
                    self._execute(results, model)
                    results.note("complete", True)
            finally:
                self.summary = self._known(summarize(self.plan, self._tasks, results), results)
                write_summary(self.summary, self.out / SUMMARY_FILE)
            return self.summary

    def _known(self, summary: Summary, results: Results) -> Summary:
        """Return the summary with what the memory recognises in it."""
        if not self._memory:
            return summary
        with open_store(self._memory) as store:
            found = recurrences(results, self.out / TRACES, Memory(store))
        return summary.model_copy(update={"recurrences": found})

    def _execute(self, results: Results, model: Served) -> None:
        self._slot = model.slot
        done = results.ids()
        with self._pool(model) as pool:
            self._phases(results, done, pool)

    def _phases(self, results: Results, done: set[str], pool: LocalPool) -> None:
        self._phase("fault-free controls", list(cells.controls(self.plan, self._tasks)), results, done, pool)
        self._solutions = results.solutions(self.plan.control_seeds)
        self._refuse_strangers(results)
        jobs = self._in_turn(self._injections(results, self.plan.seeds))
        self._phase("faults", jobs, results, done, pool)
        for extra in self.plan.control_seeds[len(self.plan.seeds) :]:
            short = self._short(results)
            undone = [job for job in self._injections(results, [extra]) if job.id not in done]
            more = self._missing(self._in_turn(undone), short)
            if more:
                self._phase("further runs of short cells", more, results, done, pool)

    def _phase(
        self, phase: str, jobs: Sequence[Job], results: Results, done: set[str], pool: LocalPool
    ) -> None:
        jobs = list({job.id: job for job in jobs}.values())
        orders = [self._order(job) for job in jobs if job.id not in done]
        before = len(jobs) - len(orders)
        self._watch(Progress(phase, before, len(jobs), before))
        if not orders:
            return
        with contextlib.closing(pool.run(orders)) as finished:
            for count, (order, came) in enumerate(finished, 1):
                result = (
                    salvage(order, came, self.plan.record, self._contracts)
                    if isinstance(came, Lost)
                    else came
                )
                os.replace(order.path, self._trace(order.id))
                results.add(result)
                done.add(order.id)
                self._watch(Progress(phase, before + count, len(jobs), before))

    def _injections(self, results: Results, seeds: Sequence[int]) -> Iterator[Job]:
        """Yield the injected runs under `seeds`, on the tasks that the fault-free system solves."""
        wishes = cells.asked(self.plan)
        for variant in cells.variants(self.plan):
            solved = solved_tasks(
                trials(row for row in results if row.control and row.system == variant.label)
            )
            for seed in seeds:
                for turn, task in enumerate(task for task in self._tasks if task["id"] in solved):
                    for wish in wishes:
                        yield from self._aimed(results, variant, task, seed, wish, turn)

    def _in_turn(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the jobs count by count, task by task, so that what is done at any time is even.

        A fault that strikes every time begins like one that strikes once: later, the reply cache knows it.
        """
        counts = {wish.times: place for place, wish in enumerate(cells.asked(self.plan))}
        tasks = {task["id"]: place for place, task in enumerate(self._tasks)}
        return sorted(jobs, key=lambda job: (counts[job.times], tasks[job.task["id"]]))

    def _aimed(
        self, results: Results, variant: Variant, task: dict[str, Any], seed: int, wish: Asked, turn: int
    ) -> Iterator[Job]:
        key = (variant.label, task["id"], wish.fault)
        if key not in self._points:
            shown = self._show(variant.label, task["id"])
            self._points[key] = points(wish.spec, *shown) if shown else [wish.spec]
        turn += self.plan.control_seeds.index(seed)
        for spec in cells.rotated(self._points[key], turn, each=self.plan.points == "each"):
            aimed = msgspec.structs.replace(spec, times=wish.spec.times)
            yield cells.injected(variant, task, seed, wish, aimed)

    def _show(self, label: str, task: str) -> tuple[Trace, Knowledge] | None:
        """Return the first fault-free trace that solved the task, and what it shows of the system."""
        key = (label, task)
        if key not in self._shown:
            self._shown[key] = None
            if key in self._solutions:
                trace = read_trace(self.out / TRACES / self._solutions[key])
                self._shown[key] = (trace, Knowledge.from_trace(trace, slot=self._slot))
        return self._shown[key]

    def _order(self, job: Job) -> Order:
        seen = "" if job.control else self._solutions.get((job.variant.label, job.task["id"]), "")
        part = f".{job.id}.{os.getpid()}.{time.monotonic_ns():x}{_PART}"
        return Order(
            id=job.id,
            system=job.variant.system,
            label=job.variant.label,
            stub=job.variant.model == cells.STUB,
            task=job.task,
            seed=job.seed,
            path=str((self.out / TRACES / part).absolute()),
            address=job.address,
            fault=job.fault,
            times=job.times,
            control=str(self.out.absolute() / TRACES / seen) if seen else "",
            launch={**cells.launch(job), "control": seen} if seen else cells.launch(job),
        )

    def _short(self, results: Results) -> Counter[tuple[str, str, str]]:
        """Return how many witnessed runs each cell lacks of those that the plan wants."""
        struck = Counter((row.system, row.fault, row.times) for row in results if row.state == WITNESSED)
        wanted = itertools.product(cells.variants(self.plan), cells.asked(self.plan))
        names = [(variant.label, wish.fault, wish.times) for variant, wish in wanted]
        return Counter({name: self.plan.witnessed - struck[name] for name in names})

    def _refuse_strangers(self, results: Results) -> None:
        """Raise Misplanned, before anything is injected, for a fault at an agent that no control shows."""
        begun = {row.fault for row in results}
        asked = {wish.fault: wish.spec for wish in cells.asked(self.plan) if wish.fault not in begun}
        if not self._solutions or not asked:
            return
        controls = [self.out / TRACES / row.trace for row in results if row.control]
        seen = (agents_of(read_trace(path)) for path in controls if path.is_file())
        lost, agents = without_target(asked, seen)
        if lost:
            raise refusal(
                self.plan,
                lost[0],
                agents,
                where=f"in any of {len(controls)} fault-free runs, so nothing was injected",
            )

    def _missing(self, jobs: Sequence[Job], short: Counter[tuple[str, str, str]]) -> list[Job]:
        """Return no more jobs of a cell than it lacks runs."""
        left, chosen = Counter(short), []
        for job in jobs:
            if left[cells.cell(job)] > 0:
                left[cells.cell(job)] -= 1
                chosen.append(job)
        return chosen

    def _pool(self, model: Served) -> LocalPool:
        plan = self.plan
        cached = plan.model.cache and plan.model.endpoint != "none"
        cache = Path(plan.root, plan.model.cache_file) if plan.model.cache_file else self.out / CACHE_FILE
        setting = Setting(
            plan=plan.model_dump(mode="json"),
            root=plan.root,
            cache=str(cache.absolute()) if cached else "",
            cache_name=model.name if model.local else "",
            model_name=model.name,
            slot=model.slot,
        )
        seconds = plan.budget.seconds
        return LocalPool(
            setting,
            workers=self.workers,
            limit=seconds + plan.executor.grace if seconds else None,
            log=self.out / LOG_FILE,
            environments=model.environments,
            fresh=plan.executor.fresh,
        )

    def _trace(self, run: str) -> Path:
        return self.out / TRACES / f"{run}.jsonl"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Results]:
        (self.out / TRACES).mkdir(parents=True, exist_ok=True)
        with Results(self.out / RESULTS_FILE) as results:
            known = results.fact("plan") if results.ids() else None  # without a run it has not begun
            mine = {"plan": self.plan.digest, "tasks": tasks_digest(self._tasks)}
            if self._contracts:
                mine["contracts"] = digest(self.plan.contracts, self.plan.root)
            if known is not None and not self._resume:
                raise UsageError(
                    f"{self.out} already holds a campaign.",
                    hint="Go on with it by --resume, or choose another folder.",
                )
            if known is not None and known != mine:
                changed = " and ".join(f"the {name}" for name in mine if known.get(name) != mine[name])
                raise UsageError(
                    f"{changed.capitalize()} changed since the campaign in {self.out} began.",
                    hint="Start another one in another folder.",
                )
            dump_plan(self.plan, self.out / PLAN_FILE)
            results.note("plan", mine)
            results.note("masfire", __version__)
            yield results

    def _sweep(self) -> None:
        """Delete the traces in the making that a killed campaign left."""
        for part in (self.out / TRACES).glob(f".*{_PART}*"):
            part.unlink(missing_ok=True)
