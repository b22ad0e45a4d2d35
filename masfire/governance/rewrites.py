"""Rewrites: whether a milder payload fits what was proposed, and under whose name it is logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from masfire.governance.capabilities import Grant
from masfire.governance.refusals import refuse
from masfire.governance.ruling import Proposal, Refusal, Rewrite
from masfire.trace.payload import Payload, pack, unpack

Permitted: TypeAlias = "Callable[[Proposal], tuple[Grant, Payload]]"
"""Returns the grant and the payload within its bounds, or raises Refusal."""

CLAMPED = "brought within bounds"
"""Why a payload was changed that nobody but a bound has changed."""
_MOST_NAMES = 12


def rewritten(permitted: Permitted, proposal: Proposal, wish: Rewrite, grant: Grant, rule: str) -> Payload:
    """Return the payload of a rewrite, within its agent's bounds; raise Refusal otherwise."""
    return permitted(msgspec.structs.replace(proposal, payload=fitted(proposal, wish, grant, rule)))[1]


def fitted(proposal: Proposal, wish: Rewrite, grant: Grant, rule: str) -> Payload:
    """Return a rewrite's payload if it has the form of what it replaces; raise Refusal otherwise.

    An action is named by its arguments: a rewrite that misses them would be carried out as something
    else than the log says. So it names exactly the proposed arguments; beside them it may only give those
    that the winning rules name, and leave out those that they call optional.
    """
    payload = pack(wish.value)
    old, new = unpack(proposal.payload), unpack(payload)
    if not (isinstance(old, dict) and "args" in old):
        if _form(old) != _form(new):
            raise _unfit(proposal, old, f"it is {_form(new)}, not {_form(old)}", rule)
        return payload
    if not isinstance(new, dict) or new.keys() != old.keys():
        odd = sorted(map(str, new.keys() - old.keys())) if isinstance(new, dict) else []
        what = f"{odd[0]!r:.60} stands beside 'args'" if odd and "args" in new else "it has no 'args'"
        raise _unfit(proposal, old, what, rule)
    had, gives = old["args"], new["args"]
    if _form(had) != _form(gives):
        raise _unfit(proposal, old, f"'args' is {_form(gives)}, not {_form(had)}", rule)
    if isinstance(had, dict) and gives.keys() != had.keys():
        named, optional = _declared(grant)
        for name in sorted(gives.keys() - had.keys() - named):
            raise _unfit(proposal, old, f"argument {name!r:.60} was not proposed", rule)
        for name in sorted(had.keys() - gives.keys() - optional):
            raise _unfit(proposal, old, f"argument {name!r:.60} is missing", rule)
    return payload


def credited(grant: Grant, rule: str, reason: str, *, earlier: bool) -> Grant:
    """Return a grant whose rule and reason are those of who changed the payload last.

    `earlier` says that somebody changed it before; the evidence then names them.
    """
    evidence = grant.evidence
    if earlier:
        evidence = (*evidence, f"{grant.rule}: {grant.reason or CLAMPED}")
    return msgspec.structs.replace(grant, rule=rule, reason=reason or "rewritten", evidence=evidence)


def _declared(grant: Grant) -> tuple[set[str], set[str]]:
    """Return the arguments that the winning rules name, and those of them that may be left out."""
    bounds = [item for _, capability in grant.capabilities for item in capability.arguments.items()]
    named = {path.partition(".")[0] for path, _ in bounds}
    needed = {path.partition(".")[0] for path, bound in bounds if not bound.optional}
    return named, named - needed


def _form(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a text"
    return "a plain value"


def _unfit(proposal: Proposal, old: Any, what: str, rule: str) -> Refusal:
    acts = isinstance(old, dict) and "args" in old
    if acts and isinstance(old["args"], dict):
        names = [f'"{name}": …' for name in list(old["args"])[:_MOST_NAMES]]
        form = f'{{"args": {{{", ".join(names)}}}}}'
    else:
        form = '{"args": …}' if acts else _form(old)
    about = f"the arguments of {proposal.name!r}" if acts else f"the {proposal.kind.replace('_', ' ')}"
    return refuse(
        rule,
        f"The rewrite does not fit {about}: {what}. Its value must have the form of Proposal.value: {form}.",
        "internal",
        action="report it to a person",
    )


__all__ = ["CLAMPED", "Permitted", "credited", "fitted", "rewritten"]
