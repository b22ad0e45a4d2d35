"""What a policy says in words, and what in it can never take effect."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from masfire.governance.bounds import Bound
from masfire.governance.capabilities import OPEN, SECTIONS, AgentRules, Capability, Limits, Rulebook, matcher
from masfire.governance.policy import Policy

NOTE, WARNING = "note", "warning"
_WILD = frozenset("*?")


class Remark(Struct, frozen=True):
    """What is odd about a policy: `level` is `warning` (it cannot be meant) or `note`, `where` the place."""

    level: str
    where: str
    message: str


class Rule(Struct, frozen=True):
    """One rule in words: whose, of which section, on which name, and what it says."""

    agent: str
    section: str
    name: str
    says: str


def rules_of(policy: Policy) -> Iterator[Rule]:
    """Yield each agent's rules in words, and last what holds where no rule speaks."""
    for agent, rules in policy.agents.items():
        free = []
        for kind, section in SECTIONS.items():
            named: dict[str, Capability] | None = getattr(rules, section)
            for name, capability in (named or {}).items():
                yield Rule(agent, section, name, _capability(capability))
            if named == {}:
                yield Rule(agent, section, "*", "none")
            if named is None and kind in OPEN and not policy.closed:
                free.append(section)
        for entry in rules.deny:
            yield Rule(agent, "deny", entry, "denied, in any spelling")
        if rules.budget is not None:
            yield Rule(agent, "budget", "", _limits(rules.budget))
        if free:
            yield Rule(agent, "open", ", ".join(free), "allowed, where no other rule for it restricts them")
        yield Rule(agent, "blocked", "", "everything else")
    if policy.run is not None:
        yield Rule("the run", "budget", "", _limits(policy.run))


def review(policy: Policy) -> tuple[Remark, ...]:
    """Return what in a policy can never take effect or is likely not meant, warnings first."""
    found = [
        *_agents(policy.agents, closed=policy.closed), *_money(policy), *_lineage(policy), *_time(policy),
        *_budgets(policy),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda remark: remark.level == NOTE))


def unused(policy: Policy, seen: Iterable[tuple[str, str, str, str]]) -> tuple[Remark, ...]:
    """Return the rules that nothing in recorded runs met; `seen` are (agent, role, kind, name)."""
    acts = sorted(set(seen))
    found: list[Remark] = []
    for agent, rules in policy.agents.items():
        fits = matcher(agent.removeprefix("role:"))
        position = 1 if agent.startswith("role:") else 0
        mine = [act for act in acts if fits(act[position])]
        if not mine:
            known = sorted({act[position] for act in acts} - {""})
            found.append(Remark(WARNING, agent, f"No {_ROLE[position]} fits.{_near(agent, known)}"))
            continue
        for kind, section in SECTIONS.items():
            named = sorted({act[3] for act in mine if act[2] == kind})
            for name in getattr(rules, section) or {}:
                if not any(map(matcher(name), named)):
                    message = f"No {kind.replace('_', ' ')} of it fits.{_near(name, named)}"
                    found.append(Remark(WARNING, f"{agent}/{section}/{name}", message))
    return tuple(found)


_ROLE = ("agent", "role")
_MOST_SHOWN = 8


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.removeprefix("role:"), known, n=1)
    did = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known[:_MOST_SHOWN]) + (", …" if len(known) > _MOST_SHOWN else "")
    return f"{did} Recorded: {shown or 'none'}."


def _agents(agents: Mapping[str, AgentRules], *, closed: bool) -> Iterator[Remark]:
    if not agents:
        yield Remark(WARNING, "agents", "No agent has rules, so every tool call is blocked.")
    book = Rulebook(agents, closed=closed)
    for agent, rules in agents.items():
        acting = any(getattr(rules, section) for section in SECTIONS.values())
        if not acting and not any(_covers(other, agent) for other in agents if other != agent):
            yield Remark(NOTE, agent, "It has no section, so it may only do what is open.")
        for kind, section in SECTIONS.items():
            for name, capability in (getattr(rules, section) or {}).items():
                where = f"{agent}/{section}/{name}"
                if capability.calls == 0:
                    yield Remark(WARNING, where, "`calls: 0` never allows it.")
                for path, bound in capability.arguments.items():
                    if bound.otherwise == "clamp" and bound.minimum is None and bound.maximum is None:
                        yield Remark(
                            WARNING, f"{where}/{path}", "There is no minimum or maximum to clamp to."
                        )
                if _WILD.isdisjoint(agent + name) and not agent.startswith("role:"):
                    grant = book.grant(agent, "", kind, name)
                    if not grant.allowed:
                        by = grant.rule.removeprefix("capability:")
                        yield Remark(WARNING, where, f"It never takes effect: {by} denies the same.")


def _money(policy: Policy) -> Iterator[Remark]:
    costs = any(
        capability.cost
        for rules in policy.agents.values() for section in SECTIONS.values()
        for capability in (getattr(rules, section) or {}).values()
    )  # fmt: skip
    limited = [agent for agent, rules in policy.agents.items() if rules.budget and _spends(rules.budget)]
    limited += ["run"] if policy.run is not None and _spends(policy.run) else []
    for agent in limited if not policy.prices else ():
        never = "" if costs else "No tool has a `cost`, so no tool call uses it up. "
        yield Remark(
            NOTE if costs else WARNING, f"{agent}/budget/money",
            f"{never}No model has a price in `prices`, so every model call is refused.",
        )  # fmt: skip
    if (costs or policy.prices) and not limited:
        yield Remark(NOTE, "prices", "No budget limits `money`, so costs and prices limit nothing.")


def _spends(limits: Limits) -> bool:
    return limits.money is not None


def _lineage(policy: Policy) -> Iterator[Remark]:
    for hub in policy.lineage.hubs if policy.lineage is not None else ():
        if not any(_covers(agent, hub) for agent in policy.agents):
            yield Remark(NOTE, "lineage/hubs", f"No rule speaks of the agent {hub!r}; is it spelt so?")


def _time(policy: Policy) -> Iterator[Remark]:
    budget = policy.time_budget
    if budget is None:
        return
    tools = {name for rules in policy.agents.values() for name in rules.tools or {}}
    for tool in dict.fromkeys(budget.chain):
        if not any(_covers(name, tool) for name in tools):
            yield Remark(WARNING, "time_budget/chain", f"No agent may call {tool!r}.")
        if tool not in budget.latencies:
            yield Remark(NOTE, "time_budget/latencies", f"Nothing is recorded of {tool!r}.")
    for tool in budget.latencies:
        if tool not in budget.chain:
            yield Remark(WARNING, "time_budget/latencies", f"{tool!r} is not in the chain.")


def _budgets(policy: Policy) -> Iterator[Remark]:
    whole = policy.run
    for agent, rules in policy.agents.items():
        for field in Limits.__struct_fields__ if whole is not None and rules.budget is not None else ():
            mine, all_ = getattr(rules.budget, field), getattr(whole, field)
            if mine is not None and all_ is not None and mine > all_:
                message = f"{mine:g} {field} are more than the run's {all_:g}."
                yield Remark(NOTE, f"{agent}/budget", message)


def _covers(pattern: str, name: str) -> bool:
    return pattern == name or bool(matcher(pattern)(name))


def _capability(capability: Capability) -> str:
    parts = [f"{path} {_bound(bound)}" for path, bound in capability.arguments.items()]
    if not capability.others:
        parts.append("no other argument")
    if capability.calls is not None:
        parts.append(f"{capability.calls} calls a run")
    if capability.cost:
        parts.append(f"costs {capability.cost:g}")
    return "; ".join(parts) or "without bounds"


def _bound(bound: Bound) -> str:
    parts = [bound.type] if bound.type else []
    low, high = bound.minimum, bound.maximum
    if low is not None or high is not None:
        parts.append(f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}")
    if bound.enum is not None:
        parts.append("one of " + ", ".join(map(repr, bound.enum)))
    if bound.pattern:
        parts.append(f"like {bound.pattern!r}")
    if bound.min_length is not None or bound.max_length is not None:
        least = 0 if bound.min_length is None else bound.min_length
        parts.append(f"length {least}..{'' if bound.max_length is None else bound.max_length}")
    parts.append("may be left out" if bound.optional else "must be given")
    return ", ".join(parts) + (" (clamped)" if bound.otherwise == "clamp" else "")


def _limits(limits: Limits) -> str:
    found = [
        f"{getattr(limits, field):g} {field}" for field in Limits.__struct_fields__
        if getattr(limits, field) is not None
    ]  # fmt: skip
    return ", ".join(found) or "no limit"


__all__ = ["NOTE", "WARNING", "Remark", "Rule", "review", "rules_of", "unused"]
