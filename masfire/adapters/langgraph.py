"""LangGraph graphs as steps: who acts, what each node sends, and whatever the run makes of it.

Four private names are patched, nothing else: `run_with_retry` and `arun_with_retry` of the runner
(around a task: identity before, messages after, while its writes can still be changed and before the
checkpointer, the streams and the next superstep see them), and `tick` and `after_tick` of the loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from masfire.adapters.langgraph_board import KEY, TaskNote, View, state_of
from masfire.adapters.langgraph_delivery import carry_out, parents_of
from masfire.adapters.langgraph_direct import tell
from masfire.adapters.langgraph_functional import carried, greeted, greeting, replies
from masfire.adapters.langgraph_inputs import conclude, enter, settle_conflicts
from masfire.adapters.langgraph_offers import Offer, offers
from masfire.adapters.patching import Patch, Undo
from masfire.errors import IncompatibleVersion
from masfire.recorder import ACTOR, PRODUCED, Recorder, current

TASK: ContextVar[TaskNote | None] = ContextVar("masfire_langgraph_task", default=None)
"""The innermost LangGraph task of this context."""

_SIGNATURES = {
    "run_with_retry": ("task", "retry_policy", "configurable"),
    "arun_with_retry": ("task", "retry_policy", "stream"),  # what follows differs between 1.0 and 1.2
    "tick": ("self",),
    "after_tick": ("self",),
}
_CONSTANTS = {
    "TASKS": "__pregel_tasks",
    "PUSH": "__pregel_push",
    "RETURN": "__return__",
    "CONF": "configurable",
}


def _require(owner: Any, name: str) -> Any:
    """Return an attribute after checking that it is what this adapter was written for."""
    where = getattr(owner, "__name__", str(owner))
    found = getattr(owner, name, None)
    if not callable(found):
        raise IncompatibleVersion(
            f"langgraph's private name {where}.{name} is gone.", hint="masfire supports langgraph 1.x."
        )
    names = tuple(inspect.signature(found).parameters)
    if names[: len(_SIGNATURES[name])] != _SIGNATURES[name]:
        raise IncompatibleVersion(
            f"langgraph's {where}.{name} now takes ({', '.join(names)}), "
            f"not ({', '.join(_SIGNATURES[name])}).",
            hint="masfire supports langgraph 1.x.",
        )
    return found


def _replace(owner: Any, changes: dict[str, Callable[..., Any]]) -> Undo:
    before = {name: getattr(owner, name) for name in changes}
    for name, function in changes.items():
        setattr(owner, name, function)

    def undo() -> None:
        for name, function in before.items():
            setattr(owner, name, function)

    return undo


def patch_runner(module: ModuleType) -> Undo:
    """Wrap the functions that run one task (all its attempts)."""
    run, arun = _require(module, "run_with_retry"), _require(module, "arun_with_retry")

    def run_with_retry(task: Any, retry_policy: Any, configurable: Any = None) -> Any:
        recorder = current()
        note = None if recorder is None else _note(recorder, task)
        if recorder is None or note is None:
            return run(task, retry_policy, configurable)
        if note.view.kind == "function":
            task = greeted(note, task, _submit(recorder, note, greeting(note, task)))
        if not note.view.direct and note.view.board.has_mail:
            task = enter(note, task)
        actor, produced, inner = ACTOR.set(note.actor), PRODUCED.set(note.produced), TASK.set(note)
        try:
            result = run(task, retry_policy, configurable)
        finally:
            TASK.reset(inner)
            PRODUCED.reset(produced)
            ACTOR.reset(actor)
        if note.view.kind == "function":
            return carried(note, task, result, _submit(recorder, note, replies(note, task, result)))
        if not tell(recorder, note, task):
            carry_out(note, task, _submit(recorder, note, offers(note, task)))
        return result

    async def arun_with_retry(task: Any, retry_policy: Any, stream: bool = False, **more: Any) -> Any:
        recorder = current()
        note = None if recorder is None else _note(recorder, task)
        if recorder is None or note is None:
            return await arun(task, retry_policy, stream, **more)
        if note.view.kind == "function":
            task = greeted(note, task, await _asubmit(recorder, note, greeting(note, task)))
        if not note.view.direct and note.view.board.has_mail:
            task = enter(note, task)
        actor, produced, inner = ACTOR.set(note.actor), PRODUCED.set(note.produced), TASK.set(note)
        try:
            result = await arun(task, retry_policy, stream, **more)
        finally:
            TASK.reset(inner)
            PRODUCED.reset(produced)
            ACTOR.reset(actor)
        if note.view.kind == "function":
            return carried(note, task, result, await _asubmit(recorder, note, replies(note, task, result)))
        if not tell(recorder, note, task):
            carry_out(note, task, await _asubmit(recorder, note, offers(note, task)))
        return result

    return _replace(module, {"run_with_retry": run_with_retry, "arun_with_retry": arun_with_retry})


def patch_loop(module: ModuleType) -> Undo:
    """Wrap the loop's superstep: tasks get their notes before they run."""
    loop = module.PregelLoop
    tick, after_tick = _require(loop, "tick"), _require(loop, "after_tick")
    _check_constants()

    def watched_tick(self: Any) -> bool:
        recorder = current()
        if recorder is None:
            return bool(tick(self))
        views = (recorder.notes.get(KEY) or state_of(recorder)).views
        view = views.get(id(self))
        if view is None:
            # Kept beside the loop, not on it: a new attribute makes all its other ones slower.
            view = views[id(self)] = View(recorder, self, TASK.get())
            # A cached result would skip the node: nothing to record, and faults would enter the cache.
            self.cache = None
        more = bool(tick(self))
        if more:
            view.begin()
        else:
            del views[id(self)]
            view.end()
            if self.status == "done":
                conclude(view)
        return more

    def watched_after_tick(self: Any) -> None:
        recorder = current()
        if recorder is not None and recorder.has_interceptors:
            view = state_of(recorder).views.get(id(self))
            if view is not None and view.board.forced:
                settle_conflicts(view)
        after_tick(self)

    return _replace(loop, {"tick": watched_tick, "after_tick": watched_after_tick})


def _check_constants() -> None:
    from langgraph._internal import _constants

    for name, value in _CONSTANTS.items():
        if getattr(_constants, name, None) != value:
            raise IncompatibleVersion(
                f"langgraph's constant {name} is {getattr(_constants, name, None)!r}, not {value!r}.",
                hint="masfire supports langgraph 1.x.",
            )


def _note(recorder: Recorder, task: Any) -> TaskNote | None:
    """Return the note of a task; those started inside a superstep (@task, error handlers) get theirs now."""
    state = recorder.notes.get(KEY) or state_of(recorder)
    note: TaskNote | None = state.tasks.get(task.id)
    if note is not None:
        return note
    segments = str(task.config["metadata"].get("langgraph_checkpoint_ns", "")).split("|")
    above = segments[-2].rpartition(":")[2] if len(segments) > 1 else ""
    caller = state.tasks.get(above)
    if caller is None:
        return None
    note = TaskNote(caller.view, task, None)
    note.caller = caller
    note.is_call = task.path[-1] is True
    note.parents = note.parents or caller.parents
    state.tasks[task.id] = note
    caller.view.notes.append(note)
    return note


def _submit(recorder: Recorder, note: TaskNote, made: list[Offer]) -> list[Offer]:
    if made:
        parents = parents_of(note) if note.produced else note.parents
        for offer in made:
            offer.steps = recorder.submit(offer.agent or note.agent, offer.body, parents=parents)
        if note.view.parent is not None:
            note.passed_on(made)
    return made


async def _asubmit(recorder: Recorder, note: TaskNote, made: list[Offer]) -> list[Offer]:
    if made and recorder.has_interceptors:
        parents = parents_of(note)
        for offer in made:
            offer.steps = await recorder.asubmit(offer.agent or note.agent, offer.body, parents=parents)
        note.passed_on(made)
        return made
    return _submit(recorder, note, made)


PATCHES: tuple[Patch, ...] = (
    Patch("langgraph.pregel._runner", patch_runner),
    Patch("langgraph.pregel._loop", patch_loop),
)
"""What a recorded run changes in LangGraph while it lasts."""
