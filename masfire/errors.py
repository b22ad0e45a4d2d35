"""Every error masfire raises on purpose: what was asked, what is wrong, what would be right, where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MasfireError(Exception):
    """Base of all masfire errors; `str(error)` is a sentence a user can act on.

    `exit_code` is what a command ends with when the error reaches it:
    1 a contract or threshold failed, 2 usage, 3 inconclusive or invalid injection.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        self.message, self.hint, self.where = message, hint, where
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text} {self.hint}" if self.hint else text


class UsageError(MasfireError):
    """Input from the user (an address, a plan, an option) that cannot be understood."""


class UnknownName(UsageError):
    """A name that no registry entry carries; says the nearest match and the whole list."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        did = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(
            f"Unknown {kind} {name!r}.", hint=f"{did}Known: {', '.join(names) or 'none'}.", where=where
        )
        self.name, self.near = name, near[0] if near else ""


class DuplicateName(UsageError):
    """Two owners want the same registry name."""


class MissingDependency(UsageError):
    """An optional package is needed; `hint` holds the exact command that installs it."""


class TraceError(MasfireError):
    """A trace that cannot be read in full.

    `line` is 1-based, `offset` is the byte where the bad line begins, `reason` is one clause.
    The good prefix is what a reader yielded before it raised; `read_trace` attaches it as `prefix`.
    """

    exit_code = 3

    def __init__(self, reason: str, *, path: str = "", line: int = 0, offset: int = 0) -> None:
        self.reason, self.path, self.line, self.offset = reason, path, line, offset
        self.prefix: object = None
        super().__init__(f"{reason} (line {line}, byte {offset})", where=path)


class NoTrace(TraceError):
    """A file that is no trace at all, so that nothing is damaged: the wrong file was named.

    `begins` are its first bytes. A trace that was altered or cut off is a TraceError instead.
    """

    exit_code = 2

    def __init__(self, path: str, begins: bytes) -> None:
        shown = begins[:40].decode("utf-8", "replace").rstrip("\n\ufffd")
        super().__init__("this is no trace of masfire", path=path, line=1)
        self.begins = begins
        self.message = f"This is no trace of masfire: it begins with {shown!r}."
        self.hint = "Name a file that a run, a test or a campaign of masfire recorded."


class RecordingError(MasfireError):
    """The trace could not be written (disk full, file gone); never silent."""

    exit_code = 3


class RefusedValue(MasfireError):
    """A value no trace can hold (a 5,000-digit integer, a cycle, something that is not JSON)."""


class BudgetExceeded(MasfireError, PermissionError):
    """A run used up its own budget of steps, model calls, seconds or money.

    It derives from PermissionError because LangGraph's default retry policy does not retry that.
    """

    exit_code = 1


class Divergence(MasfireError, PermissionError):
    """A replay left its record: not what was expected came, and no contract failed by it.

    `step` is the index at which it happened (-1: at the end), `agent` whose step it was, `path` the
    place in it, `expected` what the record has there and `got` what came. It derives from
    PermissionError for the same reason as BudgetExceeded.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        step: int,
        agent: str = "",
        path: str = "",
        expected: object = None,
        got: object = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.step, self.agent, self.path, self.expected, self.got = step, agent, path, expected, got


class ReplayEnded(MasfireError, PermissionError):
    """A replay reached the step it was to stop at, or the end of a record that breaks off."""

    exit_code = 0


class InvalidInjection(MasfireError):
    """A fault that was asked for never struck; says in which state it ended and why."""

    exit_code = 3


class IncompatibleVersion(MasfireError):
    """A framework's private name that an adapter patches is gone or has another signature."""
