"""Who is calling: the actor of the context, else the code on the stack, else the system prompt."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import sysconfig
from types import CodeType, FrameType

from masfire.recorder import ACTOR, Actor

_GO_BETWEENS = frozenset(
    "ask ask_llm call call_api call_llm call_model chat complete completion create_completion forward "
    "generate get_completion get_response infer invoke llm model post predict prompt query reply request "
    "respond run run_agent send step think wrapper inner main __call__ __enter__ acall achat ainvoke arun "
    "<lambda> <listcomp> <genexpr> <dictcomp> <setcomp> <module>".split()
)
"""Function names that say nothing about who calls: the caller of such a function is asked instead."""

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
    its object's `name` or class; else a name from the system prompt.
    """
    actor = ACTOR.get()
    return actor if actor is not None else Actor(_on_stack() or named_by(system_prompt))


def named_by(system_prompt: str) -> str:
    """Return the agent name that a system prompt implies: "You are the planner." → "planner".

    Without such an introduction, `agent-` and six hex digits of the prompt's SHA-256.
    """
    found = _INTRODUCTION.search(system_prompt[:400])
    if found:
        return re.sub(r"\W+", "_", found["role"].strip().lower())
    return f"agent-{hashlib.sha256(system_prompt.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def _on_stack() -> str:
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return ""
        code = frame.f_code
        if not _is_foreign(code):
            name = _name_of(frame, code)
            if name:
                return name
        frame = frame.f_back
    return ""


def _name_of(frame: FrameType, code: CodeType) -> str:
    if code.co_argcount and code.co_varnames[0] == "self":
        own = frame.f_locals.get("self")
        if own is not None:
            name = getattr(own, "name", None)
            if isinstance(name, str) and name:
                return name
            if type(own).__module__ and not type(own).__name__.lower().endswith(("client", "llm", "model")):
                return type(own).__name__
            return ""
    name = code.co_name
    if name in _GO_BETWEENS or name.startswith(("test_", "_")):
        return ""
    return name


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
