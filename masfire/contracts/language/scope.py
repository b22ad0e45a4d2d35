"""What names mean while a formula is elaborated, and what its parts need of the elaborator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from masfire.contracts.language.fields import ALL_KINDS
from masfire.contracts.language.surface import Node, Slip
from masfire.contracts.language.syntax import Formula, Literal, Path, Span, Term, Window

MAX_NODES = 5_000
"""Nodes of one formula after its definitions are expanded."""


class Definition(Struct, frozen=True):
    """A named sub-formula: its parameters, what it stands for, and its text's tree."""

    name: str
    parameters: tuple[str, ...]
    body: Node


class Scope(Struct, frozen=True):
    """What the names of one text mean: a definition's parameters, and quantified variables.

    `site` is where in the user's formula the definition is used (None: the formula itself).
    """

    parameters: dict[str, tuple[Node, Scope]] = {}
    quantified: dict[str, str] = {}
    inside: tuple[str, ...] = ()
    site: Span | None = None


class Context(Struct, frozen=True):
    """What is known of the step that a part of a formula speaks of."""

    kinds: frozenset[str] = ALL_KINDS
    result: bool = False
    """Whether a neighbour speaks of an outcome, so that `tool('x')` is the result."""


class TooLarge(Exception):
    """The expansion outgrew its cap."""


class Reading(Protocol):
    """The elaborator as atoms and terms see it."""

    definitions: Mapping[str, Definition]
    slips: list[Slip]
    bound: set[str]
    used: dict[str, Span]

    def formula(self, node: Node, scope: Scope, context: Context) -> Formula:
        """Return the formula that a node stands for."""

    def term(self, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
        """Return the value that a node stands for and what it holds."""

    def wrong(self, node: Node | Span, scope: Scope, what: str) -> Literal:
        """Note a mistake; return something to go on with."""

    def count(self) -> None:
        """Count one node; raise TooLarge beyond the cap."""

    def place(self, node: Node, scope: Scope) -> Span:
        """Return where the user wrote a node."""

    def window(self, node: Node | None, scope: Scope) -> Window | None:
        """Return a window."""

    def check_field(self, path: Path, node: Node, scope: Scope, context: Context) -> str:
        """Note an impossible field; return what it holds."""

    def expansion(self, node: Node, scope: Scope) -> tuple[Node | None, Scope]:
        """Return the body of the definition that a call names, and the scope it is read in."""
