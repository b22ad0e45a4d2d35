"""Spectrum evidence: what failed repeats of a task do and passed ones do not, in typed units."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from masfire.diagnosis.model import Evidence, Finding
from masfire.diagnosis.turns import salient_of, text_of
from masfire.errors import RefusedValue
from masfire.trace.model import Action, Message, Observation, Step, Trace
from masfire.trace.payload import unpack

DECAY = 0.9
"""Each further occurrence of a unit in one run counts 0.9 times the one before it."""

LEAST_DIFFERENCE = 0.2
"""A unit is suspicious only when the share of failed runs that show it exceeds the passed ones' by this."""

_PARTS = 40
"""Scalars of a structured payload, or facts of a text, that make its class; the rest is ignored."""

_PLAIN = re.compile(r"[^\w.-]+")
_IDENTITIES = frozenset({"id", "tool_call_id"})

Unit = tuple[str, str, frozenset[str]]
"""(agent, action, class): the class is the arguments, or the state, without order and correlation ids."""


def unit_of(step: Step) -> Unit | None:
    """Return what a step did as a typed unit; None for steps that did nothing (requests, decisions).

    The action names the kind, the tool and whether it succeeded. The class of a structured payload is
    its scalars with their fields, that of a text the numbers and names it mentions: wording does not
    count, so that repeats under another seed can be compared.
    """
    body = step.body
    if isinstance(body, Message):
        action = f"message to {','.join(body.to)}"
    elif isinstance(body, Action) and body.kind != "model_call":
        action = f"{body.kind} {body.name}"
    elif isinstance(body, Observation):
        action = f"{body.kind} {body.name} {'ok' if body.ok else 'failed'}"
    else:
        return None
    try:
        value = unpack(step.payload) if step.payload else None
    except RefusedValue:
        value = None
    return step.agent, action, _class_of(value)


class Spectrum:
    """Blames the steps whose units occur in failed runs of a task and not in its passed ones.

    The formula of FAMAS (2509.13782) over typed units instead of a model's abstraction of the log:
    alpha * Kulczynski2 * (1 + beta) * (1 + gamma). Kulczynski2 is the mean of the share of failed runs
    that show a unit and the share of its showings that are in failed runs, where the n-th occurrence
    in one run counts 0.9^(n-1); beta is the unit's share of its agent's occurrences in failed runs,
    gamma the share of failed runs in which its agent acts, alpha = 1 + ln(occurrences in this run).
    Their exact normalisation is our reading. Scores are scaled to 0..1.
    """

    name = "spectrum"

    def __init__(self, failed: Sequence[Trace], passed: Sequence[Trace]) -> None:
        self._failed = [_spectrum(trace) for trace in failed]
        self._passed = [_spectrum(trace) for trace in passed]
        self._runs = frozenset(trace.header.run for trace in failed)

    def examine(self, trace: Trace) -> list[Finding]:
        """Return one finding a suspicious step; nothing without a passed run of the same task."""
        if not self._passed:
            return []
        units = [unit_of(step) for step in trace.steps]
        mine = Counter(unit for unit in units if unit is not None)
        failed = self._failed if trace.header.run in self._runs else [*self._failed, mine]
        counts = _Counts(failed, self._passed)
        scores = {unit: counts.suspicion(unit) * (1 + math.log(times)) for unit, times in mine.items()}
        best = max(scores.values(), default=0.0)
        if best <= 0.0:
            return []
        findings = []
        for step, unit in zip(trace.steps, units, strict=True):
            if unit is None or scores[unit] <= 0.0:
                continue
            bad, good = counts.shares(unit)
            text = (
                f"{unit[1]} like this in {bad:.0%} of {len(failed)} failed and "
                f"{good:.0%} of {len(self._passed)} passed runs"
            )
            score = scores[unit] / best
            findings.append(Finding(step.step, score, Evidence(self.name, text, (step.step,), score)))
        return findings


class _Counts(Struct, frozen=True):
    """The spectra of failed and passed runs."""

    failed: Sequence[Counter[Unit]]
    passed: Sequence[Counter[Unit]]

    def shares(self, unit: Unit) -> tuple[float, float]:
        """Return the shares of failed and of passed runs that show a unit."""
        bad = sum(unit in run for run in self.failed) / len(self.failed)
        return bad, sum(unit in run for run in self.passed) / len(self.passed)

    def suspicion(self, unit: Unit) -> float:
        """Return Kulczynski2 * (1 + beta) * (1 + gamma); 0 when passed runs show it about as often."""
        bad, good = self.shares(unit)
        if bad - good < LEAST_DIFFERENCE:
            return 0.0
        in_failed = sum(_decayed(run[unit]) for run in self.failed)
        in_passed = sum(_decayed(run[unit]) for run in self.passed)
        missing = sum(unit not in run for run in self.failed)
        kulczynski = 0.5 * (in_failed / (in_failed + missing) + in_failed / (in_failed + in_passed))
        acts = [sum(count for other, count in run.items() if other[0] == unit[0]) for run in self.failed]
        beta = sum(run[unit] for run in self.failed) / max(1, sum(acts))
        gamma = sum(count > 0 for count in acts) / len(acts)
        return kulczynski * (1 + beta) * (1 + gamma)


def _decayed(times: int) -> float:
    return (1 - DECAY**times) / (1 - DECAY)


def _spectrum(trace: Trace) -> Counter[Unit]:
    return Counter(unit for step in trace.steps if (unit := unit_of(step)) is not None)


def _class_of(value: Any) -> frozenset[str]:
    if isinstance(value, (dict, list)):
        parts = list(_scalars(value))
        texts = [part for _, part in parts if isinstance(part, str) and " " in part]
        told = {f"{path}={_PLAIN.sub(' ', str(part)).strip().lower()}" for path, part in parts
                if not (isinstance(part, str) and " " in part)}  # fmt: skip
        told |= {fact for text in texts for fact in salient_of(text)}
    else:
        told = set(salient_of(text_of(value)))
    return frozenset(sorted(told)[:_PARTS])


def _scalars(value: Any) -> Iterator[tuple[str, Any]]:
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, dict):
            pending += [(str(key), one) for key, one in item.items() if key not in _IDENTITIES]
        elif isinstance(item, list):
            pending += [(path, one) for one in item]
        else:
            yield path, item
