"""Whether a rule's truth hangs on values that no step has shown."""

from __future__ import annotations

from collections.abc import Iterator

from masfire.contracts.language.checks import free_variables, settled
from masfire.contracts.language.reasons import unseen
from masfire.contracts.language.syntax import Formula


def unmonitorable(formula: Formula) -> Iterator[str]:
    """Yield why a formula that must hold for every binding of its variables cannot be judged."""
    for name in sorted(free_variables(formula)):
        if settled(formula, name) is not True:
            yield unseen(name)


def unbound_response(trigger: Formula, response: Formula) -> Iterator[str]:
    """Yield why a response cannot be awaited: each variable must be bound by the trigger."""
    for name in sorted(free_variables(trigger)):
        if settled(trigger, name) is not False:
            yield unseen(name, "exists").replace(f"'exists {name}'", "the trigger")
    for name in sorted(free_variables(response) - free_variables(trigger)):
        yield f"the response speaks of {name!r}, which the trigger does not bind; use '_' or exists {name}."
