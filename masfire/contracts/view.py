"""A step as contracts see it: its fields by path, decoded when somebody looks."""

from __future__ import annotations

from masfire.trace.model import Step


class View:
    """One step seen by contracts."""

    def __init__(self, step: Step) -> None:
        self.step = step
