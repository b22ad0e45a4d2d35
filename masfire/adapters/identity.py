"""Who is calling: the actor of the context, else the code on the stack, else the system prompt."""

from __future__ import annotations

import dis
import functools
import hashlib
import os
import re
import sys
import sysconfig
from types import CodeType, FrameType

from masfire.recorder import ACTOR, Actor

_GO_BETWEENS = frozenset({
    "__call__", "__enter__", "<dictcomp>", "<genexpr>", "<lambda>", "<listcomp>", "<module>", "<setcomp>",
    "achat", "ainvoke", "arun", "ask", "ask_llm", "call", "call_api", "call_llm", "call_model", "chat",
    "complete", "completion", "create_completion", "forward", "generate", "get_completion", "get_response",
    "infer", "inner", "invoke", "llm", "main", "model", "post", "predict", "prompt", "query", "reply",
    "request", "respond", "run", "run_agent", "send", "step", "think", "wrapper",
})  # fmt: skip
"""Function names that say nothing about who calls: the caller of such a function is asked instead."""

_SDK_NAMES = frozenset({"create", "parse", "stream", "send", "post", "acreate"})
"""What code calls when it calls the SDK itself."""

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_METHOD", "LOAD_ATTR", "LOAD_DEREF", "LOAD_FAST"})
_MAX_FRAMES = 120
_INTRODUCTION = re.compile(
    r"\b(?:You are|You're|You act as|Act as|Your role is)\s+(?:an?\s+|the\s+|our\s+)?"
    r"(?P<role>[A-Za-z][\w-]*(?: [a-z][\w-]*){0,2}?)"
    r"(?=[.,:;!\n]|\s+(?:who|that|of|for|in|at|on|and|agent|with|to|working|responsible)\b|\s*$)"
)
_FOREIGN_ROOTS = tuple(
    sorted(
        {
            os.path.normcase(root) + os.sep
            for name in ("stdlib", "platstdlib", "purelib", "platlib")
            if (root := sysconfig.get_path(name))
        }
        | {os.path.normcase(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep}
    )
)
_foreign: dict[str, bool] = {}


def identify(system_prompt: str) -> Actor:
    """Return who makes the model request that is being sent in this context.

    A named actor wins (a framework adapter's, or `masfire.recorder.agent`); else the nearest function
    of the user's code that is no mere go-between (`ask`, `call_llm`, `main`, …), a method standing for
    its object's `name` or class. A function that asks at several places speaks for several agents
    (an orchestrator), so there the system prompt names them, as it does where nothing else can.
    """
    actor = ACTOR.get()
    return actor if actor is not None else Actor(_on_stack(bool(system_prompt)) or named_by(system_prompt))


def named_by(system_prompt: str) -> str:
    """Return the agent name that a system prompt implies: "You are the planner." → "planner".

    Without such an introduction, `agent-` and six hex digits of the prompt's SHA-256.
    """
    found = _INTRODUCTION.search(system_prompt[:400])
    if found:
        return re.sub(r"\W+", "_", found["role"].strip().lower())
    return f"agent-{hashlib.sha256(system_prompt.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def _on_stack(has_prompt: bool) -> str:
    frame: FrameType | None = sys._getframe(1)
    called = _SDK_NAMES
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return ""
        code = frame.f_code
        if not _is_foreign(code):
            name = _name_of_object(frame, code)
            if name:
                return name
            if not (code.co_name in _GO_BETWEENS or code.co_name.startswith(("test_", "_"))):
                return "" if has_prompt and _sites(code, called) > 1 else code.co_name
            called = frozenset({code.co_name})
        frame = frame.f_back
    return ""


def _name_of_object(frame: FrameType, code: CodeType) -> str:
    if not code.co_argcount or code.co_varnames[0] != "self":
        return ""
    own = frame.f_locals.get("self")
    name = getattr(own, "name", None)
    if isinstance(name, str) and name:
        return name
    kind = type(own).__name__
    return "" if own is None or kind.lower().endswith(("client", "llm", "model")) else kind


@functools.lru_cache(maxsize=1024)
def _sites(code: CodeType, names: frozenset[str]) -> int:
    """Return at how many places `code` mentions one of the names it was found calling."""
    return sum(i.opname in _LOADS and i.argval in names for i in dis.get_instructions(code))


def _is_foreign(code: CodeType) -> bool:
    """Return whether this is code of the standard library, of an installed package or of masfire."""
    filename = code.co_filename
    foreign = _foreign.get(filename)
    if foreign is None:
        path = os.path.normcase(filename)
        foreign = (
            filename.startswith("<frozen")
            or path.startswith(_FOREIGN_ROOTS)
            or f"{os.sep}site-packages{os.sep}" in path
        )
        _foreign[filename] = foreign
    return foreign
