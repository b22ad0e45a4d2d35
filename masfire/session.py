"""One recorded run from start to end: header, file, faults, adapters, and how it ended."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masfire.adapters.patching import Patch, Patches
from masfire.errors import BudgetExceeded, Divergence, InvalidInjection, ReplayEnded, UsageError
from masfire.recorder import Budget, Interceptor, PerRun, Recorder, activate
from masfire.recovery import Attempt
from masfire.registry import Registry
from masfire.trace.model import Header, Trace
from masfire.trace.payload import pack

if TYPE_CHECKING:
    from masfire.faults.base import FaultSpec, Mutator
    from masfire.faults.injector import Injector, Knowledge, Outcome
    from masfire.recorder.player import Player

ADAPTERS: Registry[Sequence[Patch]] = Registry("adapter")
"""Third parties add an adapter by the entry point ``masfire: adapter.<name>``."""

_BUILT_IN = ("threads", "http", "langgraph", "langchain")
_patches: Patches | None = None

WITNESSED = "witnessed"


class Run:
    """A run in progress (or over): what was recorded so far and what became of the faults."""

    def __init__(self, recorder: Recorder, injector: Injector | None, path: Path | None) -> None:
        self.recorder = recorder
        self.path = path
        self._injector = injector
        self._trace: Trace | None = None
        self._ending: dict[str, Any] = {}

    @property
    def trace(self) -> Trace:
        """Return the trace so far; after the run, the whole one."""
        return self._trace or self.recorder.trace()

    @property
    def injections(self) -> list[Outcome]:
        """Return one outcome per fault that was asked for, in order."""
        return self._injector.outcomes() if self._injector is not None else []

    def conclude(self, answer: Any = None, *, success: bool | None = None) -> None:
        """Say what the run's answer was and whether a check accepted it (both go into the end record)."""
        self._ending.update(answer=answer, success=success)

    def require_witnessed(self) -> None:
        """Raise InvalidInjection unless every fault that was asked for was seen on the receiving side."""
        missed = [outcome for outcome in self.injections if outcome.state != WITNESSED]
        if missed:
            raise InvalidInjection(
                "; ".join(
                    f"Fault {outcome.address!r} never struck: {outcome.state} ({outcome.reason})"
                    for outcome in missed
                )
                + "."
            )

    def close(self, status: str, error: str = "") -> Trace:
        """End the run with `status`; the first call counts."""
        if self._trace is None:
            if self._injector is not None and not self.recorder.finished:
                for mark in self._injector.settle():
                    self.recorder.mark(mark)
            self._trace = self.recorder.finish(status, error=error, **self._ending)
        return self._trace


@contextlib.contextmanager
def run(
    faults: Sequence[str | FaultSpec] = (),
    *,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    task: Any = None,
    system: str = "",
    launch: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
    knowledge: Knowledge | None = None,
    door: Any = None,
    mutator: Mutator | None = None,
    interceptors: Sequence[Interceptor | PerRun] = (),
    privacy: str = "redacted",
    redact: Sequence[str] = (),
    run_id: str = "",
    header: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.time,
    replay: Player | None = None,
    draws: bool = False,
) -> Iterator[Run]:
    """Record whatever agents do inside this block, with `faults` injected.

    `faults` are addresses or FaultSpecs; `path` is the trace file (None: kept in memory only);
    `task` is the task as the system gets it, so that its text is recognised as the user's; `launch`
    says how to start this run again; `knowledge` is what a fault-free control has shown (agents,
    roles, tools); `door` is a model door (sampling settings, reply cache, stub); `interceptors` are
    asked after the faults; `redact` are further secret patterns (RE2 syntax); `header` holds further
    header fields; `replay` is the record that this run repeats instead of asking models and running tools
    (Divergence is raised where it cannot); `draws` also records what the system's own modules draw from
    `random` and `uuid4` and read off the clock, so that a replay can repeat it. An exception of the
    block ends the run as `error` (or `budget`, `overflow`, `interrupted`) and is raised on.

    >>> with run(task="hello") as r:
    ...     pass
    >>> r.trace.end.status
    'completed'
    """
    if privacy not in ("full", "redacted", "content-off"):
        raise UsageError(f"Privacy level {privacy!r} is unknown.", hint="Use full, redacted or content-off.")
    injector = _injector(faults, seed, knowledge, mutator)
    head = Header(
        run=run_id or f"{uuid.uuid4().hex[:16]}",
        created=clock(),
        seed=seed,
        task=pack(task),
        launch=dict(launch or {}),
        faults=tuple(outcome.address for outcome in injector.outcomes()) if injector else (),
        system=system,
        privacy=privacy,
        **dict(header or {}),
    )
    recorder = Recorder(
        head,
        sink=_sink(path, head, privacy, redact),
        interceptors=(*((injector,) if injector else ()), *interceptors),
        witnesses=(injector,) if injector else (),
        budget=budget,
        clock=clock,
        replay=replay,
    )
    if door is not None:
        recorder.notes["model_door"] = door
    active = Run(recorder, injector, Path(path) if path is not None else None)
    status, error = "completed", ""
    try:
        with _adapters().installed(), _chance(recorder, replay, draws=draws), activate(recorder):
            yield active
        if replay is not None:
            replay.finish(recorder.trace())
    except ReplayEnded as reached:
        status, error = "interrupted", str(reached)
        raise
    except BudgetExceeded as exceeded:
        status, error = "budget", str(exceeded)
        raise
    except (KeyboardInterrupt, GeneratorExit):
        status = "interrupted"
        raise
    except BaseException as failure:
        status, error = "error", f"{type(failure).__name__}: {failure}"
        if replay is not None and replay.over and not isinstance(failure, (Divergence, ReplayEnded)):
            replay.reraise(failure)  # what the system made of being stopped says nothing
        raise
    finally:
        if replay is not None:
            replay.close()
        if "budget" in recorder.notes:
            status = "budget"
        elif "overflow" in recorder.notes and status == "error":
            status = "overflow"
        active.close(status, error)


def attempt(
    system: Callable[[Any], Any], task: Any, *, check: Callable[[Any, Any], Any], **options: Any
) -> Attempt:
    """Run `system(task)` once, recorded, and judge its answer by `check(task, answer)`.

    `options` are those of `run` (interceptors, faults, seed, path, …). An exception of the system is a
    failed attempt, not raised on: what `masfire.recovery.retry` tries again.
    """
    answer: Any = None
    passed, error = False, ""
    with contextlib.ExitStack() as stack:
        active = stack.enter_context(run(task=task, **options))
        try:
            answer = system(task)
            passed = bool(check(task, answer))
            active.conclude(answer, success=passed)
        except Exception as failure:  # whatever the system raises is what is to be recovered from
            error = f"{type(failure).__name__}: {failure}"
            active.close("error", error)
    return Attempt(answer, passed, active.trace, error)


def _injector(
    faults: Sequence[str | FaultSpec], seed: int, knowledge: Knowledge | None, mutator: Mutator | None
) -> Injector | None:
    if not faults:
        return None
    from masfire.faults.base import FaultSpec
    from masfire.faults.injector import Injector

    specs = [fault if isinstance(fault, FaultSpec) else FaultSpec.parse(fault) for fault in faults]
    return Injector(specs, seed=seed, knowledge=knowledge, mutator=mutator)


def _chance(
    recorder: Recorder, replay: Player | None, *, draws: bool
) -> contextlib.AbstractContextManager[None]:
    if not draws and (replay is None or not replay.trace.draws):
        return contextlib.nullcontext()
    from masfire.adapters import chance

    return chance.recorded(recorder)


def _sink(path: str | os.PathLike[str] | None, header: Header, privacy: str, redact: Sequence[str]) -> Any:
    from masfire.trace.redact import Redactor

    if path is None:
        from masfire.trace.io import MemorySink

        return MemorySink(Redactor(redact, level=privacy))
    from masfire.trace.io import TraceWriter

    return TraceWriter(path, header, redactor=Redactor(redact, level=privacy))


def _adapters() -> Patches:
    global _patches  # one installation serves the whole process
    if _patches is None:
        patches: list[Patch] = []
        for name in _BUILT_IN:
            patches += importlib.import_module(f"masfire.adapters.{name}").PATCHES
        for more in ADAPTERS:
            patches += more
        _patches = Patches(patches)
    return _patches
