"""What each agent may do: tools, argument bounds, and which rule wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from typing import Any, TypeAlias

from msgspec import Struct

from masfire.errors import UsageError
from masfire.governance.ruling import Proposal, Refusal, ToolError
from masfire.trace.payload import Payload, pack, unpack

SECTIONS = {
    "tool_call": "tools",
    "model_call": "models",
    "memory_read": "memory_read",
    "memory_write": "memory_write",
    "delegation": "delegations",
    "message": "messages",
    "termination": "termination",
    "event": "events",
}
"""Which section of an agent's policy governs which kind of step."""

OPEN = frozenset({"model_call", "memory_read", "message", "termination", "event"})
"""Kinds that are allowed while no matching section restricts them; every other kind needs a rule."""

MAX_CACHED = 10_000
"""Compiled (agent, kind, name) combinations kept; hostile names cannot fill the memory."""

_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: type(value) is str,
    "boolean": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
    "null": lambda value: value is None,
}
_ABSENT = object()


class Bound(Struct, frozen=True):
    """What one argument may be; words as in JSON Schema.

    `pattern` is RE2 syntax and must match the whole text. An argument that is bounded must be there
    unless `optional`. `otherwise` is `block`, or `clamp`: a number beyond `minimum` or `maximum` is
    brought back to it (the call is then a rewrite).
    """

    type: str = ""
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[Any, ...] | None = None
    pattern: str = ""
    min_length: int | None = None
    max_length: int | None = None
    optional: bool = False
    otherwise: str = "block"


class Capability(Struct, frozen=True):
    """One thing an agent may do, within bounds.

    `arguments` maps a dotted path ("amount", "to.address", "items.0") to its bound; `others` says
    whether arguments that are not named may be given at all; `calls` is how often a run's agent may do
    it (None: unlimited); `cost` is what one call costs, in the policy's currency.
    """

    arguments: dict[str, Bound] = {}
    others: bool = True
    calls: int | None = None
    cost: float = 0.0


class Limits(Struct, frozen=True):
    """What may be used up: governed actions, tokens, money, seconds since the first; None: unlimited."""

    steps: int | None = None
    tokens: int | None = None
    money: float | None = None
    seconds: float | None = None


class AgentRules(Struct, frozen=True):
    """What one agent, or all whose name matches a pattern, may do.

    Each section maps a name or pattern (`*`, `?`) to a Capability; in `messages` the names are
    recipients. `deny` names what it may not: a tool, or `kind:name` for the other kinds.
    """

    tools: dict[str, Capability] | None = None
    models: dict[str, Capability] | None = None
    memory_read: dict[str, Capability] | None = None
    memory_write: dict[str, Capability] | None = None
    delegations: dict[str, Capability] | None = None
    messages: dict[str, Capability] | None = None
    termination: dict[str, Capability] | None = None
    events: dict[str, Capability] | None = None
    deny: tuple[str, ...] = ()
    budget: Limits | None = None


class Grant(Struct, frozen=True):
    """What the winning rules say of one (agent, kind, name): allowed within these, or why not.

    `limits` are the agent's budget; `reason` and `evidence` say why, where something was found.
    """

    allowed: bool
    rule: str
    reason: str = ""
    capabilities: tuple[tuple[str, Capability], ...] = ()
    limits: Limits | None = None
    evidence: tuple[str, ...] = ()

    @property
    def bounded(self) -> bool:
        """Return whether arguments have to be looked at."""
        return any(capability.arguments or not capability.others for _, capability in self.capabilities)


Rank: TypeAlias = tuple[int, int]
"""How specific a pattern is: (1, …) an exact name, (0, literal characters) a pattern."""


class Rulebook:
    """All agents' rules, indexed: what wins is worked out once for each (agent, role, kind, name).

    A rule is beaten by one that is at least as specific in both agent and name and more so in one.
    Among the rules that nothing beats, deny wins; otherwise every one's bounds must hold.
    An agent pattern `role:NAME` matches the declared role and counts as a pattern.
    """

    def __init__(self, agents: Mapping[str, AgentRules]) -> None:
        self._agents = [(name, _matcher(name.removeprefix("role:")), rules) for name, rules in agents.items()]
        self._cache: dict[tuple[str, str, str, str], Grant] = {}
        for name, rules in agents.items():
            _compile_bounds(name, rules)

    def grant(self, agent: str, role: str, kind: str, name: str) -> Grant:
        """Return what the rules say of this agent doing this; unknown kinds are never allowed."""
        key = (agent, role, kind, name)
        found = self._cache.get(key)
        if found is None:
            found = self._work_out(agent, role, kind, name)
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[key] = found
        return found

    def _work_out(self, agent: str, role: str, kind: str, name: str) -> Grant:
        section = SECTIONS.get(kind)
        if section is None:
            return Grant(False, "capability:unknown-kind", f"No rule can speak of a {kind!r}.")
        if not agent:
            return Grant(False, "capability:unknown-agent", "Nobody says which agent this is.")
        allows: list[tuple[Rank, Rank, str, Capability]] = []
        denies: list[tuple[Rank, Rank, str]] = []
        limits: list[tuple[Rank, Limits]] = []
        restricted = False
        for pattern, matches, rules in self._agents:
            if not matches(role if pattern.startswith("role:") else agent):
                continue
            rank = _rank(pattern)
            if rules.budget is not None:
                limits.append((rank, rules.budget))
            named: dict[str, Capability] | None = getattr(rules, section)
            restricted = restricted or named is not None
            for other, capability in (named or {}).items():
                if _matcher(other)(name):
                    allows.append((rank, _rank(other), f"{pattern}/{section}/{other}", capability))
            for entry in rules.deny:
                denied_kind, _, denied = entry.rpartition(":")
                if (denied_kind or "tool_call") in (kind, "*") and _matcher(denied)(name):
                    denies.append((rank, _rank(denied), f"{pattern}/deny/{entry}"))
        budget = max(limits, key=lambda item: item[0])[1] if limits else None
        return _winner(agent, kind, name, allows, denies, restricted, budget)


def _winner(
    agent: str,
    kind: str,
    name: str,
    allows: list[tuple[Rank, Rank, str, Capability]],
    denies: list[tuple[Rank, Rank, str]],
    restricted: bool,
    budget: Limits | None,
) -> Grant:
    ranks = [entry[:2] for entry in allows] + [entry[:2] for entry in denies]
    best = [rank for rank in ranks if not any(_beats(other, rank) for other in ranks)]
    for entry in denies:
        if entry[:2] in best:
            return Grant(False, f"capability:{entry[2]}", f"{agent} is denied {kind} {name!r}.", (), budget)
    winners = tuple((entry[2], entry[3]) for entry in allows if entry[:2] in best)
    if winners:
        return Grant(True, f"capability:{winners[0][0]}", "", winners, budget)
    if kind in OPEN and not restricted:
        return Grant(True, f"capability:open/{kind}", "", (), budget)
    return Grant(False, "capability:default", f"Nothing allows {agent} the {kind} {name!r}.", (), budget)


def _beats(one: tuple[Rank, Rank], other: tuple[Rank, Rank]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]


def _rank(pattern: str) -> Rank:
    if pattern.startswith("role:"):
        return (0, 1_000 + len(pattern))
    literal = len(pattern) - sum(pattern.count(wild) for wild in "*?")
    return (1, 0) if literal == len(pattern) else (0, literal)


def _matcher(pattern: str) -> Callable[[str], Any]:
    if not any(wild in pattern for wild in "*?"):
        return pattern.__eq__
    # Brackets are ordinary characters in agents' and tools' names, so only * and ? are wild.
    return re.compile(translate(pattern.replace("[", "[[]"))).match


def check_arguments(proposal: Proposal, grant: Grant) -> Payload:
    """Return the payload within all bounds (changed where a bound clamps); raise Refusal otherwise."""
    value = unpack(proposal.payload)
    args = value.get("args") if isinstance(value, dict) and "args" in value else value
    if not isinstance(args, dict):
        raise _refused(grant.rule, "The arguments are no object, so their bounds cannot be checked.")
    changed = False
    for rule, capability in grant.capabilities:
        if not capability.others:
            extra = sorted(set(args) - {path.split(".")[0] for path in capability.arguments})
            if extra:
                raise _refused(f"capability:{rule}", f"Argument {extra[0]!r} is not foreseen.")
        for path, bound in capability.arguments.items():
            changed |= _apply(f"capability:{rule}", args, path, bound)
    return pack(value) if changed else proposal.payload


def _apply(rule: str, args: dict[str, Any], path: str, bound: Bound) -> bool:
    """Check one argument; return whether it was clamped."""
    holder: Any = args
    *way, final = path.split(".")
    for part in way:
        holder = _at(holder, part)
    found = _at(holder, final)
    if found is _ABSENT:
        if bound.optional:
            return False
        raise _refused(rule, f"Argument {path!r} is missing, so its bound cannot be checked.")
    low, high = bound.minimum, bound.maximum
    if low is not None or high is not None:
        kind = type(found)
        if (kind is not int and kind is not float) or found != found:
            raise _refused(rule, f"Argument {path!r} is no number.")
        edge = low if low is not None and found < low else high if high is not None and found > high else None
        if edge is not None:
            if bound.otherwise != "clamp":
                raise _refused(rule, f"Argument {path!r} is {found!r:.60}, beyond {edge:g}.")
            holder[int(final) if isinstance(holder, list) else final] = (
                int(edge) if type(found) is int and float(edge).is_integer() else edge
            )
            return True
    wrong = _fault(found, bound)
    if wrong:
        raise _refused(rule, f"Argument {path!r} {wrong}.")
    return False


def _fault(found: Any, bound: Bound) -> str:
    if bound.type and not _TYPES[bound.type](found):
        return f"is no {bound.type}"
    if bound.enum is not None and not any(type(found) is type(one) and found == one for one in bound.enum):
        return f"is {found!r:.60}, none of {', '.join(repr(one) for one in bound.enum)[:200]}"
    if bound.min_length is not None or bound.max_length is not None:
        if not isinstance(found, (str, list)):
            return "has no length"
        if len(found) < (bound.min_length or 0):
            return f"is shorter than {bound.min_length}"
        if bound.max_length is not None and len(found) > bound.max_length:
            return f"is longer than {bound.max_length}"
    if bound.pattern:
        if type(found) is not str:
            return "is no text"
        if _pattern(bound.pattern).fullmatch(found) is None:
            return f"does not match {bound.pattern!r}"
    return ""


def _at(holder: Any, part: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(part, _ABSENT)
    if isinstance(holder, list) and part.isdigit() and int(part) < len(holder):
        return holder[int(part)]
    return _ABSENT


_patterns: dict[str, Any] = {}


def _pattern(text: str) -> Any:
    if text not in _patterns:
        import re2

        options = re2.Options()
        options.log_errors = False
        _patterns[text] = re2.compile(text, options)
    return _patterns[text]


def _compile_bounds(agent: str, rules: AgentRules) -> None:
    for section in SECTIONS.values():
        for name, capability in (getattr(rules, section) or {}).items():
            for path, bound in capability.arguments.items():
                where = f"{agent}/{section}/{name}/{path}"
                if bound.type and bound.type not in _TYPES:
                    raise UsageError(
                        f"Type {bound.type!r} is unknown.", hint=f"Use {', '.join(_TYPES)}.", where=where
                    )
                if bound.otherwise not in ("block", "clamp"):
                    raise UsageError(
                        f"otherwise: {bound.otherwise!r} is unknown.", hint="Use block or clamp.", where=where
                    )
                if bound.pattern:
                    _checked(bound.pattern, where)


def _checked(pattern: str, where: str) -> None:
    import re2

    try:
        _pattern(pattern)
    except re2.error as refused:
        raise UsageError(
            f"Pattern {pattern!r} is not RE2 syntax: {refused}.",
            hint="RE2 has no lookaround and no backreferences, so that it always ends in linear time.",
            where=where,
        ) from None


def _refused(rule: str, reason: str) -> Refusal:
    return Refusal(
        rule, reason, ToolError("invalid", reason, suggested_action="call it again within the bounds")
    )
