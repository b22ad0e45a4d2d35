"""What a step scorer sees of a turn: position, structure, lexicon, novelty and provenance."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from masfire.diagnosis.turns import Turn

Matrix = npt.NDArray[np.float64]

LEXICON: dict[str, str] = {
    "hedge": r"\b(?:might|may be|perhaps|possibly|probably|likely|seems?|appears?|approximately|roughly|"
    r"typically|generally|usually|should be|i think|i believe)\b",
    "assume": r"\b(?:assum\w+|suppose|hypothetical\w*|example|sample|mock\w*|placeholder|simulat\w+|known|"
    r"based on (?:my|general|common|available|historical)|recall|knowledge)\b",
    "error": r"\b(?:errors?|failed|failure|exception|traceback|invalid|incorrect|wrong|unable|cannot|"
    r"can't|couldn't|could not|not (?:found|available|defined|possible)|timed? ?out|denied|missing)\b",
    "refuse": r"\b(?:sorry|apolog\w+|unfortunately|unable to|i cannot|i can't|do(?:es)? not have access)\b",
    "plan": r"\b(?:let'?s|let us|next|first|we will|i will|i'll|we need to|we should|plan|steps?|proceed)\b",
    "verify": r"\b(?:verif\w+|check\w*|confirm\w*|validat\w+|ensure|double-check|cross-check|accura\w+)\b",
    "conclude": r"\b(?:therefore|thus|hence|conclu\w+|final(?:ly)?|in summary|result(?:s)? (?:is|are|shows?)|"
    r"the answer|total)\b",
    "finish": r"\b(?:terminate|final answer|request satisfied|task (?:is )?(?:complete|done))",
    "ask": r"\b(?:please|could you|can you|would you|do you)\b",
    "manual": r"\b(?:manual(?:ly)?|directly|by hand|visually|inspect\w*)\b",
    "search": r"\b(?:search\w*|look up|browse|scrape|download|website|web ?page|click\w*|scroll\w*|typed)\b",
    "compute": r"\b(?:calculat\w+|comput\w+|count\w*|sum|average|formula|equation|convert\w*)\b",
    "correct": r"\b(?:correct(?:ed|ion|ly)?|accurate|verified|confirmed|matches|consistent|indeed)\b",
    "loop": r"\b(?:in_loop|loop\w*|stall\w*|repeat\w*|again|re-?plan\w*|retry|continue)\b",
    "guess": r"\b(?:guess\w*|estimat\w+|approximation|educated|infer\w*|unclear|unknown|no information)\b",
}
"""Word families counted per turn, in lower-cased text (ignoring case costs several times as much)."""

_COMPILED = {name: re.compile(pattern) for name, pattern in LEXICON.items()}
_CODE = re.compile(r"```(\w*)\n(.*?)(?:```|\Z)", re.DOTALL)
_URL = re.compile(r"https?://|www\.")
_ITEM = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s", re.MULTILINE)
_DIGITS = re.compile(r"\d")
_NO_CODE = re.compile(r"no code")
_HARD = re.compile(r"exitcode: [1-9]|execution failed|traceback|exception|\berror\b|timed out")
ROLE_WORDS = ("verif", "valid", "data", "python", "web", "orchestr", "assistant", "file", "expert", "debug")


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
    columns: list[dict[str, float]] = [{} for _ in candidates]
    for block in _BLOCKS:
        for row, values in zip(columns, block(turns, candidates, question), strict=True):
            row.update(values)
    names = tuple(columns[0])
    rows = np.array([[row[name] for name in names] for row in columns], dtype=np.float64)
    return Features(names, rows, candidates)


Rows = list[dict[str, float]]


def _position(turns: Sequence[Turn], candidates: Sequence[Turn], question: str) -> Rows:
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
        row.update({f"pos.is{index}": float(turn.step == index) for index in range(5)})
        rows.append(row)
    return rows


def _agent(turns: Sequence[Turn], candidates: Sequence[Turn], question: str) -> Rows:
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
        row.update({f"role.{word}": float(word in name) for word in ROLE_WORDS})
        seen[turn.agent] += 1
        rows.append(row)
    return rows


def _lexicon(turns: Sequence[Turn], candidates: Sequence[Turn], question: str) -> Rows:
    rows: Rows = []
    for turn in candidates:
        text, lowered = turn.text, turn.text.lower()
        code = _CODE.findall(text) if "```" in text else []
        counts = {name: len(found.findall(lowered)) for name, found in _COMPILED.items() if name != "error"}
        counts["error"] = _errors(text)
        row = {f"lex.{name}": math.log1p(counts[name]) for name in _COMPILED}
        row.update(
            {
                "text.length": math.log1p(len(text)),
                "text.digits": len(_DIGITS.findall(text)) / (len(text) + 20),
                "text.urls": math.log1p(len(_URL.findall(text))),
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


def _surroundings(turns: Sequence[Turn], candidates: Sequence[Turn], question: str) -> Rows:
    hard = [turn.failed or (not turn.blamable and bool(_HARD.search(turn.text.lower()))) for turn in turns]
    failures_before, total = _running(hard)
    errors = [_errors(turn.text) for turn in turns]
    errors_before, errors_total = _running(errors)
    rows: Rows = []
    first_failure = next((index for index, bad in enumerate(hard) if bad), len(turns))
    for turn in candidates:
        index = turn.step
        after = turns[index + 1] if index + 1 < len(turns) else None
        before = turns[index - 1] if index else None
        machine = after is not None and not after.blamable
        text = after.text[:4000].lower() if after is not None else ""
        rows.append(
            {
                "next.machine": float(machine),
                "next.failed": float(index + 1 < len(turns) and hard[index + 1]),
                "next.fine": float(machine and not hard[index + 1] and not _NO_CODE.search(text)),
                "next.no_code": float(bool(_NO_CODE.search(text))),
                "next.errors": math.log1p(errors[index + 1]) if after else 0.0,
                "next.verify": math.log1p(len(_COMPILED["verify"].findall(text))),
                "next.correct": math.log1p(len(_COMPILED["correct"].findall(text))),
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
    # What a machine first said is owed to the one who asked it, and to the one who read it out.
    for step, count in origin.items():
        if turns[step].blamable:
            blame[step] += count
        else:
            asker = max((index for index in blamable if index < step), default=-1)
            blame[asker] += count
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
                "prov.before": sum(count for step, count in origin.items() if step < turn.step) / total,
                "prov.owed": blame.get(turn.step, 0) / total,
                "prov.owed_best": float(top > 0 and blame.get(turn.step, 0) == top),
                "prov.present": len(turn.salient & answer) / max(1, len(answer)),
                "prov.used": math.log1p(used[turn.step]),
            }
        )
    return rows


_BLOCKS: tuple[Callable[[Sequence[Turn], Sequence[Turn], str], Rows], ...] = (
    _position, _agent, _lexicon, _surroundings, _novelty, _provenance,
)  # fmt: skip


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


@functools.lru_cache(maxsize=1024)
def _errors(text: str) -> int:
    """Return how many error words a text has; two blocks ask for the same texts."""
    return len(_COMPILED["error"].findall(text.lower()))


def _running(values: Sequence[float]) -> tuple[list[float], float]:
    before, total = [], 0.0
    for value in values:
        before.append(total)
        total += value
    return before, total


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    union = len(left | right)
    return len(left & right) / union if union else 0.0
