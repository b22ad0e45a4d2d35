"""What each agent may do: tools, argument bounds, and which rule wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import translate
from typing import Any, TypeAlias

from msgspec import Struct

from masfire.errors import UsageError
from masfire.governance.bounds import Bound, Test, check_bound, compiled, refused
from masfire.governance.names import disguised, plain
from masfire.governance.ruling import Proposal
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

    Without a section, tools, delegations and writing to memory are blocked; models, messages, reading
    memory, terminations and events are allowed, unless the policy is `closed`. A section that is there
    allows what it names and nothing else ({}: nothing).
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

    @property
    def counts(self) -> bool:
        """Return whether any of these capabilities may be used only so often in a run."""
        sections = (getattr(self, section) or {} for section in SECTIONS.values())
        return any(one.calls is not None for section in sections for one in section.values())


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
    tests: tuple[Test, ...] = ()
    foreseen: tuple[tuple[str, frozenset[str]], ...] = ()
    """Where arguments that are not named are refused: the rule, and the names it foresees."""
    cost: float = 0.0
    """What one call costs by all these capabilities together, in the policy's currency."""
    counted: tuple[tuple[str, int], ...] = ()
    """The rules that limit how often it may be done in a run, and how often."""
    clamps: bool = False
    """Whether a bound may change an argument."""

    @property
    def bounded(self) -> bool:
        """Return whether arguments have to be looked at."""
        return bool(self.tests or self.foreseen)


Rank: TypeAlias = tuple[int, int]
"""How specific a pattern is: (1, …) an exact name, (0, literal characters) a pattern."""


class Rulebook:
    """All agents' rules, indexed: what wins is worked out once for each (agent, role, kind, name).

    A rule is beaten by one that is at least as specific in both agent and name and more so in one.
    Among the rules that nothing beats, deny wins; otherwise every one's bounds must hold.
    An agent pattern `role:NAME` matches the declared role and counts as a pattern. `closed`: no kind is
    allowed without a rule, not even those of `OPEN`.
    """

    def __init__(self, agents: Mapping[str, AgentRules], *, closed: bool = False) -> None:
        self._open: frozenset[str] = frozenset() if closed else OPEN
        self._agents = [(name, matcher(name.removeprefix("role:")), rules) for name, rules in agents.items()]
        self._cache: dict[tuple[str, str, str, str], Grant] = {}
        for mistake in mistakes_of(agents):
            raise mistake

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
        restricted, odd = False, disguised(name)
        for pattern, matches, rules in self._agents:
            if not matches(role if pattern.startswith("role:") else agent):
                continue
            rank = _rank(pattern)
            if rules.budget is not None:
                limits.append((rank, rules.budget))
            named: dict[str, Capability] | None = getattr(rules, section)
            restricted = restricted or named is not None
            for other, capability in (named or {}).items():
                if matcher(other)(name) and not (odd and _rank(other)[0] == 0):
                    allows.append((rank, _rank(other), f"{pattern}/{section}/{other}", capability))
            for entry in rules.deny:
                denied_kind, _, denied = entry.rpartition(":")
                if (denied_kind or "tool_call") in (kind, "*") and (
                    matcher(denied)(name) or matcher(plain(denied))(plain(name))
                ):
                    denies.append((rank, _rank(denied), f"{pattern}/deny/{entry}"))
        budget = max(limits, key=lambda item: item[0])[1] if limits else None
        free = kind in self._open and not restricted
        return _winner(agent, kind, name, allows, denies, free, budget)


def _winner(
    agent: str,
    kind: str,
    name: str,
    allows: list[tuple[Rank, Rank, str, Capability]],
    denies: list[tuple[Rank, Rank, str]],
    free: bool,
    budget: Limits | None,
) -> Grant:
    ranks = [entry[:2] for entry in allows] + [entry[:2] for entry in denies]
    best = [rank for rank in ranks if not any(_beats(other, rank) for other in ranks)]
    for entry in denies:
        if entry[:2] in best:
            return Grant(False, f"capability:{entry[2]}", f"{agent} is denied {kind} {name!r}.", (), budget)
    winners = tuple((entry[2], entry[3]) for entry in allows if entry[:2] in best)
    if winners:
        return _granted(winners, budget)
    if free:
        return Grant(True, f"capability:open/{kind}", "", (), budget)
    return Grant(False, "capability:default", f"Nothing allows {agent} the {kind} {name!r}.", (), budget)


def _beats(one: tuple[Rank, Rank], other: tuple[Rank, Rank]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]


def _rank(pattern: str) -> Rank:
    if pattern.startswith("role:"):
        return (0, 1_000 + len(pattern))
    literal = len(pattern) - sum(pattern.count(wild) for wild in "*?")
    return (1, 0) if literal == len(pattern) else (0, literal)


def matcher(pattern: str) -> Callable[[str], Any]:
    """Return the function that tells whether a name fits a pattern (`*`, `?`; anything else is itself)."""
    if not any(wild in pattern for wild in "*?"):
        return pattern.__eq__
    # Brackets are ordinary characters in agents' and tools' names, so only * and ? are wild.
    return re.compile(translate(pattern.replace("[", "[[]"))).match


def _granted(winners: tuple[tuple[str, Capability], ...], budget: Limits | None) -> Grant:
    """Return the grant of these capabilities, all of whose bounds hold, ready to be applied."""
    return Grant(
        True, f"capability:{winners[0][0]}", "", winners, budget,
        tests=tuple(
            compiled(f"capability:{rule}", path, bound)
            for rule, capability in winners for path, bound in capability.arguments.items()
        ),
        foreseen=tuple(
            (f"capability:{rule}", frozenset(path.split(".")[0] for path in capability.arguments))
            for rule, capability in winners if not capability.others
        ),
        cost=sum(capability.cost for _, capability in winners),
        counted=tuple(
            (rule, capability.calls) for rule, capability in winners if capability.calls is not None
        ),
        clamps=any(
            bound.otherwise == "clamp"
            for _, capability in winners for bound in capability.arguments.values()
        ),
    )  # fmt: skip


def check_arguments(proposal: Proposal, grant: Grant, known: Any = None) -> Payload:
    """Return the payload within all bounds (changed where a bound clamps); raise Refusal otherwise.

    `known` is what the payload decodes to, where somebody has it already.
    """
    value = unpack(proposal.payload) if known is None or grant.clamps else known
    args = value.get("args") if isinstance(value, dict) and "args" in value else value
    if not isinstance(args, dict):
        raise refused(grant.rule, "The arguments are no object, so their bounds cannot be checked.")
    for rule, foreseen in grant.foreseen:
        extra = args.keys() - foreseen
        if extra:
            raise refused(rule, f"Argument {min(extra)!r:.60} is not foreseen.")
    changed = False
    for test in grant.tests:
        if test(args):
            changed = True
    return pack(value) if changed else proposal.payload


def mistakes_of(agents: Mapping[str, AgentRules]) -> Iterator[UsageError]:
    """Yield what is wrong with the bounds of all agents; `where` is agent/section/name/argument."""
    for agent, rules in agents.items():
        for section in SECTIONS.values():
            for name, capability in (getattr(rules, section) or {}).items():
                for path, bound in capability.arguments.items():
                    try:
                        check_bound(bound, f"{agent}/{section}/{name}/{path}")
                    except UsageError as mistake:
                        yield mistake
