"""Selectors: steps picked by kind, name, agent, role, recipient and condition, as YAML writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from masfire.contracts.language.atoms import glob
from masfire.contracts.language.syntax import And, Argument, Atom, Compare, Const, Formula, Or
from masfire.contracts.language.syntax import Field as StepField

Texts: TypeAlias = Annotated[str | list[str], Field(description="one name or several; * matches any text")]


Kind: TypeAlias = Literal[
    "message", "tool_call", "tool_result", "model_call", "model_reply", "memory_read", "memory_write",
    "memory_value", "delegation", "termination", "event", "decision",
]  # fmt: skip


class Selector(BaseModel):
    """Which steps: every key that is given must agree; several names mean any of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind | list[Kind] = Field(default=[], description="step kinds; none: any")
    tool: Texts = Field(
        default=[], description="tool names: the call, or the result when where asks its outcome"
    )
    name: Texts = Field(default=[], description="name of a tool, model, event or memory")
    agent: Texts = Field(default=[], description="who acts")
    role: Texts = Field(default=[], description="declared role of who acts")
    to: Texts = Field(default=[], description="a recipient of the message")
    where: str = Field(default="", description="a condition on the step's fields")

    @model_validator(mode="after")
    def _something(self) -> Selector:
        if not self.model_fields_set:
            raise ValueError("An empty selector picks every step; write a condition, or kind.")
        return self


Condition: TypeAlias = Callable[[str], Formula]
"""Reads the text of a condition or a formula."""


def formula_of(selector: Selector, condition: Condition) -> Formula:
    """Return the selector as a formula: an atom, or a disjunction of atoms when several names are given."""
    kinds = kinds_of(selector)
    names = [*_several(selector.tool), *_several(selector.name)] or [""]
    parts = [
        _any_of(("agent",), _several(selector.agent)),
        _any_of(("role",), _several(selector.role)),
        _recipient(_several(selector.to)),
        condition(selector.where) if selector.where else None,
    ]
    conditions = tuple(part for part in parts if part is not None)
    whole = conditions[0] if len(conditions) == 1 else And(conditions) if conditions else None
    atoms = tuple(Atom(kinds, name, condition=whole) for name in names)
    return atoms[0] if len(atoms) == 1 else Or(atoms)


def kinds_of(selector: Selector) -> tuple[str, ...]:
    """Return the kinds of step that a selector picks; none: any.

    A tool without a kind is its call, or its result when `where` speaks of the outcome.
    """
    from masfire.contracts.language.formula import asks_outcome

    if selector.kind or not selector.tool:
        return tuple(_several(selector.kind))
    return ("tool_result",) if asks_outcome(selector.where) else ("tool_call",)


def _several(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _any_of(path: tuple[str, ...], names: list[str]) -> Formula | None:
    if not names:
        return None
    choices = tuple(_named(path, name) for name in names)
    return choices[0] if len(choices) == 1 else Or(choices)


def _named(path: tuple[str, ...], name: str) -> Formula:
    if "*" not in name:
        return Compare("==", StepField(path), Const(name))
    return Compare("matches", StepField(path), Const(glob(name)))


def _recipient(names: list[str]) -> Formula | None:
    if not names:
        return None
    choices = tuple(Compare("contains", StepField(("to",)), Const(name)) for name in names)
    return choices[0] if len(choices) == 1 else Or(choices)


def same(path: tuple[str | int, ...], variable: str) -> Any:
    """Return an atom that binds `variable` to the field at `path` of any step."""
    from masfire.contracts.language.syntax import Var

    return Atom((), arguments=(Argument(path, Var(variable)),))
