"""What is questionable in contracts that load: never firing, always failing, contradicting, repeated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from masfire.contracts.demands import Demand, allows, demands, excludes, impossible, names_of
from masfire.contracts.language.fields import nearest
from masfire.contracts.model import Contract, Judge, Payload, Response, Rule
from masfire.trace.model import Trace

WARNING, NOTE = "warning", "note"


class Finding(Struct, frozen=True):
    """One thing that is questionable; `level` is `warning` (fails a lint) or `note`."""

    rule: str
    contract: str
    where: str
    message: str
    level: str = WARNING


RULES = {
    "never-fires": "no step can ever be what the contract speaks of",
    "always-passes": "no step can ever violate it",
    "always-fails": "every step it speaks of violates it",
    "conflict": "two contracts demand opposite things of the same step",
    "shadowed": "another contract already demands this, or forbids every step it speaks of",
    "forbidden-need": "what it needs to have happened, another contract forbids",
    "unknown-name": "a tool, event or agent that no sample trace shows",
    "never-applied": "no sample trace wakes it",
    "no-description": "it does not say what it is for",
    "no-examples": "it carries no example that shows it pass and fail",
}
"""Every rule of the lint, and what it means."""


def lint(contracts: Sequence[Contract], *, traces: Iterable[Trace] = ()) -> list[Finding]:
    """Return what is questionable, in the contracts' order; `traces` are samples of what really happens.

    Decided on the syntax tree alone (conjunctions, equal parts, bounds on one value): what it finds is
    true, but it does not find everything.
    """
    read = [(contract, demands(contract)) for contract in contracts]
    findings: list[Finding] = []
    for contract, found in read:
        findings += _alone(contract, found)
    for index, (contract, found) in enumerate(read):
        for other, theirs in read[:index]:
            findings += _pair(contract, found, other, theirs)
    findings += _on_samples(contracts, traces)
    order = {contract.id: index for index, contract in enumerate(contracts)}
    return sorted(findings, key=lambda finding: (order.get(finding.contract, 0), finding.level != WARNING))


def _alone(contract: Contract, found: Sequence[Demand]) -> Iterator[Finding]:
    for demand in found:
        if impossible(demand.when):
            yield _finding("never-fires", contract, f"No step can be what it speaks of: {demand.words}.")
        elif demand.certain is True:
            yield _finding("always-passes", contract, f"Nothing can violate it: {demand.words}.")
        elif demand.certain is False:
            yield _finding("always-fails", contract, f"Every step it speaks of violates it: {demand.words}.")
    for rule in contract.rules:
        trigger = _trigger(rule)
        if trigger is not None and impossible(trigger):
            yield _finding("never-fires", contract, "No step can be what it speaks of.")
    if not contract.description:
        yield _finding("no-description", contract, "It has no description: a report cannot say why.", NOTE)


def _trigger(rule: Rule) -> tuple[object, ...] | None:
    from masfire.contracts.demands import conjuncts

    if isinstance(rule, Payload | Judge):
        return conjuncts(rule.when)
    if isinstance(rule, Response):
        return conjuncts(rule.trigger)
    return None


def _pair(
    contract: Contract, found: Sequence[Demand], other: Contract, theirs: Sequence[Demand]
) -> Iterator[Finding]:
    """Yield what a contract and an earlier one do to each other."""
    if (contract.key, contract.order) != (other.key, other.order):
        return
    for mine in found:
        for their in theirs:
            yield from _against(contract, mine, other, their)
    both = [(contract, found, other, theirs), (other, theirs, contract, found)]
    for needing, needs, forbidding, forbids in both:
        for demand in needs:
            if any(_contradicted(demand, ban) for ban in forbids):
                yield _finding(
                    "conflict",
                    needing,
                    f"What it demands is forbidden by {_told(forbidding)} at the same step.",
                )
            for need in demand.needs:
                if any(not ban.then and allows(need, ban.when) for ban in forbids):
                    yield _finding(
                        "forbidden-need", needing,
                        f"What it needs to have happened is forbidden by {_told(forbidding)}.",
                    )  # fmt: skip


def _contradicted(demand: Demand, ban: Demand) -> bool:
    """Return whether a step that fulfils the demand is always forbidden, though not all it speaks of are."""
    return (
        bool(demand.then)
        and not ban.then
        and allows((*demand.when, *demand.then), ban.when)
        and not allows(demand.when, ban.when)
    )


def _against(contract: Contract, mine: Demand, other: Contract, their: Demand) -> Iterator[Finding]:
    stronger, weaker = allows(mine.when, their.when), allows(their.when, mine.when)
    if not mine.then and not their.then:  # both forbid
        if stronger and weaker:
            yield _finding("shadowed", contract, f"It is the same as {_told(other)}.")
        elif stronger and _as_severe(other, contract):
            yield _finding("shadowed", contract, f"All that it forbids is forbidden by {_told(other)}.")
        elif weaker and _as_severe(contract, other):
            yield _finding("shadowed", other, f"All that it forbids is forbidden by {_told(contract)}.")
        return
    if stronger and not their.then and _as_severe(other, contract):
        yield _finding("shadowed", contract, f"Every step it speaks of is forbidden by {_told(other)}.")
    elif weaker and not mine.then and _as_severe(contract, other):
        yield _finding("shadowed", other, f"Every step it speaks of is forbidden by {_told(contract)}.")
    elif mine.then and their.then and (stronger or weaker) and excludes((*mine.then, *their.then)):
        narrow = contract if stronger else other
        wide = other if stronger else contract
        yield _finding("conflict", narrow, f"It demands the opposite of {_told(wide)} of the same steps.")
    elif stronger and weaker and mine.then == their.then:
        yield _finding("shadowed", contract, f"It is the same as {_told(other)}.")
    elif (
        stronger
        and their.then
        and mine.then
        and _as_severe(other, contract)
        and allows(their.then, mine.then)
    ):
        yield _finding("shadowed", contract, f"Already demanded by {_told(other)}.")
    elif (
        weaker and their.then and mine.then and _as_severe(contract, other) and allows(mine.then, their.then)
    ):
        yield _finding("shadowed", other, f"Already demanded by {_told(contract)}.")


def _as_severe(one: Contract, other: Contract) -> bool:
    """Return whether one contract's violation weighs at least as much as another's."""
    order = ("info", "warning", "error")
    return order.index(one.severity) >= order.index(other.severity)


def _on_samples(contracts: Sequence[Contract], traces: Iterable[Trace]) -> Iterator[Finding]:
    """Yield names that no sample shows and contracts that no sample wakes."""
    from masfire.contracts.engine import judge
    from masfire.contracts.model import Status

    seen: dict[str, set[str]] = {}
    woken: set[str] = set()
    number = 0
    for trace in traces:
        number += 1
        blind = trace.blind()
        for step in blind.steps:
            for kind, name in _names(step):
                seen.setdefault(kind, set()).add(name)
        verdicts = judge(blind, contracts)
        woken |= {each.contract for each in verdicts if each.status is not Status.VACUOUS}
    if not number:
        return
    for contract in contracts:
        unknown = dict(_unknown_names(contract, seen))
        for name, kind in unknown.items():
            near = nearest(name, seen.get(kind, ()))
            yield _finding("unknown-name", contract, f"No sample shows a {kind} {name!r}.{near}")
        if contract.id not in woken and not unknown:
            count = "the sample trace" if number == 1 else f"any of {number} sample traces"
            yield _finding("never-applied", contract, f"It did not apply in {count}.", NOTE)


def _names(step: object) -> Iterator[tuple[str, str]]:
    from masfire.contracts.view import name_of

    kind = step.kind  # type: ignore[attr-defined]
    yield kind, name_of(step)  # type: ignore[arg-type]


def _unknown_names(contract: Contract, seen: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    for kinds, name in names_of(contract):
        if kinds and not any(name in seen.get(kind, ()) for kind in kinds):
            yield name, kinds[0]


def _finding(rule: str, contract: Contract, message: str, level: str = WARNING) -> Finding:
    return Finding(rule, contract.id, contract.where, message, level)


def _told(contract: Contract) -> str:
    return f"{contract.id!r}" + (f" ({contract.where})" if contract.where else "")
