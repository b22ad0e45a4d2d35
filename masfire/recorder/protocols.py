"""What a recorder works with: who may change steps, where they are kept, who looks at what arrived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

from masfire.trace.model import End, Header, Step

Interceptor: TypeAlias = "Callable[[Step, Sequence[Step]], Sequence[Step] | Awaitable[Sequence[Step]]]"
"""One function: (step, history) → the steps to record in its place.

Return `(step,)` to let it pass, `()` to swallow it, several to multiply it. Each returned step goes
on to the next interceptor alone, depth-first: the third copy of a storm is judged knowing the second.
`history` holds the visible steps recorded so far (as stored, that is redacted). A step whose body is
an Injection is written down as ground truth and shown to no further interceptor and no caller; a
Decision that is returned in place of something else is written down and not delivered to the caller.
An awaitable result is allowed under `asubmit` only.
"""


class PerRun(Protocol):
    """Something that keeps state of each run (a governor, say) and serves one by an interceptor."""

    def for_run(self, header: Header) -> Interceptor:
        """Return what serves the run of this header."""


class Sink(Protocol):
    """Where recorded steps go (a file, usually)."""

    def write(self, step: Step) -> Step:
        """Write one step durably; return it as stored (redacted)."""

    def keep(self, kept: Any) -> Any:
        """Write what a replay needs (an Original, a Drawn); return it as stored (redacted)."""

    def close(self, end: End | None) -> End | None:
        """Write the end record, if any, and release the resource; return the record as stored (redacted)."""


class Witness(Protocol):
    """Somebody who wants to know what the receiving side really got."""

    def received(self, index: int, content: Any, by: str) -> Step | Sequence[Step] | None:
        """Look at what `by` received of step `index`; return the Injection steps to record, if any."""
