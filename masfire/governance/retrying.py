"""The two built-in contracts about retries, as monitors: final errors stay final, waits are waited."""

from __future__ import annotations

import sys

import msgspec

from masfire.contracts.monitors.retries import Attempts, Retries


class Resignation(Retries):
    """An error that says `retryable: false` is not retried with the same arguments."""

    def __init__(self) -> None:
        super().__init__(("*",), final=(), max_attempts=sys.maxsize)

    def _wrong(self, so_far: Attempts, now: float) -> str:
        return super()._wrong(msgspec.structs.replace(so_far, wait=0.0), now)


class Patience(Retries):
    """A retry with the same arguments waits at least the error's `retry_after_ms`."""

    def __init__(self) -> None:
        super().__init__(("*",), final=(), max_attempts=sys.maxsize)

    def _wrong(self, so_far: Attempts, now: float) -> str:
        return super()._wrong(msgspec.structs.replace(so_far, final=""), now)
