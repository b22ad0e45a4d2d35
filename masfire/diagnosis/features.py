"""What a step scorer sees of a turn: position, structure, lexicon, novelty and provenance."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from masfire.diagnosis.lexicon import FAMILIES, counts_of
from masfire.diagnosis.turns import Turn

Matrix = npt.NDArray[np.float64]

_CODE = re.compile(r"```(\w*)\n(.*?)(?:```|\Z)", re.DOTALL)
_URLS = ("http://", "https://", "www.")
_ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s", re.MULTILINE)
_DIGIT = re.compile(r"\d")
_DIGITS = b"0123456789"
ROLE_WORDS = ("verif", "valid", "data", "python", "web", "orchestr", "assistant", "file", "expert", "debug")
_LEXICAL = tuple((f"lex.{name}", name) for name in FAMILIES)
_ROLES = tuple((f"role.{word}", word) for word in ROLE_WORDS)
_PLACES = tuple((index, f"pos.is{index}") for index in range(5))
_LOOKED_AT = 4000
"""Characters of the next turn that are looked at."""
_NOTHING: Mapping[str, int] = counts_of("")
_NO_CODE = re.compile(r"no code")
_HARD = re.compile(r"exitcode: [1-9]|execution failed|traceback|exception|\berror\b|timed out")


class Features:
    """The feature matrix of one run's candidates, with names; rows are the blamable turns."""

    def __init__(self, names: Sequence[str], rows: Matrix, candidates: Sequence[Turn]) -> None:
        self.names, self.rows, self.candidates = tuple(names), rows, tuple(candidates)


POSITION = "pos."
"""Prefix of features that say where in the run a turn stands: dropped for an unknown system."""


def features_of(turns: Sequence[Turn], question: str) -> Features:
    """Return the features of all blamable turns; cost linear in the text of the run."""
    candidates = [turn for turn in turns if turn.blamable]
    if not candidates:
        return Features((), np.zeros((0, 0)), ())
    lowered = [turn.text.lower() for turn in turns]
    counts = [counts_of(text) for text in lowered]
    blocks = (
        _position(turns, candidates),
        _agent(turns, candidates),
        _lexicon(candidates, counts),
        _surroundings(turns, candidates, lowered, counts),
        _novelty(turns, candidates, question),
        _provenance(turns, candidates, question),
    )
    names = tuple(name for block in blocks for name in block[0])
    values = (row.values() for parts in zip(*blocks, strict=True) for row in parts)
    rows = np.fromiter(
        itertools.chain.from_iterable(values), np.float64, count=len(names) * len(candidates)
    ).reshape(len(candidates), len(names))
    return Features(names, rows, candidates)


Rows = list[dict[str, float]]
Counts = Sequence[Mapping[str, int]]
"""How often each family of words occurs, per turn."""


def _position(turns: Sequence[Turn], candidates: Sequence[Turn]) -> Rows:
    n, last = len(turns), len(candidates) - 1
    rows: Rows = []
    for order, turn in enumerate(candidates):
        row = {
            "pos.relative": turn.step / max(1, n - 1),
            "pos.log": math.log1p(turn.step),
            "pos.order": math.log1p(order),
            "pos.left": math.log1p(n - 1 - turn.step),
            "pos.first": float(order == 0),
            "pos.second": float(order == 1),
            "pos.last": float(order == last),
            "pos.early": float(turn.step in (3, 4, 5)),
        }
        row.update({column: float(turn.step == index) for index, column in _PLACES})
        rows.append(row)
    return rows


def _agent(turns: Sequence[Turn], candidates: Sequence[Turn]) -> Rows:
    counts = Counter(turn.agent for turn in candidates)
    most = max(counts.values())
    seen: Counter[str] = Counter()
    rows: Rows = []
    for order, turn in enumerate(candidates):
        before = candidates[order - 1].agent if order else ""
        after = candidates[order + 1].agent if order + 1 < len(candidates) else ""
        name = turn.agent.lower()
        row = {
            "agent.share": counts[turn.agent] / len(candidates),
            "agent.most": float(counts[turn.agent] == most),
            "agent.turns": math.log1p(counts[turn.agent]),
            "agent.first": float(seen[turn.agent] == 0),
            "agent.nth": math.log1p(seen[turn.agent]),
            "agent.only": float(counts[turn.agent] == 1),
            "agent.same_before": float(before == turn.agent),
            "agent.same_after": float(after == turn.agent),
            "agent.opened": float(turns[0].agent == turn.agent),
            "agent.closed": float(candidates[-1].agent == turn.agent),
            "agent.thought": float(turn.role == "thought"),
            "agent.dispatch": float(turn.role == "dispatch"),
            "agent.number": math.log(len(counts)),
        }
        row.update({column: float(word in name) for column, word in _ROLES})
        seen[turn.agent] += 1
        rows.append(row)
    return rows


def _lexicon(candidates: Sequence[Turn], counts: Counts) -> Rows:
    rows: Rows = []
    for turn in candidates:
        text, found = turn.text, counts[turn.step]
        code = _CODE.findall(text) if "```" in text else []
        row = {column: math.log1p(found[name]) for column, name in _LEXICAL}
        row.update(
            {
                "text.length": math.log1p(len(text)),
                "text.digits": _digits(text) / (len(text) + 20),
                "text.urls": math.log1p(sum(map(text.count, _URLS))),
                "text.items": math.log1p(len(_ITEM.findall(text))),
                "text.questions": math.log1p(text.count("?")),
                "text.code": float(bool(code)),
                "text.code_lines": math.log1p(sum(body.count("\n") for _, body in code)),
                "text.short": float(len(text) < 60),
                "text.json": float(text.lstrip()[:1] == "{" or '": {' in text),
                "text.bold": math.log1p(text.count("**")),
            }
        )
        rows.append(row)
    return rows


def _surroundings(
    turns: Sequence[Turn], candidates: Sequence[Turn], lowered: Sequence[str], counts: Counts
) -> Rows:
    hard = [
        turn.failed or (not turn.blamable and bool(_HARD.search(text)))
        for turn, text in zip(turns, lowered, strict=True)
    ]
    failures_before, total = _running(hard)
    errors = [found["error"] for found in counts]
    errors_before, errors_total = _running(errors)
    rows: Rows = []
    first_failure = next((index for index, bad in enumerate(hard) if bad), len(turns))
    for turn in candidates:
        index = turn.step
        after = turns[index + 1] if index + 1 < len(turns) else None
        before = turns[index - 1] if index else None
        machine = after is not None and not after.blamable
        text, found = "", _NOTHING
        if after is not None:
            whole = len(after.text) <= _LOOKED_AT
            text = lowered[index + 1] if whole else after.text[:_LOOKED_AT].lower()
            found = counts[index + 1] if whole else counts_of(text)
        rows.append(
            {
                "next.machine": float(machine),
                "next.failed": float(index + 1 < len(turns) and hard[index + 1]),
                "next.fine": float(machine and not hard[index + 1] and not _NO_CODE.search(text)),
                "next.no_code": float(bool(_NO_CODE.search(text))),
                "next.errors": math.log1p(errors[index + 1]) if after else 0.0,
                "next.verify": math.log1p(found["verify"]),
                "next.correct": math.log1p(found["correct"]),
                "next.none": float(after is None),
                "prev.machine": float(before is not None and not before.blamable),
                "prev.failed": float(index > 0 and hard[index - 1]),
                "prev.errors": math.log1p(errors[index - 1]) if index else 0.0,
                "run.failures_before": math.log1p(failures_before[index]),
                "run.failures_after": math.log1p(total - failures_before[index]),
                "run.errors_before": math.log1p(errors_before[index]),
                "run.errors_after": math.log1p(errors_total - errors_before[index]),
                "run.before_first_failure": float(index == first_failure - 1),
                "run.after_failure": float(index > first_failure),
            }
        )
    return rows


def _novelty(turns: Sequence[Turn], candidates: Sequence[Turn], question: str) -> Rows:
    from masfire.diagnosis.turns import salient_of, words_of

    asked, asked_words = salient_of(question), words_of(question)
    known, known_words = set(asked), set(asked_words)
    own: dict[str, Turn] = {}
    rows: dict[int, dict[str, float]] = {}
    for index, turn in enumerate(turns):
        if turn.blamable:
            new = turn.salient - known
            numbers = [token for token in new if token[:1].isdigit()]
            last = own.get(turn.agent)
            previous = turns[index - 1] if index else None
            rows[turn.step] = {
                "new.salient": math.log1p(len(new)),
                "new.salient_share": len(new) / (len(turn.salient) + 3),
                "new.numbers": math.log1p(len(numbers)),
                "new.words": len(turn.words - known_words) / (len(turn.words) + 5),
                "new.unsourced": math.log1p(len(new)) * float(previous is None or previous.blamable),
                "same.question": len(turn.words & asked_words) / (len(asked_words) + 3),
                "same.own": _jaccard(turn.words, last.words) if last else 0.0,
                "same.previous": _jaccard(turn.words, previous.words) if previous else 0.0,
            }
            own[turn.agent] = turn
        known |= turn.salient
        known_words |= turn.words
    return [rows[turn.step] for turn in candidates]


def _provenance(turns: Sequence[Turn], candidates: Sequence[Turn], question: str) -> Rows:
    origin = answer_origins(turns, question)
    total = max(1, sum(origin.values()))
    best = max(origin.values(), default=0)
    first = min(origin, default=-1)
    answer = final_answer(turns, question)
    blame: Counter[int] = Counter()
    blamable = [turn.step for turn in candidates]
    known = sorted(origin)
    before = list(itertools.accumulate((origin[step] for step in known), initial=0))
    # What a machine first said is owed to the one who asked it, and to the one who read it out.
    for step, count in origin.items():
        if turns[step].blamable:
            blame[step] += count
        else:
            asker = bisect_left(blamable, step)
            blame[blamable[asker - 1] if asker else -1] += count
    top = max(blame.values(), default=0)
    used: Counter[int] = Counter()
    for turn in turns:
        for later in turns[turn.step + 1 : turn.step + 4]:
            used[turn.step] += len(turn.salient & later.salient)
    rows: Rows = []
    for turn in candidates:
        rows.append(
            {
                "prov.share": origin.get(turn.step, 0) / total,
                "prov.best": float(best > 0 and origin.get(turn.step, 0) == best),
                "prov.first": float(turn.step == first),
                "prov.before": before[bisect_left(known, turn.step)] / total,
                "prov.owed": blame.get(turn.step, 0) / total,
                "prov.owed_best": float(top > 0 and blame.get(turn.step, 0) == top),
                "prov.present": len(turn.salient & answer) / max(1, len(answer)),
                "prov.used": math.log1p(used[turn.step]),
            }
        )
    return rows


def final_answer(turns: Sequence[Turn], question: str) -> frozenset[str]:
    """Return the facts of the run's own final answer: numbers and names the question did not give."""
    from masfire.diagnosis.turns import salient_of

    asked = salient_of(question)
    for turn in reversed(turns):
        if not turn.blamable:
            continue
        text = turn.text
        marked = text.rfind("FINAL ANSWER")
        facts = salient_of(text[marked + 12 :] if marked >= 0 else text) - asked
        facts -= {"terminate", "final", "answer", "scenario", "run", "complete"}
        if facts:
            return facts
    return frozenset()


def answer_origins(turns: Sequence[Turn], question: str) -> dict[int, int]:
    """Return, per step, how many facts of the final answer first appear there."""
    wanted = set(final_answer(turns, question))
    origins: dict[int, int] = {}
    for turn in turns:
        here = wanted & turn.salient
        if here:
            origins[turn.step] = len(here)
            wanted -= here
    return origins


def _digits(text: str) -> int:
    if text.isascii():
        return len(text) - len(text.encode().translate(None, _DIGITS))
    return len(_DIGIT.findall(text))


def _running(values: Sequence[float]) -> tuple[list[float], float]:
    before, total = [], 0.0
    for value in values:
        before.append(total)
        total += value
    return before, total


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    union = len(left | right)
    return len(left & right) / union if union else 0.0
