"""Schemata proved on stored runs: how often each is right, and which common cores are worth keeping."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from masfire.knowledge.memory import Memory
from masfire.knowledge.model import MAX_EVIDENCE, ErrorSchema, Signature, schema_id
from masfire.knowledge.traits import Traits

RIGHT, SHOWN = 0.5, 2.0
"""What precision starts from: half a hit in two recognitions, so that a single hit proves little."""
MOST = 300
"""Schemata of one fault whose common cores are looked for, the best supported."""


class Stored(Struct, frozen=True):
    """A run whose culprit is known (by injection, a person, a counterfactual): its traits, the step."""

    described: tuple[Traits, ...]
    step: int


def replay(memory: Memory, runs: Sequence[Stored]) -> int:
    """Prove every schema of the memory on stored runs; return how many of them were right at least once.

    Sets each schema's `precision`. What two schemata of one fault share is a candidate, too (a
    generalisation), and is remembered when it is right more often than both. Recognition uses these
    precisions (CORRECT, 2509.24088, replays a rewritten schema before it may replace another).
    """
    known = [schema for schema in memory.schemata() if len(schema.signature.traits) > 1]
    signatures = {frozenset(schema.signature.traits) for schema in known}
    cores = list(_cores(known))
    signatures |= {frozenset(schema.signature.traits) for schema in cores}
    proofs = {names: prove(names, runs) for names in signatures}
    proved = [_with_proof(schema, proofs) for schema in known]
    by_id = {schema.id for schema in known}
    kept = [
        _with_proof(schema, proofs)
        for schema in cores
        if schema.id not in by_id and proofs[frozenset(schema.signature.traits)][0]
    ]
    memory.file(*proved, *kept)
    return sum(proofs[frozenset(schema.signature.traits)][0] > 0 for schema in (*known, *kept))


def prove(names: frozenset[str], runs: Iterable[Stored]) -> tuple[int, int]:
    """Return (right, shown): how many culprit steps show all these traits, and how many steps do at all."""
    right = shown = 0
    for run in runs:
        for window in run.described:
            if names <= window.names:
                shown += 1
                right += window.step == run.step
    return right, shown


def _with_proof(schema: ErrorSchema, proofs: dict[frozenset[str], tuple[int, int]]) -> ErrorSchema:
    right, shown = proofs[frozenset(schema.signature.traits)]
    precision = (right + RIGHT) / (shown + SHOWN)
    return msgspec.structs.replace(schema, precision=precision, replayed=shown)


def _cores(known: Sequence[ErrorSchema]) -> Iterable[ErrorSchema]:
    """Yield what pairs of schemata of one fault share, as schemata.

    Cores make no pairs with others: replaying again finds the same ones.
    """
    groups: dict[str, dict[frozenset[str], ErrorSchema]] = {}
    learnt = [schema for schema in known if not schema.general]
    for schema in sorted(learnt, key=lambda one: (-one.support, one.id)):
        group = groups.setdefault(schema.fault, {})
        if len(group) < MOST:
            group.setdefault(frozenset(schema.signature.traits), schema)
    for group in groups.values():
        seen = set(group)
        for (left, one), (right, other) in itertools.combinations(group.items(), 2):
            core = left & right
            if len(core) > 1 and core not in seen:
                seen.add(core)
                yield _core(one, other, core)


def _core(one: ErrorSchema, other: ErrorSchema, core: frozenset[str]) -> ErrorSchema:
    signature = Signature(tuple(sorted(core)))
    role = one.role if one.role == other.role else ""
    evidence = tuple(dict.fromkeys((*one.evidence, *other.evidence)))
    unlisted = one.support - len(one.evidence) + other.support - len(other.evidence)
    shared = set(other.heuristics)
    return ErrorSchema(
        id=schema_id(signature, fault=one.fault, role=role),
        signature=signature,
        fault=one.fault,
        role=role,
        heuristics=tuple(question for question in one.heuristics if question in shared),
        support=len(evidence) + max(0, unlisted),
        evidence=evidence[:MAX_EVIDENCE],
        general=True,
    )
