"""Fail, diagnose, note, try again: notes in an agent's requests, and the next attempt with them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import Struct

from masfire.errors import RefusedValue
from masfire.knowledge.model import ACCEPTED, MistakeNote
from masfire.knowledge.notebook import Failure, Notebook, notes_of
from masfire.knowledge.quoting import quoted
from masfire.trace.model import Action, Step, Trace
from masfire.trace.payload import pack, unpack

if TYPE_CHECKING:
    from masfire.recorder import Interceptor

Diagnose: TypeAlias = Callable[[Trace], Failure | None]
"""Who made a run fail, and how; None: it cannot be told."""


class Attempt(Struct, frozen=True):
    """One recorded try: the answer, whether a check accepted it, and the trace."""

    answer: Any
    passed: bool
    trace: Trace
    error: str = ""


class Recovered(Struct, frozen=True):
    """What came of trying again: all attempts, and the notes that each but the first was given.

    `recovered`: the first attempt failed and the last one passed.
    """

    attempts: tuple[Attempt, ...]
    notes: tuple[tuple[MistakeNote, ...], ...] = ()

    @property
    def last(self) -> Attempt:
        """Return the attempt whose answer counts."""
        return self.attempts[-1]

    @property
    def recovered(self) -> bool:
        """Return whether a failure was turned into a pass."""
        return len(self.attempts) > 1 and self.last.passed


class NotesInRequests:
    """A recorder interceptor that puts an agent's notes into its model requests, quoted as data.

    `notes` are accepted ones (see `Notebook.accepted`); each agent gets those whose subject names its
    role, its name, or nobody. Use it as one of `session.run(interceptors=…)`; it changes no request
    for which there is no note. `given` counts the requests that got one.
    """

    def __init__(self, notes: Iterable[MistakeNote]) -> None:
        self._notes = tuple(notes)
        self._blocks: dict[tuple[str, str], str] = {}
        self.given = 0

    def __call__(self, step: Step, history: Sequence[Step]) -> Sequence[Step]:
        """Return the step with the notes in its request, or unchanged."""
        if not isinstance(step.body, Action) or step.body.kind != "model_call":
            return (step,)
        block = self.block(step.agent, step.role)
        if not block:
            return (step,)
        try:
            changed = insert(unpack(step.body.proposed), block)
        except RefusedValue:
            return (step,)
        if changed is None:
            return (step,)
        self.given += 1
        return (step.with_payload(pack(changed)),)

    def block(self, agent: str, role: str = "") -> str:
        """Return the quoted notes for an agent, or an empty text."""
        key = (agent, role)
        if key not in self._blocks:
            names = {"", agent, agent.rpartition("/")[2], role}
            self._blocks[key] = quoted([note for note in self._notes if note.subject.role in names])
        return self._blocks[key]


def insert(request: Any, block: str) -> dict[str, Any] | None:
    """Return a chat or Responses request with a block of text after its instructions; None: unknown shape.

    The block becomes part of the last system message at the beginning (a second one would compete with
    it), or a system message of its own when there is none. The request given is not changed.
    """
    if not isinstance(request, dict):
        return None
    if isinstance(request.get("messages"), list):
        return {**request, "messages": _with_block(request["messages"], block)}
    if "input" in request:
        instructions = request.get("instructions")
        joined = f"{instructions}\n\n{block}" if isinstance(instructions, str) and instructions else block
        return {**request, "instructions": joined}
    return None


def _with_block(messages: list[Any], block: str) -> list[Any]:
    first = messages[0] if messages else None
    if (
        isinstance(first, dict)
        and first.get("role") in ("system", "developer")
        and isinstance(first.get("content"), str)
    ):
        return [{**first, "content": f"{first['content']}\n\n{block}"}, *messages[1:]]
    return [{"role": "system", "content": block}, *messages]


def retry(
    attempt: Callable[[Sequence[Interceptor]], Attempt],
    diagnose: Diagnose,
    *,
    notebook: Notebook | None = None,
    attempts: int = 2,
) -> Recovered:
    """Try until an attempt passes, at most `attempts` times; each failure is diagnosed and noted.

    `attempt` runs the system once with the interceptors it is given (recording it, for example by
    `masfire.session.attempt`). The note of this very failure is used on trial in the next attempt,
    beside the `notebook`'s accepted ones; it is not put on file here, as one success proves nothing:
    `masfire learn` enrols it in a trial.
    """
    learnt = list(notebook.accepted()) if notebook is not None else []
    tried = [attempt([NotesInRequests(learnt)] if learnt else [])]
    given: list[tuple[MistakeNote, ...]] = []
    while not tried[-1].passed and len(tried) < attempts:
        learnt = _with_note(learnt, diagnose(tried[-1].trace.blind()))
        given.append(tuple(learnt))
        tried.append(attempt([NotesInRequests(learnt)] if learnt else []))
    return Recovered(tuple(tried), tuple(given))


async def aretry(
    attempt: Callable[[Sequence[Interceptor]], Awaitable[Attempt]],
    diagnose: Callable[[Trace], Failure | Awaitable[Failure | None] | None],
    *,
    notebook: Notebook | None = None,
    attempts: int = 2,
) -> Recovered:
    """Like `retry`, for an attempt that is awaited; `diagnose` may be awaited, too."""
    learnt = list(notebook.accepted()) if notebook is not None else []
    tried = [await attempt([NotesInRequests(learnt)] if learnt else [])]
    given: list[tuple[MistakeNote, ...]] = []
    while not tried[-1].passed and len(tried) < attempts:
        found = diagnose(tried[-1].trace.blind())
        failure = await found if inspect.isawaitable(found) else found
        learnt = _with_note(learnt, failure)
        given.append(tuple(learnt))
        tried.append(await attempt([NotesInRequests(learnt)] if learnt else []))
    return Recovered(tuple(tried), tuple(given))


def _with_note(known: list[MistakeNote], failure: Failure | None) -> list[MistakeNote]:
    """Return the notes with one for this failure in front, on trial."""
    if failure is None:
        return known
    (note,) = notes_of([failure])
    on_trial = msgspec.structs.replace(note, status=ACCEPTED)
    return [on_trial, *(other for other in known if other.subject.key != note.subject.key)]
