"""Asking code that may raise, hang or answer nonsense: every doubt is a no."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from masfire.governance.ruling import Allow, Block, Outcome, Proposal, Refusal, Rewrite, ToolError

Check: TypeAlias = "Callable[[Proposal], Answer | Awaitable[Answer]]"
"""A rule of the user's own. Only Outcome.ALLOW, Allow, Rewrite and Block are answers."""

Answer: TypeAlias = "Outcome | Allow | Rewrite | Block"

_UNSET = object()


def ask(function: Callable[..., Any], arguments: tuple[Any, ...], *, seconds: float, rule: str) -> Any:
    """Return what `function` answers within `seconds`; raise Refusal when it raises, hangs or must wait.

    It runs in a thread of its own (in a copy of this context). One that hangs is left behind: Python
    cannot stop it, and its answer no longer counts.
    """
    box: list[Any] = [_UNSET, None]
    done = threading.Event()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            box[0] = context.run(function, *arguments)
        except BaseException as failure:
            box[1] = failure
        finally:
            done.set()

    threading.Thread(target=work, name=f"masfire-{rule}", daemon=True).start()
    if not done.wait(seconds):
        raise _no(rule, f"It gave no answer within {seconds:g} s.")
    if box[1] is not None:
        raise _no(rule, f"It failed: {type(box[1]).__name__}: {box[1]}"[:500])
    answer = box[0]
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise _no(rule, "It answers asynchronously, but the call is synchronous; use the async twin.")
    return answer


async def aask(function: Callable[..., Any], arguments: tuple[Any, ...], *, seconds: float, rule: str) -> Any:
    """Like `ask` from an event loop: a coroutine is awaited, anything else runs in a thread."""
    if is_async(function):
        try:
            async with asyncio.timeout(seconds):
                return await function(*arguments)
        except TimeoutError:
            raise _no(rule, f"It gave no answer within {seconds:g} s.") from None
        except Exception as failure:
            raise _no(rule, f"It failed: {type(failure).__name__}: {failure}"[:500]) from None
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def tell(answer: Any, failure: BaseException | None) -> None:
        if not answered.done():
            answered.set_result((answer, failure))

    def work() -> None:
        answer: Any = None
        broken: BaseException | None = None
        try:
            answer = context.run(function, *arguments)
        except BaseException as error:
            broken = error
        try:
            loop.call_soon_threadsafe(tell, answer, broken)
        except RuntimeError:
            return  # the loop is gone, and with it whoever asked

    threading.Thread(target=work, name=f"masfire-{rule}", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            answer, broken = await answered
            if broken is None and inspect.isawaitable(answer):
                answer = await answer
    except TimeoutError:
        raise _no(rule, f"It gave no answer within {seconds:g} s.") from None
    except Exception as error:
        raise _no(rule, f"It failed: {type(error).__name__}: {error}"[:500]) from None
    if broken is not None:
        raise _no(rule, f"It failed: {type(broken).__name__}: {broken}"[:500])
    return answer


def is_async(function: object) -> bool:
    """Return whether calling this gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method is inspected, not tested for
    )


def heed(answer: Any, *, rule: str) -> Rewrite | None:
    """Return the rewrite an answer asks for, or None when it allows; raise Refusal for all else."""
    if answer is Outcome.ALLOW or type(answer) is Allow:
        return None
    if type(answer) is Rewrite:
        return answer
    if type(answer) is Block:
        error = answer.error or ToolError("permission", answer.reason, suggested_action="choose another way")
        raise Refusal(rule, answer.reason, error, answer.evidence)
    if answer is Outcome.BLOCK:
        raise Refusal(rule, "It said no.", ToolError("permission", "It said no."))
    raise _no(
        rule, f"It returned {answer!r:.80}; an answer is Allow(), Block(reason) or Rewrite(value, reason)."
    )


def _no(rule: str, reason: str) -> Refusal:
    error = ToolError("internal", reason, retryable=False, suggested_action="report it to a person")
    return Refusal(rule, reason, error)
