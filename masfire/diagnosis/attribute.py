"""The spine of diagnosis: ask every layer, combine what they say, rank the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from masfire.diagnosis.combine import FLOOR, LEARNED, Combiner, Rule, columns, odds_of, softmax, strongest
from masfire.diagnosis.learners import Floats
from masfire.diagnosis.model import EARLIEST_DECISIVE, Attribution, Evidence, Finding, Layer, Suspect
from masfire.diagnosis.turns import Turn, turns_of
from masfire.trace.model import Trace

WEIGHTS: dict[str, float] = {
    "counterfactual": 12.0,
    "contract": 4.0,
    "spectrum": 3.0,
    "schema": 12.0,
    "model": 2.5,
    "provenance": 2.0,
}
"""Log-odds that a full-strength finding of each layer adds, in the order in which they proved reliable
on recorded runs; `Combiner.fit` replaces them by weights of your own runs."""

SURE = ("contract", "counterfactual")
"""Layers whose finding alone is reason enough to name a culprit."""

ORIGIN = "provenance"
"""The layer that has an opinion of every run, failed or not."""

LEAST_CONFIDENCE = 0.15
"""Below this the top suspect is a guess, and the attribution says that it does not know."""


def diagnose(
    trace: Trace,
    layers: Sequence[Layer],
    *,
    weights: Mapping[str, float] | None = None,
    temperature: float = 1.0,
    combiner: Combiner | None = None,
    top: int = 10,
) -> Attribution:
    """Return who is to blame for this failed run, likeliest first, from a blind look at the trace.

    The log-odds of a step are the learned scorer's (when one is among the layers and has an opinion;
    all blamable steps alike otherwise) plus each layer's weight times its strongest finding there.
    Where the learned scorer speaks, provenance only explains: it is one of the scorer's features.
    `temperature` divides the log-odds before they become confidences. A `combiner` that knows a set of
    these layers brings fitted weights, a fitted temperature, and the confidence below which the
    attribution says that it does not know.
    """
    trace = trace.blind()
    turns = turns_of(trace)
    found: dict[str, list[Finding]] = {}
    for layer in layers:  # several may share a name: contracts and expected calls are one kind of evidence
        found.setdefault(layer.name, []).extend(layer.examine(trace))
    blamable = [turn.step for turn in turns if turn.blamable]
    steps = sorted({*blamable, *(one.step for findings in found.values() for one in findings)})
    asked = tuple(dict.fromkeys(layer.name for layer in layers))
    if not steps:
        return Attribution(
            trace.header.run, (), (), known=False, reason="No step could be blamed.", layers=asked
        )
    rule = combiner.rule(asked) if combiner is not None else None
    odds = (
        log_odds(steps, found, weights or WEIGHTS) / temperature
        if rule is None
        else _ruled(steps, [turns[step].agent for step in steps], found, rule)
    )
    chances = softmax(odds)
    order = sorted(range(len(steps)), key=lambda index: (-odds[index], steps[index]))
    suspects = tuple(
        _suspect(trace, turns, steps[index], float(odds[index]), float(chances[index]), found)
        for index in order[:top]
    )
    reason = _doubt(trace, suspects, found, rule)
    return Attribution(
        run=trace.header.run,
        suspects=suspects,
        agents=agent_shares([turns[step].agent for step in steps], chances),
        known=not reason,
        reason=reason,
        convention=EARLIEST_DECISIVE,
        layers=asked,
    )


def log_odds(
    steps: Sequence[int], found: Mapping[str, Sequence[Finding]], weights: Mapping[str, float]
) -> Floats:
    """Return the unnormalised log-odds of each step."""
    row = {step: index for index, step in enumerate(steps)}
    learned = found.get(LEARNED, ())
    odds = np.full(len(steps), np.log(FLOOR) if learned else 0.0)
    for one in learned:
        odds[row[one.step]] = np.log(max(one.score, FLOOR / 10))
    for name, findings in found.items():
        if name == LEARNED or (name == ORIGIN and learned):
            continue
        strongest: dict[int, float] = {}
        for one in findings:
            strongest[one.step] = max(strongest.get(one.step, 0.0), one.score)
        for step, score in strongest.items():
            odds[row[step]] += weights.get(name, 1.0) * score
    return odds


def agent_shares(agents: Sequence[str], chances: Floats) -> tuple[tuple[str, float], ...]:
    """Return each agent's share of the blame (the sum over its steps), largest first."""
    shares: dict[str, float] = {}
    for agent, chance in zip(agents, chances, strict=True):
        shares[agent] = shares.get(agent, 0.0) + float(chance)
    return tuple(sorted(shares.items(), key=lambda item: -item[1]))


def _suspect(
    trace: Trace,
    turns: Sequence[Turn],
    step: int,
    odds: float,
    chance: float,
    found: Mapping[str, Sequence[Finding]],
) -> Suspect:
    because = [one.evidence for findings in found.values() for one in findings if one.step == step]
    because.sort(key=lambda evidence: -WEIGHTS.get(evidence.layer, 1.0) * evidence.weight)
    category = next((evidence.category for evidence in because if evidence.category), "")
    return Suspect(
        step=step,
        agent=turns[step].agent,
        score=odds,
        confidence=chance,
        category=category,
        because=tuple(because),
        path=path_to_failure(trace, step),
    )


def path_to_failure(trace: Trace, start: int, *, longest: int = 50) -> tuple[int, ...]:
    """Return the steps by which what was said at `start` reached the last step: a shortest way.

    Edges are the recorded parents. Without a recorded way only `start` and the last step are given.
    """
    last = len(trace.steps) - 1
    came_from: dict[int, int] = {start: start}
    for step in trace.steps[start + 1 :]:
        known = came_from.keys() & step.parents
        if known:
            came_from[step.step] = min(known)
    if last not in came_from:
        return (start, last) if last > start else (start,)
    path = [last]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    path.reverse()
    if len(path) > longest:
        path = [*path[: longest // 2], *path[-(longest - longest // 2) :]]
    return tuple(path)


def _ruled(
    steps: Sequence[int], agents: Sequence[str], found: Mapping[str, Sequence[Finding]], rule: Rule
) -> Floats:
    """Return the log-odds of each step by fitted weights; layers that were not fitted keep their own."""
    scores = strongest(found)
    others = [name for name in scores if name not in rule.weights and name not in (LEARNED, ORIGIN)]
    kept = columns(steps, scores, others) @ np.array([WEIGHTS.get(one, 1.0) for one in others])
    return np.asarray(odds_of(rule, steps, agents, scores) + kept)


def _doubt(
    trace: Trace, suspects: Sequence[Suspect], found: Mapping[str, Sequence[Finding]], rule: Rule | None
) -> str:
    """Return why the culprit is not known, or an empty string."""
    if trace.end is not None and trace.end.success is True:
        return "The run passed its check: there may be nothing to blame."
    if trace.end is None:
        return "The trace has no end: whether the run failed, and what its answer was, is not recorded."
    if rule is not None and suspects[0].confidence < rule.threshold:
        return (
            f"The likeliest step has a confidence of {suspects[0].confidence:.0%}; on labelled runs, "
            f"answers below {rule.threshold:.0%} were wrong too often."
        )
    if any(one.score >= 0.5 for name in SURE for one in found.get(name, ())):
        return ""
    if not any(found.values()):
        return "No layer had evidence; the order below is arbitrary."
    if trace.end.success is None and not any(findings for name, findings in found.items() if name != ORIGIN):
        return "Nobody judged the run, and only the origin of its answer's facts speaks against a step."
    top = suspects[0]
    if rule is None and top.confidence < LEAST_CONFIDENCE:
        return f"The likeliest step has a confidence of only {top.confidence:.0%}."
    if len(suspects) > 1 and suspects[1].confidence > 0.95 * top.confidence:
        return f"Steps {top.step} and {suspects[1].step} are equally likely."
    return ""


def explain(attribution: Attribution) -> list[Evidence]:
    """Return the evidence against the likeliest suspect, strongest first."""
    return list(attribution.top.because) if attribution.top else []
