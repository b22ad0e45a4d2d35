"""Which run the code that is running now belongs to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar

from masfire.recorder.acting import ASIDE
from masfire.recorder.gate import Recorder

_RUN: ContextVar[Recorder | None] = ContextVar("masfire_run", default=None)
_active: list[Recorder] = []
_active_lock = threading.Lock()


def current() -> Recorder | None:
    """Return the run that steps of this context belong to, or None.

    A context's own run wins; otherwise the only active run of the process (threads started before
    the run, event loops with older contexts); with several active runs and no context, None. Inside
    an interceptor there is no run.
    """
    if not _active or ASIDE.get():
        return None
    run = _RUN.get()
    if run is not None and run._end is None:  # asked several times a step, so without the property
        return run
    return _active[0] if len(_active) == 1 else None


@contextlib.contextmanager
def activate(recorder: Recorder) -> Iterator[Recorder]:
    """Make `recorder` the run of this context (and of everything started from it)."""
    token = _RUN.set(recorder)
    with _active_lock:
        _active.append(recorder)
    try:
        yield recorder
    finally:
        with _active_lock:
            _active.remove(recorder)
        with contextlib.suppress(ValueError):
            _RUN.reset(token)


@contextlib.contextmanager
def paused(recorder: Recorder) -> Iterator[None]:
    """Record nothing in `recorder` inside this block, so that another run can take its place.

    Without this, two runs would be active and code without a context of its own could not tell which.
    """
    token = _RUN.set(None)
    with _active_lock:
        was_active = recorder in _active
        if was_active:
            _active.remove(recorder)
    try:
        yield
    finally:
        with _active_lock:
            if was_active:
                _active.append(recorder)
        with contextlib.suppress(ValueError):
            _RUN.reset(token)
