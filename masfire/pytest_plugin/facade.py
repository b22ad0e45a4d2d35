"""What the fixture `masfire` gives to a test."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from masfire.faults.base import FaultSpec
    from masfire.faults.injector import Outcome
    from masfire.session import Run
    from masfire.trace.model import Trace


class Masfire:
    """The recording of the test that is running.

    The properties speak of the latest run: the automatic one that spans the test's body, or the last
    one that the body started with `run`.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @property
    def trace(self) -> Trace:
        """Return what was recorded so far."""
        return self._latest.trace

    @property
    def injections(self) -> list[Outcome]:
        """Return one outcome per fault of the run, in order (empty in a fault-free case)."""
        return self._latest.injections

    @property
    def faults(self) -> tuple[str, ...]:
        """Return the addresses of the faults that the run is under."""
        return tuple(outcome.address for outcome in self._latest.injections)

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        return self._latest.recorder.header.seed

    @property
    def path(self) -> Path | None:
        """Return the trace file of the run."""
        return self._latest.path

    def run(
        self,
        faults: Sequence[str | FaultSpec] | None = None,
        *,
        seed: int | None = None,
        require_witnessed: bool | None = None,
        save: bool = True,
        **more: Any,
    ) -> AbstractContextManager[Run]:
        """Record a run of its own inside the test, for example once per Hypothesis example.

        `faults` and `seed` default to those of the test's cell; `save=False` keeps the trace in
        memory. Raise InvalidInjection at the end of the block when a fault never struck, unless
        `require_witnessed` (here or on the marker) is false. `more` goes to `masfire.session.run`:
        task, system, budget, knowledge, door, mutator, interceptors, header.
        """
        from masfire.pytest_plugin.recording import explicit_run

        return explicit_run(
            self._config, faults=faults, seed=seed, require_witnessed=require_witnessed, save=save, **more
        )

    def conclude(self, answer: Any = None, *, success: bool | None = None) -> None:
        """Write the system's answer, and whether it is right, into the end of the trace."""
        from masfire.pytest_plugin.recording import current

        recording = current(self._config)
        recording.concluded = recording.concluded or recording.latest is recording.runs[0]
        recording.latest.run.conclude(answer, success=success)

    @property
    def _latest(self) -> Run:
        from masfire.pytest_plugin.recording import current

        return current(self._config).latest.run
