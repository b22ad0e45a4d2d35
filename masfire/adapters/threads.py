"""Threads that keep the context they were started from, so that agents keep their identity in them."""

from __future__ import annotations

import functools
from contextvars import copy_context
from types import ModuleType
from typing import Any

from masfire.adapters.patching import Patch, Undo
from masfire.recorder import current


def _patch_executor(module: ModuleType) -> Undo:
    executor: Any = module.ThreadPoolExecutor
    original = executor.submit

    @functools.wraps(original)
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if current() is None:
            return original(self, fn, *args, **kwargs)
        return original(self, copy_context().run, fn, *args, **kwargs)

    executor.submit = submit
    return lambda: setattr(executor, "submit", original)


def _patch_thread(module: ModuleType) -> Undo:
    thread: Any = module.Thread
    original = thread.start

    @functools.wraps(original)
    def start(self: Any) -> None:
        if current() is not None:
            context, run = copy_context(), self.run

            def run_in_context() -> None:
                self.__dict__.pop("run", None)  # a second `run` is the thread's own, as ever
                context.run(run)

            self.run = run_in_context
        original(self)

    thread.start = start
    return lambda: setattr(thread, "start", original)


PATCHES: tuple[Patch, ...] = (
    Patch("concurrent.futures.thread", _patch_executor),
    Patch("threading", _patch_thread),
)
"""What has to be in force while a run is active."""
