"""Failure attribution without a model on Who&When (arXiv 2505.00212), beside baselines and published figures.

    python benchmarks/bench_diagnosis.py --data DIR                       cross-validated by question
    python benchmarks/bench_diagnosis.py --train DIR --test DIR --json F  a fixed split

DIR holds `algorithm_generated/*.json` and `hand_crafted/*.json`. No feature uses the gold answer. Within
each fold the weight of the learner over agents is decided by inner folds; everything else is fixed, but was
picked among about 200 variants on these logs: cross-validated figures are a few points optimistic, those of
--train/--test on unseen questions are not. Candidates are all turns but the user's and terminals'.

Two controls: `permuted_labels` learns from culprits drawn at random (a new draw each fold and shuffle, many
for a fixed split), `random_weights` learns nothing. Both do better than `random` where many turns of a run
are boilerplate: no scorer ranks the alike first, and culprits are seldom among them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from masfire.adapters import whowhen
from masfire.diagnosis.attribute import agent_shares
from masfire.diagnosis.model import Case, Label
from masfire.diagnosis.sample import Sample, sample_of
from masfire.diagnosis.scorer import StepScorer, compared
from masfire.errors import UsageError
from masfire.metrics.statistics import wilson

SUBSETS = ("algorithm_generated", "hand_crafted")
PERMUTATIONS = 20
"""Draws of the permuted labels for a fixed split; cross-validation draws anew in each fold."""
FIELDS = ("step", "agent", "hit3", "hit5", "mrr")
PUBLISHED = {
    "algorithm_generated": (
        ("random (Who&When paper)", 29.1, 19.1), ("all-at-once, GPT-4o", 51.1, 13.5),
        ("all-at-once, Opus-5", 67.2, 46.4), ("CDC-MAS, GPT-4o", 48.5, 36.2),
        ("AgenTracer-8B", 63.7, 37.3), ("CORRECT, GPT-5", None, 38.1), ("A2P, GPT-4o", 65.4, 47.5),
        ("RAFFLES, Sonnet-4", None, 51.6), ("CHIEF, DeepSeek-V3.2", 68.8, 45.6),
        ("Adaptive Influence Graph, Opus-5", 71.2, 55.2), ("StepFinder, in-corpus 30 %", None, 29.1),
    ),
    "hand_crafted": (
        ("random (Who&When paper)", 12.0, 4.2), ("all-at-once, GPT-4o", 53.4, 3.5),
        ("all-at-once, Opus-5", 50.0, 22.4), ("CDC-MAS, GPT-4o", 56.8, 18.2),
        ("AgenTracer-8B", 63.8, 20.7), ("CORRECT, GPT-5", None, 17.2), ("A2P, GPT-4o", 58.6, 29.3),
        ("RAFFLES, Sonnet-4", None, 22.4), ("CHIEF, DeepSeek-V3.2", 72.4, 29.3),
        ("Adaptive Influence Graph, Opus-5", 63.8, 29.3), ("StepFinder, in-corpus 30 %", None, 14.0),
    ),
}  # fmt: skip
"""(method, agent %, step %) without the gold answer, as collected in arXiv 2608.24361 and the papers."""


class Item:
    """One labelled log with its features."""

    def __init__(self, path: Path) -> None:
        read = whowhen.read(path)
        if read.label is None:
            raise UsageError("It has no label (`mistake_agent`, `mistake_step`).", where=str(path))
        self.subset = path.parent.name
        self.label: Label = read.label
        self.group = read.group
        self.sample: Sample = sample_of(Case(read.trace, read.label, read.group, read.trace.header.system))
        self.steps = [turn.step for turn in self.sample.features.candidates]
        self.agents = [turn.agent.lower() for turn in self.sample.features.candidates]
        if not self.steps:
            raise UsageError("No agent speaks in it.", where=str(path))

    @property
    def guilty(self) -> str:
        return self.label.agent.lower()


Ranking = tuple[list[int], str]
"""Steps, likeliest first, and the agent that is blamed."""
Method = Callable[[Item], Ranking]


def load(folder: Path) -> list[Item]:
    paths = [path for subset in SUBSETS for path in sorted((folder / subset).glob("*.json"))]
    if not paths:
        sys.exit(f"{folder} holds no algorithm_generated/*.json or hand_crafted/*.json.")
    items, left_out = [], []
    for path in paths:
        try:
            items.append(Item(path))
        except UsageError as error:
            left_out.append(str(error))
    if left_out:
        print(f"{len(left_out)} of {len(paths)} logs are left out:", *left_out, sep="\n  ", file=sys.stderr)
    if not items:
        sys.exit(f"{folder} holds no log that can be used.")
    return items


# Methods ---------------------------------------------------------------------------------------------


def ranked(item: Item, scores: Sequence[float], agent: str = "") -> Ranking:
    """Return the candidates by falling score; ties in the order of the run."""
    order = sorted(range(len(item.steps)), key=lambda index: -scores[index])
    return [item.steps[index] for index in order], agent or item.agents[order[0]]


def learned(scorer: StepScorer) -> Method:
    def rank(item: Item) -> Ranking:
        chances = scorer.probabilities(item.sample)
        return ranked(item, list(chances), agent_shares(item.agents, chances)[0][0])

    return rank


def first(item: Item) -> Ranking:
    return ranked(item, [-index for index in range(len(item.steps))])


def last(item: Item) -> Ranking:
    return ranked(item, list(range(len(item.steps))))


def second(item: Item) -> Ranking:
    return ranked(item, [-abs(index - 1) for index in range(len(item.steps))])


def most_frequent_speaker(item: Item) -> Ranking:
    counts = Counter(item.agents)
    return ranked(item, [counts[agent] * 1000 - index for index, agent in enumerate(item.agents)])


def position_prior(train: Sequence[Item]) -> Method:
    counts = {subset: Counter(one.label.step for one in train if one.subset == subset) for subset in SUBSETS}
    return lambda item: ranked(item, [counts[item.subset][step] - step / 1e4 for step in item.steps])


def majority_culprit(train: Sequence[Item]) -> Method:
    """The agent most often guilty in this subset, at its modal turn; the commonest there without it."""
    prior: dict[str, Counter[str]] = defaultdict(Counter)
    turn: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for one in train:
        prior[one.subset][one.guilty] += 1
        turn[one.subset, one.guilty][one.label.step] += 1

    def rank(item: Item) -> Ranking:
        names = [name for name, _ in prior[item.subset].most_common() if name in item.agents]
        agent = names[0] if names else item.agents[0]
        modal = turn[item.subset, agent]
        scores = [
            1000.0 * (name == agent) + modal[step] - step / 1e4
            for name, step in zip(item.agents, item.steps, strict=True)
        ]
        return ranked(item, scores)

    return rank


def permuted(train: Sequence[Item], seed: int) -> list[Sample]:
    """Return the training runs with their culprits drawn anew among the candidates."""
    draw = random.Random(seed)
    out = []
    for one in train:
        old = one.sample
        drawn = draw.randrange(len(one.steps))
        out.append(Sample(old.system, old.group, old.features, old.words, drawn, guilty=one.agents[drawn]))
    return out


# Measures --------------------------------------------------------------------------------------------


def measure(item: Item, ranking: Ranking) -> dict[str, float]:
    steps, agent = ranking
    place = steps.index(item.label.step) + 1 if item.label.step in steps else 0
    return {
        "step": float(place == 1),
        "agent": float(agent == item.guilty),
        "hit3": float(0 < place <= 3),
        "hit5": float(0 < place <= 5),
        "mrr": 1.0 / place if place else 0.0,
    }


def chance(item: Item, *, draws: int = 200) -> dict[str, float]:
    """Return the expected measures of a random order of the candidates."""
    draw, total = random.Random(item.group), Counter[str]()
    for _ in range(draws):
        order = list(range(len(item.steps)))
        draw.shuffle(order)
        total.update(measure(item, ([item.steps[index] for index in order], item.agents[order[0]])))
    return {field: total[field] / draws for field in FIELDS}


def blindly(item: Item, *, draws: int = 100) -> dict[str, float]:
    """Return the mean measures of linear scorers whose weights are drawn at random."""
    draw, total = np.random.default_rng(0), Counter[str]()
    rows = compared(item.sample)
    for scores in (rows @ draw.normal(size=(rows.shape[1], draws))).T:
        total.update(measure(item, ranked(item, scores.tolist())))
    return {field: total[field] / draws for field in FIELDS}


Results = dict[str, dict[str, list[dict[str, float]]]]


def evaluate(
    train: Sequence[Item], test: Sequence[Item], results: Results, *, seed: int, permutations: int
) -> None:
    scorer = StepScorer.fit([one.sample for one in train])
    controls = [learned(StepScorer.fit(permuted(train, seed + each))) for each in range(permutations)]
    methods: dict[str, Method] = {
        "masfire": learned(scorer),
        "first": first,
        "second": second,
        "last": last,
        "most_frequent_speaker": most_frequent_speaker,
        "position_prior": position_prior(train),
        "majority_culprit": majority_culprit(train),
    }
    for item in test:
        for name, method in methods.items():
            results[item.subset][name].append(measure(item, method(item)))
        results[item.subset]["random"].append(chance(item))
        results[item.subset]["random_weights"].append(blindly(item))
        fooled = [measure(item, control(item)) for control in controls]
        results[item.subset]["permuted_labels"].append(
            {field: sum(one[field] for one in fooled) / len(fooled) for field in FIELDS}
        )


def cross_validate(items: Sequence[Item], *, folds: int, repeats: int) -> Results:
    """Return results over `repeats` shuffles of `folds` folds; runs of one question stay together."""
    results: Results = {subset: defaultdict(list) for subset in SUBSETS}
    for repeat in range(repeats):
        groups = sorted({one.group for one in items})
        random.Random(repeat).shuffle(groups)
        fold = {group: index % folds for index, group in enumerate(groups)}
        for held in range(folds):
            train = [one for one in items if fold[one.group] != held]
            test = [one for one in items if fold[one.group] == held]
            evaluate(train, test, results, seed=repeat * folds + held, permutations=1)
        print(f"shuffle {repeat + 1} of {repeats} done", file=sys.stderr)
    return results


def summary(results: Results, repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    table: dict[str, dict[str, dict[str, float]]] = {}
    for subset, methods in results.items():
        table[subset] = {}
        for name, rows in methods.items():
            means = {field: sum(row[field] for row in rows) / len(rows) for field in FIELDS}
            table[subset][name] = {**means, "n": len(rows) // repeats}
    return table


def show(table: dict[str, dict[str, dict[str, float]]]) -> None:
    for subset, methods in table.items():
        if not methods:
            continue
        n = int(next(iter(methods.values()))["n"])
        print(f"\n{subset} (n = {n}; 95 % Wilson intervals; no model, no gold answer)")
        print(f"  {'method':<24}{'step %':>18}{'agent %':>20}{'hit@3 %':>20}{'hit@5 %':>20}{'MRR':>8}")
        for name, row in sorted(methods.items(), key=lambda pair: (pair[0] != "masfire", -pair[1]["step"])):
            cells = "".join(f"{_interval(row[field], n):>20}" for field in FIELDS[:4])
            print(f"  {name:<24}{cells[2:]}{row['mrr']:>8.2f}")
        print("  published, whole subset, without the gold answer (agent / step %):")
        print(
            "    "
            + "; ".join(f"{name} {a if a is not None else '-'}/{s}" for name, a, s in PUBLISHED[subset])
        )


def _interval(rate: float, n: int) -> str:
    found = wilson(round(rate * n), n)
    low, high = (math.nan if end is None else 100 * end for end in (found.low, found.high))
    return f"{100 * rate:.1f} [{low:.0f}-{high:.0f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled logs, cross-validated")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--json", type=Path, help="also write the table as JSON")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if bool(options.train) != bool(options.test) or bool(options.train) == bool(options.data):
        parser.error("Give either --data, or --train and --test.")
    if options.train:
        train, test = load(options.train), load(options.test)
        asked = {one.group for one in test}
        kept = [one for one in train if one.group not in asked]
        print(
            f"{len(kept)} runs to learn from ({len(train) - len(kept)} left out: their question is tested)."
        )
        results: Results = {subset: defaultdict(list) for subset in SUBSETS}
        evaluate(kept, test, results, seed=0, permutations=PERMUTATIONS)
        table = summary(results, 1)
    else:
        items = load(options.data)
        table = summary(cross_validate(items, folds=options.folds, repeats=options.repeats), options.repeats)
    show(table)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
