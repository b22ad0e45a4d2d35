"""One run of a plan, executed in a process of its own that may be killed."""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from masfire import __version__, session
from masfire.analysis import analyze
from masfire.campaign.orders import Answer, Broken, Done, Order, Ready, Setting, Told
from masfire.campaign.plan import Plan, System
from masfire.campaign.results import RunResult, storable
from masfire.campaign.tasks import resolve
from masfire.campaign.verdicts import digest, load, verdicts
from masfire.errors import (
    BudgetExceeded,
    IncompatibleVersion,
    MasfireError,
    MissingDependency,
    RecordingError,
    UsageError,
)
from masfire.faults.injector import Knowledge
from masfire.models.cache import ReplyCache
from masfire.models.door import Door, Sampling
from masfire.recorder import Budget, Interceptor, PerRun, paused
from masfire.trace.io import read_trace
from masfire.trace.redact import Redactor

if TYPE_CHECKING:
    from masfire.recorder.player import Player

LONGEST_ERROR = 2_000
_OURS = (RecordingError, IncompatibleVersion, MissingDependency)
"""Failures that say nothing of the system: the campaign stops."""


class Bench:
    """Everything that runs of one process share: the imported systems and the reply cache."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.plan = Plan.model_validate(setting.plan)
        self.systems = {system.name: system for system in self.plan.systems}
        self.redactor = Redactor(self.plan.record.redact, level=self.plan.record.privacy)
        self.contracts = load(self.plan.contracts, setting.root)
        self.contracts_hash = digest(self.plan.contracts, setting.root)
        self.interceptors: Sequence[Interceptor | PerRun] = ()
        """What every run's steps pass after the faults (an attack, a guard)."""
        self.cache = ReplyCache(setting.cache, name=setting.cache_name) if setting.cache else None

    def load(self) -> None:
        """Import every system; raise UsageError naming all objects that do not exist."""
        mistakes = []
        for system in self.plan.systems:
            for reference in (system.system, system.run, system.check):
                try:
                    resolve(reference, self.setting.root)
                except UsageError as error:
                    mistakes.append(f"System {system.name!r}: {error}")
        if mistakes:
            raise UsageError("\n".join(mistakes))

    def run(self, order: Order, *, replay: Player | None = None) -> RunResult:
        """Execute one order and return what it came to; its trace is closed and whole.

        With `replay` the run repeats a record; whether it could, the player knows.
        """
        system = self.systems[order.system]
        started = time.monotonic()
        score: float | None = None
        failure: BaseException | None = None
        with self._recorded(order, replay) as recorded:
            try:
                score = self._attempt(system, order, recorded)
            except (Exception, SystemExit) as raised:  # whatever a system raises is a result of its run
                if isinstance(raised, _OURS):
                    raise
                failure = raised
                if replay is not None and replay.over:
                    recorded.close("interrupted", _words(raised))
                recorded.close(_status(recorded, raised), _words(raised))
        return self._result(order, system, recorded, score, failure, time.monotonic() - started)

    def close(self) -> None:
        """Add the reply cache's counts to its file."""
        if self.cache is not None:
            self.cache.close()

    def _recorded(self, order: Order, replay: Player | None) -> Any:
        plan, limits = self.plan, self.plan.budget
        return session.run(
            [order.address] if order.address else [],
            seed=order.seed,
            path=order.path,
            task=order.task,
            system=order.label,
            launch=order.launch,
            budget=Budget(steps=limits.steps, calls=limits.calls, seconds=limits.seconds),
            knowledge=self._knowledge(order),
            door=self._door(order),
            interceptors=self.interceptors,
            privacy=plan.record.privacy,
            redact=plan.record.redact,
            run_id=order.id,
            replay=replay,
            draws=plan.record.draws,
            header={
                "models": (self.setting.model_name,) if self.setting.model_name else (),
                "contracts_hash": self.contracts_hash,
                "settings": {
                    "masfire": __version__,
                    "stub": order.stub,
                    **plan.model.model_dump(mode="json"),
                },
            },
        )

    def _attempt(self, system: System, order: Order, recorded: session.Run) -> float | None:
        root = self.setting.root
        built = _awaited(resolve(system.system, root)())
        answer = _awaited(resolve(system.run, root)(built, order.task))
        with paused(recorded.recorder):  # what the check does is no part of the run
            try:
                verdict = _awaited(resolve(system.check, root)(order.task, answer))
                score = float(verdict)
            except Exception as raised:  # a check that breaks judges nothing: the run stays unjudged
                recorded.recorder.notes["campaign.check"] = _words(raised)
                recorded.conclude(answer)
                return None
        recorded.conclude(answer, success=score >= system.passes)
        return score

    def _door(self, order: Order) -> Door | None:
        model = self.plan.model
        if model.endpoint == "none" and not order.stub:
            return None
        stub = None
        if order.stub:
            from masfire.models.stub import Copier

            stub = Copier(slot=self.setting.slot or model.slot)
        sampling = Sampling(temperature=model.temperature, max_tokens=model.max_tokens, model=model.name)
        return Door(seed=order.seed, sampling=sampling, cache=self.cache, stub=stub)

    def _knowledge(self, order: Order) -> Knowledge | None:
        if not order.control:
            return Knowledge(slot=self.setting.slot)
        return Knowledge.from_trace(read_trace(order.control), slot=self.setting.slot)

    def _result(
        self,
        order: Order,
        system: System,
        recorded: session.Run,
        score: float | None,
        failure: BaseException | None,
        seconds: float,
    ) -> RunResult:
        report = analyze(recorded.trace)
        check = recorded.recorder.notes.get("campaign.check")
        success = False if failure is not None else None if score is None else score >= system.passes
        outcome = next(iter(recorded.injections), None)
        result = RunResult(
            id=order.id,
            system=order.label,
            model="stub" if order.stub else self.setting.model_name,
            fault=order.fault,
            times=order.times,
            address=order.address,
            task=order.task["id"],
            seed=order.seed,
            status=report.status,
            success=success,
            score=score,
            state=outcome.state if outcome else "",
            reason=self._told(outcome.reason) if outcome else "",
            agent=self._told(outcome.agent) if outcome else "",
            step=outcome.step if outcome else -1,
            witnessed_at=outcome.witnessed_at if outcome else -1,
            error=f"The check failed: {self._told(check)}" if check else report.error[:LONGEST_ERROR],
            steps=len(recorded.trace),
            calls=report.calls.made,
            tokens_in=report.calls.tokens_in,
            tokens_out=report.calls.tokens_out,
            seconds=seconds,
            sources=report.calls.sources,
            trace=f"{order.id}.jsonl",
            verdicts=verdicts(recorded.trace, self.contracts),
        )
        return RunResult(**{name: storable(value) for name, value in msgspec.structs.asdict(result).items()})

    def _told(self, text: str) -> str:
        """Return text as a result may tell it: without secrets, unless the plan records everything."""
        return text if self.redactor.level == "full" else self.redactor.text(text)


def _awaited(value: Any) -> Any:
    """Return the value, or what it comes to when it is awaitable."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def _status(recorded: session.Run, raised: BaseException) -> str:
    notes = recorded.recorder.notes
    if "budget" in notes or isinstance(raised, BudgetExceeded):
        return "budget"
    return "overflow" if "overflow" in notes else "error"


def _words(raised: BaseException) -> str:
    return str(storable(f"{type(raised).__name__}: {raised}"))[:LONGEST_ERROR]


def serve() -> None:
    """Answer the lines on standard input until it ends; then end at once, whatever still runs."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what systems print must not be taken for an answer
    told: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(told,), daemon=True).start()
    decoder: msgspec.json.Decoder[Told] = msgspec.json.Decoder(Told)

    def say(answer: Answer) -> None:
        answers.write(msgspec.json.encode(answer) + b"\n")

    bench: Bench | None = None
    while True:
        item = decoder.decode(told.get())
        if isinstance(item, Setting):
            try:
                bench = Bench(item)
                bench.load()
            except MasfireError as error:
                say(Broken(str(error)))
                continue
            say(Ready())
        elif bench is not None:
            try:
                result = bench.run(item)
            except MasfireError as error:
                say(Broken(str(error)))
                continue
            if bench.cache is not None:
                bench.cache.flush()
            say(Done(result))


def _listen(told: queue.SimpleQueue[bytes]) -> None:
    """Pass lines on; when the campaign is gone, even by kill -9, take the whole process with it."""
    for line in sys.stdin.buffer:
        told.put(line)
    os._exit(0)


if __name__ == "__main__":
    serve()
