"""The gate that every step of a run passes, and the contexts that say whose step it is."""

from masfire.recorder.acting import ACTOR, PRODUCED, Actor, agent
from masfire.recorder.active import activate, current, paused
from masfire.recorder.gate import Budget, Recorder
from masfire.recorder.protocols import Interceptor, PerRun, Sink, Witness

__all__ = [
    "ACTOR", "PRODUCED", "Actor", "Budget", "Interceptor", "PerRun", "Recorder", "Sink", "Witness",
    "activate", "agent", "current", "paused",
]  # fmt: skip
