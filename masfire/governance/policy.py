"""A policy: everything governance holds agents to, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from masfire.contracts.model import Contract
from masfire.governance.capabilities import AgentRules, Limits

POLICY_VERSION = "policy/v1"
MODES = ("speed", "balanced", "strict")


class Price(Struct, frozen=True):
    """What a model costs per million tokens, in the policy's currency."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0


class Lineage(Struct, frozen=True):
    """How messages are screened (arXiv 2603.04474, section 4).

    `mode`: *speed* forwards what is neither entailed nor contradicted, tagged; *balanced* verifies such
    claims when a hub says them; *strict* verifies all and withholds what stays open. `hubs` names the
    agents that gather, summarise or decide. `retries` is how often a rejected message may be said anew
    before its rejected claims are dropped; `repair` puts the confirmed value in the place of a contradicted
    one instead, where only one fits. `tag` follows an unverified sentence (JSON is only tagged in the
    record, so that programs can go on reading it).

    Confirmed from the beginning are `instructions`, what `trusted` agents say and, with
    `tools_trusted`, what tools give back. `grounded` names slots (keys) that may only hold what is
    confirmed; `classes` are lists of phrases of which one excludes the others (a catalogue, the cities).
    `atomic`, `screen` and `enforce` switch single parts off, to measure what they are good for.
    """

    mode: str = "balanced"
    hubs: tuple[str, ...] = ()
    retries: int = 2
    tag: str = "[unverified]"
    trusted: tuple[str, ...] = ("user",)
    tools_trusted: bool = True
    instructions: tuple[str, ...] = ()
    grounded: tuple[str, ...] = ()
    classes: tuple[tuple[str, ...], ...] = ()
    repair: bool = True
    atomic: bool = True
    screen: bool = True
    enforce: bool = True


class Breaker(Struct, frozen=True):
    """When a tool is left alone: after `failures` failures in a row, for `seconds`; then one call may try."""

    failures: int = 5
    seconds: float = 30.0


class TimeBudget(Struct, frozen=True):
    """Seconds for a chain of tool calls, shared out by recorded latencies; an optional policy.

    `latencies` maps a tool to recorded latencies in seconds, `chain` are the calls that are foreseen. A
    call gets its share of what is left when it is decided; a tool beyond the chain gets all that is left.
    """

    seconds: float
    chain: tuple[str, ...]
    latencies: Mapping[str, tuple[float, ...]] = {}


class Policy(Struct, frozen=True):
    """What agents may do, what they may use up, which contracts hold, how messages are screened.

    `agents` maps a name, a pattern or `role:NAME` to its rules; `run` limits all agents of a run
    together. `contracts` are judged before anything runs. `retries` adds the two built-in contracts: an
    error that is not retryable is not retried with the same arguments, and a retry waits as long as the
    error asked. `quarantine` is how many blocks in a run put an agent out of action (None: never).
    `seconds` is how long one check, verifier or contract may think before the answer is no. `closed`: models,
    messages, reading memory, terminations and events need a rule, too, as tools always do.
    """

    agents: dict[str, AgentRules] = {}
    run: Limits | None = None
    contracts: tuple[Contract, ...] = ()
    retries: bool = True
    lineage: Lineage | None = None
    breaker: Breaker | None = None
    quarantine: int | None = None
    prices: dict[str, Price] = {}
    seconds: float = 5.0
    time_budget: TimeBudget | None = None
    closed: bool = False
    source: str = ""
    """The file it came from, or empty."""

    def per_run(self) -> tuple[str, ...]:
        """Return the names of the fields that remember something from one action of a run to the next."""
        agents = self.agents.values()
        found = {
            "budget": any(rules.budget is not None for rules in agents),
            "calls": any(rules.counts for rules in agents),
            "run": self.run is not None,
            "contracts": bool(self.contracts),
            "retries": self.retries,
            "lineage": self.lineage is not None,
            "quarantine": self.quarantine is not None,
            "time_budget": self.time_budget is not None,
        }
        return tuple(name for name, remembers in found.items() if remembers)


def allow(*tools: str, **budget: Any) -> AgentRules:
    """Return rules that allow these tools without bounds, within a budget (fields of Limits).

    >>> allow("search", "read_*", steps=20).budget.steps
    20
    """
    from masfire.governance.capabilities import Capability

    limits = Limits(**budget) if budget else None
    return AgentRules(tools={name: Capability() for name in tools}, budget=limits)
