"""How much each layer's word is worth, learned from runs whose culprit is known, and how sure to be."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from masfire.diagnosis.learners import Floats, Group, Softmax
from masfire.diagnosis.model import Finding
from masfire.errors import UsageError

LEARNED = "learned"
FLOOR = 1e-3
"""The learned probability of a step that the scorer does not rank."""

L2 = 1.0
FOLDS = 4
LEAST_RUNS = 8
"""Fewest labelled runs for weights of their own."""

MOST_LAYERS = 5
SURE = 0.5
"""An answer is given when, among held-out runs of at least this confidence, so many tops were right."""

_TEMPERATURES = np.exp(np.linspace(np.log(0.25), np.log(8.0), 61))


class Reading(Struct, frozen=True):
    """What the layers said of one labelled run: per layer each step's strongest score in 0..1.

    `culprit` is the labelled step; `group` names what must stay on one side of a split; `agents` tells
    each step's agent (without them, evidence counts for its own step only).
    """

    steps: tuple[int, ...]
    scores: dict[str, dict[int, float]]
    culprit: int
    group: str
    agents: tuple[str, ...] = ()


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """Weights for one set of layers, the temperature of their log-odds, and when to say "don't know".

    `weights` are those of a layer's score at a step; `agents` those of its strongest score at any step of
    the same agent: a broken promise often shows one step after the mistake, but in the same hands.
    `ece` is the expected calibration error of held-out runs in 10 bins (Guo et al., 1706.04599),
    `right` the share of held-out runs whose top step was right, of `runs`.
    """

    weights: dict[str, float]
    temperature: float = 1.0
    threshold: float = 0.0
    ece: float = 0.0
    right: float = 0.0
    runs: int = 0
    agents: dict[str, float] = {}


class Combiner:
    """A small logistic model over the layers' scores: one rule for each set of layers that may speak.

    The score of a step is the weighted sum of its layers' scores (of the learned one: of its
    log-probability) and of the strongest scores of its agent; a softmax over the run's steps makes it
    a probability (conditional logit, McFadden 1974). Weights never fall below 0: no evidence speaks
    for the innocence of its step.
    """

    def __init__(self, rules: Mapping[frozenset[str], Rule]) -> None:
        self.rules = dict(rules)

    @classmethod
    def fit(cls, readings: Sequence[Reading]) -> Combiner:
        """Return the combiner of labelled runs; raise UsageError when fewer than LEAST_RUNS are usable.

        Temperature, threshold and calibration error come from runs that the weights were not fitted
        on (FOLDS folds by group).
        """
        usable = [one for one in readings if one.culprit in one.steps and len(one.steps) > 1]
        if len(usable) < LEAST_RUNS:
            raise UsageError(f"{len(usable)} labelled runs are too few to weigh layers ({LEAST_RUNS}).")
        names = sorted({name for one in usable for name, found in one.scores.items() if found})
        names = names[:MOST_LAYERS] if len(names) > MOST_LAYERS else names
        rules = {}
        for size in range(1, len(names) + 1):
            for chosen in itertools.combinations(names, size):
                rules[frozenset(chosen)] = _rule(usable, chosen)
        return cls(rules)

    def rule(self, asked: Iterable[str]) -> Rule | None:
        """Return the rule of the largest known set among the layers that were asked; None without any."""
        present = frozenset(asked)
        known = [names for names in self.rules if names <= present]
        return self.rules[max(known, key=lambda names: (len(names), sorted(names)))] if known else None

    def data(self) -> list[Any]:
        """Return the rules as JSON."""
        return [msgspec.to_builtins(rule) for rule in self.rules.values()]

    @classmethod
    def of(cls, data: Any) -> Combiner:
        """Return the combiner of `data`; raise msgspec.ValidationError or ValueError when it is none."""
        rules = msgspec.convert(data, list[Rule])
        for rule in rules:
            numbers = (*rule.weights.values(), *rule.agents.values(), rule.temperature, rule.threshold)
            if rule.temperature <= 0 or not np.isfinite(numbers).all():
                raise ValueError("a rule of the combiner has no finite weights or temperature")
        return cls({frozenset(rule.weights): rule for rule in rules})


def strongest(findings: Mapping[str, Sequence[Finding]]) -> dict[str, dict[int, float]]:
    """Return, per layer, each step's strongest score."""
    scores: dict[str, dict[int, float]] = {}
    for name, found in findings.items():
        best = scores.setdefault(name, {})
        for one in found:
            best[one.step] = max(best.get(one.step, 0.0), one.score)
    return scores


def columns(steps: Sequence[int], scores: Mapping[str, Mapping[int, float]], names: Sequence[str]) -> Floats:
    """Return one row a step and one column a layer: its score, the learned one's as a log-probability."""
    table = np.zeros((len(steps), len(names)))
    for column, name in enumerate(names):
        said = scores.get(name, {})
        if name == LEARNED:
            if said:
                table[:, column] = [np.log(max(said.get(step, FLOOR), FLOOR / 10)) for step in steps]
        else:
            table[:, column] = [said.get(step, 0.0) for step in steps]
    return table


def odds_of(
    rule: Rule, steps: Sequence[int], agents: Sequence[str], scores: Mapping[str, Mapping[int, float]]
) -> Floats:
    """Return the log-odds of each step by a rule; `agents` tells each step's agent."""
    names = list(rule.weights)
    own = columns(steps, scores, names)
    odds = own @ np.array([rule.weights[name] for name in names])
    odds += _of_agents(own, agents) @ np.array([rule.agents.get(name, 0.0) for name in names])
    return np.asarray(odds / rule.temperature)


def _of_agents(table: Floats, agents: Sequence[str]) -> Floats:
    """Return the table with each cell replaced by the column's greatest among the steps of one agent."""
    most = np.zeros_like(table)
    speakers = np.array(agents)
    for agent in set(agents):
        its = speakers == agent
        most[its] = table[its].max(axis=0)
    return most


def reliability(
    confidences: Sequence[float], right: Sequence[bool], *, bins: int = 10
) -> tuple[list[tuple[float, float, int]], float]:
    """Return (mean confidence, share right, runs) per bin that has any, and the calibration error."""
    sure, hits = np.array(confidences), np.array(right, dtype=float)
    place = np.minimum((sure * bins).astype(int), bins - 1)
    table, error = [], 0.0
    for index in range(bins):
        here = place == index
        if here.any():
            mean, share = float(sure[here].mean()), float(hits[here].mean())
            table.append((mean, share, int(here.sum())))
            error += abs(mean - share) * here.sum() / len(sure)
    return table, float(error)


def softmax(odds: Floats) -> Floats:
    """Return probabilities of log-odds."""
    powers = np.exp(odds - odds.max())
    return np.asarray(powers / powers.sum())


def _rule(usable: Sequence[Reading], names: Sequence[str]) -> Rule:
    # The learned scorer has its own opinion on agents; all other evidence may speak for its agent, too.
    spread = [index for index, name in enumerate(names) if name != LEARNED]
    tables = []
    for one in usable:
        own = columns(one.steps, one.scores, names)
        tables.append(np.hstack([own, _of_agents(own, one.agents)[:, spread]]))
    culprits = [one.steps.index(one.culprit) for one in usable]
    groups = sorted({one.group for one in usable}, key=lambda group: zlib.crc32(group.encode()))
    fold = {group: index % FOLDS for index, group in enumerate(groups)}
    held: list[tuple[Floats, int]] = []
    for out in range(FOLDS):
        train: list[Group] = [
            (table, culprit)
            for one, table, culprit in zip(usable, tables, culprits, strict=True)
            if fold[one.group] != out
        ]
        if not train:
            continue
        weights = _weights(train)
        held += [
            (table @ weights, culprit)
            for one, table, culprit in zip(usable, tables, culprits, strict=True)
            if fold[one.group] == out
        ]
    plain = np.arange(len(names) + len(spread)) < len(names)
    held = held or [(table @ plain, row) for table, row in zip(tables, culprits, strict=True)]
    weights = _weights(list(zip(tables, culprits, strict=True)))
    temperature = min(_TEMPERATURES, key=lambda heat: _loss(held, float(heat)))
    confidences, right = [], []
    for odds, culprit in held:
        chances = softmax(odds / temperature)
        confidences.append(float(chances.max()))
        right.append(int(chances.argmax()) == culprit)
    return Rule(
        weights={name: float(f"{weight:.6g}") for name, weight in zip(names, weights, strict=False)},
        agents={
            names[index]: float(f"{weight:.6g}")
            for index, weight in zip(spread, weights[len(names) :], strict=True)
        },
        temperature=float(f"{temperature:.4g}"),
        threshold=_threshold(confidences, right),
        ece=round(reliability(confidences, right)[1], 4),
        right=round(sum(right) / len(right), 4),
        runs=len(usable),
    )


def _weights(groups: Sequence[Group]) -> Floats:
    """Return weights of greatest penalised likelihood, those below 0 left out one after the other."""
    kept = list(range(groups[0][0].shape[1]))
    weights = np.zeros(len(kept))
    while kept:
        found = Softmax.fit([(table[:, kept], culprit) for table, culprit in groups], l2=L2).weights
        if found.min() >= 0:
            weights[kept] = found
            break
        del kept[int(found.argmin())]
    return weights


def _loss(held: Sequence[tuple[Floats, int]], temperature: float) -> float:
    return -sum(float(np.log(softmax(odds / temperature)[culprit] + 1e-12)) for odds, culprit in held)


def _threshold(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Return the least confidence above which at least SURE of the held-out tops were right (1: never)."""
    order = sorted(zip(confidences, right, strict=True), reverse=True)
    least, hits = 1.0, 0
    for place, (confidence, hit) in enumerate(order, 1):
        hits += hit
        tied = place < len(order) and order[place][0] == confidence
        if not tied and hits / place >= SURE:
            least = math.floor(1000 * confidence) / 1000
    return least
