"""Lines of source as they are written, and Boolean expressions folded as far as they are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Expr: TypeAlias = "bool | str"
"""What is known now (True, False), or Python source of a Boolean."""


def all_of(parts: list[Expr]) -> Expr:
    """Return the conjunction, folded."""
    if any(part is False for part in parts):
        return False
    texts = [part for part in parts if isinstance(part, str)]
    return f"({' and '.join(texts)})" if texts else True


def any_of(parts: list[Expr]) -> Expr:
    """Return the disjunction, folded."""
    if any(part is True for part in parts):
        return True
    texts = [part for part in parts if isinstance(part, str)]
    return f"({' or '.join(texts)})" if texts else False


def opposite(part: Expr) -> Expr:
    """Return the negation, folded."""
    return f"(not {part})" if isinstance(part, str) else not part


class Writer:
    """Lines of source with their indentation, fresh names and bound constants."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.constants: dict[str, Any] = {}
        self.helpers: list[str] = []
        self.effects = 0
        self.answers = 0
        self._names = 0

    def line(self, text: str) -> None:
        """Write one line."""
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write a line that opens a block."""
        self.line(head)
        size = len(self.lines)
        self.depth += 1
        yield
        if len(self.lines) == size:
            self.line("pass")
        self.depth -= 1

    def name(self, prefix: str) -> str:
        """Return a name that is not used yet."""
        self._names += 1
        return f"{prefix}{self._names}"

    def constant(self, value: Any) -> str:
        """Return a name that is bound to a value."""
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name
