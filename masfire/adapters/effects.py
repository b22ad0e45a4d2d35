"""What the request layer asks of its driver, so that one piece of code serves sync and async clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from masfire.recorder import Recorder
from masfire.trace.model import Body

_WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.002

T = TypeVar("T")


class Submit(NamedTuple):
    """Pass a step through the recorder's gate; the answer is the tuple of steps recorded instead."""

    agent: str
    body: Body
    role: str = ""
    parents: tuple[int, ...] = ()


class Enter(NamedTuple):
    """Wait until a replay's record has this request of an agent, or a message in it, next."""

    agent: str
    body: dict[str, Any]


class Wait(NamedTuple):
    """Wait until another request that delivers the same message knows what became of it."""

    ready: threading.Event


class Send(NamedTuple):
    """Send the request; the answer is the client's response."""

    request: Any


class Drain(NamedTuple):
    """Read the raw body of a streamed response to its end and close it; the answer is its bytes."""

    response: Any


Effect: TypeAlias = Submit | Enter | Wait | Send | Drain
Steps: TypeAlias = "Generator[Effect, Any, T]"
"""A piece of request handling that yields effects and returns a T."""


def run_sync(plan: Steps[T], run: Recorder, send: Any) -> T:
    """Carry out `plan` in a thread; `send` is called with a request."""
    answer: Any = None
    failure: BaseException | None = None
    try:
        while True:
            effect = plan.send(answer) if failure is None else plan.throw(failure)
            answer = failure = None
            try:
                if isinstance(effect, Submit):
                    answer = run.submit(effect.agent, effect.body, role=effect.role, parents=effect.parents)
                elif isinstance(effect, Enter):
                    if run.replay is not None:
                        run.replay.enter(run.steps, effect.agent, effect.body)
                elif isinstance(effect, Send):
                    answer = send(effect.request)
                elif isinstance(effect, Drain):
                    stream = effect.response.stream
                    try:
                        answer = b"".join(stream)
                    finally:
                        stream.close()
                else:
                    effect.ready.wait(_WAIT_SECONDS)
            except BaseException as error:
                failure = error
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def run_async(plan: Steps[T], run: Recorder, send: Any) -> T:
    """Carry out `plan` in an event loop; `send` is awaited with a request."""
    answer: Any = None
    failure: BaseException | None = None
    try:
        while True:
            effect = plan.send(answer) if failure is None else plan.throw(failure)
            answer = failure = None
            try:
                if isinstance(effect, Submit):
                    answer = await run.asubmit(
                        effect.agent, effect.body, role=effect.role, parents=effect.parents
                    )
                elif isinstance(effect, Enter):
                    if run.replay is not None:
                        await run.replay.aenter(run.steps, effect.agent, effect.body)
                elif isinstance(effect, Send):
                    answer = await send(effect.request)
                elif isinstance(effect, Drain):
                    stream = effect.response.stream
                    try:
                        answer = b"".join([chunk async for chunk in stream])
                    finally:
                        await stream.aclose()
                else:
                    for _ in range(int(_WAIT_SECONDS / _POLL_SECONDS)):
                        if effect.ready.is_set():
                            break
                        await asyncio.sleep(_POLL_SECONDS)  # an asyncio event knows one loop only
            except BaseException as error:
                failure = error
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
