"""Runs an attack plan and measures how far its claims came: one line a run, resumable."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from masfire.campaign import cells
from masfire.campaign.attack import AttackPlan, Target, dump_attack
from masfire.campaign.orders import Order, Setting
from masfire.campaign.plan import Misplanned
from masfire.campaign.serving import served
from masfire.campaign.tasks import load_tasks
from masfire.campaign.worker import Bench
from masfire.errors import UsageError
from masfire.genealogy.cascade import Cascade, measure
from masfire.genealogy.outputs import outputs
from masfire.genealogy.seed import ADOPTS, Seed
from masfire.genealogy.seeding import CORRECTION, Planter, Planting, packaged
from masfire.recorder import Interceptor
from masfire.trace.io import read_trace
from masfire.trace.model import USER

Measurement = Literal["amplification", "sensitivity", "inertia"]
RUNS_FILE, TRACES, CACHE_FILE, PLAN_FILE = "attacks.jsonl", "traces", "replies.sqlite", "attack.yaml"
MARK_FILE = "plan.sha256"
ROLES = ("entry", "hub", "leaf")
CLEAN = "none"


class Attack(Struct, frozen=True):
    """One run to do: who is attacked where and how; `correction` 0 means that nobody corrects."""

    system: str
    model: str
    task: str
    seed: int
    placement: str = CLEAN
    packaging: str = ""
    correction: int = 0

    @property
    def id(self) -> str:
        """Return 16 hex digits that name this run."""
        fields = [getattr(self, name) for name in self.__struct_fields__]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


class Attacked(Struct, frozen=True):
    """What one run came to: the attack, whether it was planted, the outcome, and the cascade.

    `planted` is the step at which the false message was put before the agent (-1: nowhere, so the run
    says nothing); `corrected` that of the correction. `useful` says that the task was solved. `trace` and
    `clean` are the files of the run and of its clean twin within the folder, `claim` and `truth` what was
    said and what is so (all empty in folders of older versions).
    """

    attack: Attack
    agent: str
    planted: int
    corrected: int
    status: str
    useful: bool | None
    tokens: int
    seconds: float
    cascade: Cascade | None = None
    trace: str = ""
    clean: str = ""
    claim: dict[str, str] = {}
    truth: dict[str, str] = {}

    @property
    def valid(self) -> bool:
        """Return whether the run can be counted: the attack was planted and the run measured."""
        return self.cascade is not None and self.planted >= 0


Watcher = Callable[[str, int, int], None]
Guards = Callable[[], Sequence[Interceptor]]
"""Makes the interceptors that stand after the attack in one run (a governor, say)."""


class AttackRuns:
    """Runs one measurement of an attack plan into a folder; what is there already is not run again.

    `guards` makes further interceptors for each run: they see what the attack made of it.
    """

    def __init__(
        self,
        plan: AttackPlan,
        out: str | os.PathLike[str],
        *,
        resume: bool = False,
        guards: Guards = tuple,
        watch: Watcher | None = None,
    ) -> None:
        self.plan, self.out = plan, Path(out)
        self._guards, self._guarded = guards, guards is not tuple
        self._watch: Watcher = watch or (lambda _phase, _done, _total: None)
        self._tasks = {task["id"]: task for task in load_tasks(plan.plain()) if plan.claim.of(task)}
        if not self._tasks:
            raise UsageError(f"No task has anything at {plan.claim.truth!r}.")
        self._targets = {target.name: target for target in plan.systems}
        self._done = self._opened(resume)
        self._audience: dict[tuple[str, str, str], tuple[str, ...]] = {}

    def run(self, measurement: Measurement) -> list[Attacked]:
        """Return every run of a measurement, clean controls first, doing those that are missing.

        Raise Misplanned when the plan attacks an agent that no clean run of its system shows.
        """
        wanted = [*self._controls(), *self._attacks(measurement)]
        missing = [attack for attack in wanted if attack.id not in self._done]
        for alone in (True, False):  # the copier first: it costs nothing, and shows who the agents are
            part = [attack for attack in missing if (attack.model == cells.STUB) == alone]
            if part:
                self._execute(part, stub=alone)
        self._refuse_unknown()
        return [self._done[attack.id] for attack in wanted]

    def _execute(self, attacks: Sequence[Attack], *, stub: bool) -> None:
        with served(self.plan.model, stub=stub) as model, self._environment(model.environments[0]):
            cache = self.out / CACHE_FILE if self.plan.model.cache and not stub else ""
            bench = Bench(
                Setting(
                    plan=self.plan.plain().model_dump(mode="json"),
                    root=self.plan.root,
                    cache=str(Path(cache).absolute()) if cache else "",
                    cache_name=model.name if model.local else "",
                    model_name=model.name,
                    slot=model.slot,
                )
            )
            try:
                bench.load()
                with (self.out / RUNS_FILE).open("ab") as lines:
                    known = False
                    for count, attack in enumerate(attacks):
                        if attack.placement != CLEAN and not known:
                            self._refuse_unknown()
                            known = True
                        self._watch("stub" if stub else "model", count, len(attacks))
                        result = self._one(bench, attack)
                        self._done[attack.id] = result
                        lines.write(msgspec.json.encode(result) + b"\n")
                        lines.flush()
            finally:
                bench.close()

    def _one(self, bench: Bench, attack: Attack) -> Attacked:
        target, task = self._targets[attack.system], self._tasks[attack.task]
        truth, false = self.plan.claim.of(task) or ("", "")
        agent = "" if attack.placement == CLEAN else getattr(target, attack.placement)
        planter = Planter(plantings(attack, agent, truth, false))
        bench.interceptors = (planter, *self._guards())
        path = self.out / TRACES / f"{attack.id}.jsonl"
        path.unlink(missing_ok=True)
        variant = cells.Variant(attack.system, attack.model)
        where = {"plan": f"../{PLAN_FILE}", "system": variant.label, "task": attack.task, "seed": attack.seed}
        told: dict[str, Any] = {"trace": f"{TRACES}/{attack.id}.jsonl"}
        if attack.placement != CLEAN:
            key, clean = self.plan.claim.key, f"{self._twin(attack).id}.jsonl"
            told |= {"clean": f"{TRACES}/{clean}", "claim": {key: false}, "truth": {key: truth}}
            hidden = {"agent": agent, "claim": {key: false}, "truth": {key: truth}}
            where |= {"control": clean, "attack": msgspec.to_builtins(attack) | hidden}
        result = bench.run(
            Order(
                id=attack.id, system=attack.system, label=variant.label, stub=attack.model == cells.STUB,
                task=task, seed=attack.seed, path=str(path), launch=where,
            )
        )  # fmt: skip
        places = {planting.name: step for planting, step in planter.planted}
        trace = read_trace(path).blind()
        cascade = None
        if attack.placement != CLEAN:
            seed = Seed(claim=told["claim"], truth=told["truth"])
            cascade = measure(trace, seed, agents=self._listeners(attack), seeded=(agent,))
        return Attacked(
            attack, agent, places.get("attack", -1), places.get("correction", -1), result.status,
            result.success, result.tokens_in + result.tokens_out, result.seconds, cascade, **told,
        )  # fmt: skip

    def _listeners(self, attack: Attack) -> tuple[str, ...]:
        """Return the agents that state the claim's truth in the clean run: those an error could reach."""
        key = (attack.system, attack.model, attack.task)
        if key not in self._audience:
            clean = self._twin(attack, first=True)
            truth, _ = self.plan.claim.of(self._tasks[attack.task]) or ("", "")
            seed = Seed(claim={self.plan.claim.key: truth})
            trace = read_trace(self.out / TRACES / f"{clean.id}.jsonl")
            said = [each.agent for each in outputs(trace) if seed.stance(each) == ADOPTS]
            self._audience[key] = tuple(dict.fromkeys(said))
        return self._audience[key]

    def _twin(self, attack: Attack, *, first: bool = False) -> Attack:
        """Return the clean run of the same task and seed (or of the plan's first seed)."""
        seed = self.plan.seeds[0] if first else attack.seed
        return Attack(attack.system, attack.model, attack.task, seed)

    def _refuse_unknown(self) -> None:
        """Raise Misplanned when the plan names agents that no clean run done so far shows.

        Runs that did not complete, or that a guard was in, may have silenced an agent: they prove nothing.
        """
        if self._guarded:
            return
        found: list[Misplanned] = []
        for index, target in enumerate(self.plan.systems):
            named = {role: name for role in ROLES if (name := getattr(target, role))}
            agents, asking, runs = set[str](), set[str](), 0
            for clean in self._controls():
                if clean.system != target.name or clean.id not in self._done:
                    continue
                trace = read_trace(self.out / TRACES / f"{clean.id}.jsonl")
                agents |= {step.agent for step in trace} - {USER}
                asking |= {step.agent for step in trace if step.kind == "model_call"}
                runs += self._done[clean.id].status == "completed"
                if agents.issuperset(named.values()):
                    break
            if asking and runs:  # a system that asks no model at all shows nothing; its cells will say so
                strange = {role: name for role, name in named.items() if name not in agents}
                found += [_stranger(index, target.name, *one, asking, runs) for one in strange.items()]
        if found:
            if all(each.attack.placement == CLEAN for each in self._done.values()):
                (self.out / MARK_FILE).write_text(self.plan.clean_digest, encoding="utf-8")
            first = found[0]
            raise Misplanned(first.message, hint=first.hint, location=first.location, others=found[1:])

    def _controls(self) -> Iterator[Attack]:
        for model in self._models():
            for name in self._targets:
                for task in self._tasks:
                    for seed in self.plan.seeds:
                        yield Attack(name, model, task, seed)

    def _attacks(self, measurement: Measurement) -> Iterator[Attack]:
        for clean in list(self._controls()):
            for placement, packaging, correction in self._ways(measurement, self._targets[clean.system]):
                yield msgspec.structs.replace(
                    clean, placement=placement, packaging=packaging, correction=correction
                )

    def _ways(self, measurement: Measurement, target: Target) -> Iterator[tuple[str, str, int]]:
        if measurement == "inertia":
            for correction in (0, *self.plan.corrections):
                yield "entry", self.plan.packagings[0], correction
            return
        places = ("entry",) if measurement == "amplification" else ("hub", "leaf")
        for place in places:
            if getattr(target, place):
                for packaging in self.plan.packagings:
                    yield place, packaging, 0

    def _models(self) -> list[str]:
        return {"off": [cells.MODEL], "only": [cells.STUB], "beside": [cells.MODEL, cells.STUB]}[
            self.plan.model.stub
        ]

    def _opened(self, resume: bool) -> dict[str, Attacked]:
        (self.out / TRACES).mkdir(parents=True, exist_ok=True)
        file, mark = self.out / RUNS_FILE, self.out / MARK_FILE
        if not file.exists():
            self._mark()
            return {}
        if not resume:
            raise UsageError(
                f"{self.out} holds attacks already.", hint="Go on with --resume, or name another."
            )
        told = mark.read_text(encoding="utf-8") if mark.exists() else ""
        if told == self.plan.clean_digest:  # clean runs of a plan that was refused, and may be mended by now
            self._mark()
        elif told != self.plan.digest:
            raise UsageError(f"{self.out} holds the attacks of another plan.", hint="Name another folder.")
        whole = [line for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        file.write_bytes(b"".join(whole))  # a line that was cut off is a run to do again
        found = [msgspec.json.decode(line, type=Attacked) for line in whole]
        return {each.attack.id: each for each in found}

    def _mark(self) -> None:
        """Write down which plan this folder holds."""
        (self.out / MARK_FILE).write_text(self.plan.digest, encoding="utf-8")
        dump_attack(self.plan, self.out / PLAN_FILE)

    @contextlib.contextmanager
    def _environment(self, wanted: dict[str, str]) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.update(wanted)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def plantings(attack: Attack, agent: str, truth: str, false: str) -> list[Planting]:
    """Return what an attack puts before whom: the claim, and the correction if there is one."""
    if attack.placement == CLEAN:
        return []
    found = [Planting(truth, false, agent, packaging=packaged(attack.packaging))]
    if attack.correction:
        found.append(Planting(false, truth, after=attack.correction, packaging=CORRECTION, name="correction"))
    return found


def planter_of(told: Mapping[str, Any]) -> Planter:
    """Return the interceptor of an attacked run from what its trace's header says under launch.attack.

    Raise UsageError when that is not what a run of an attack plan writes there.
    """
    try:
        attack = msgspec.convert(told, Attack)
        truth, false = (next(iter(told[name].values())) for name in ("truth", "claim"))
        return Planter(plantings(attack, str(told["agent"]), str(truth), str(false)))
    except (msgspec.ValidationError, KeyError, AttributeError, StopIteration, RuntimeError) as error:
        raise UsageError(f"The header does not say what was planted: {error}.") from None


def _stranger(index: int, system: str, role: str, name: str, asking: set[str], runs: int) -> Misplanned:
    near = difflib.get_close_matches(name, sorted(asking), n=1, cutoff=0.5)
    did = f"Did you mean {near[0]!r}? " if near else ""
    where = "the clean run" if runs == 1 else f"the {runs} clean runs"
    return Misplanned(
        f"{system!r} has no agent {name!r} in {where}.",
        hint=f"{did}Agents that ask a model: {', '.join(sorted(asking))}.",
        location=("systems", index, role),
    )


def tasks_of(plan: AttackPlan) -> list[dict[str, Any]]:
    """Return the tasks of an attack plan that its claim can be made about."""
    return [task for task in load_tasks(plan.plain()) if plan.claim.of(task)]


__all__ = [
    "CLEAN",
    "Attack",
    "AttackRuns",
    "Attacked",
    "Guards",
    "Measurement",
    "planter_of",
    "plantings",
    "tasks_of",
]
