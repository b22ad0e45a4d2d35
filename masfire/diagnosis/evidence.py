"""Evidence that needs no learning: broken contracts, unexpected calls, and the origin of a wrong answer."""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from masfire.contracts.model import Contract, Violation
from masfire.diagnosis.features import answer_origins
from masfire.diagnosis.model import Evidence, Finding
from masfire.diagnosis.turns import question_of, turns_of
from masfire.errors import RefusedValue, UsageError
from masfire.trace.model import USER, Action, Message, Observation, Step, Trace

_SEVERITY = {"error": 1.0, "warning": 0.4, "info": 0.1}
_LATER = 0.6
"""What a later violation counts beside the one before it: consequences follow causes."""


class ContractEvidence:
    """Blames the steps that broke contracts, the first of the run most."""

    name = "contract"

    def __init__(self, contracts: Sequence[Contract]) -> None:
        self.contracts = tuple(contracts)
        self._catches = {contract.id: contract.catches for contract in self.contracts}

    def examine(self, trace: Trace) -> list[Finding]:
        """Return one finding a violation; a violation's blame is the step that opened the obligation."""
        from masfire.contracts.engine import judge

        violations = [one for verdict in judge(trace, self.contracts) for one in verdict.violations]
        violations.sort(key=lambda one: (one.blame, one.violated_at))
        findings, strength, last = [], 1.0, -1
        for one in violations:
            step = _caller(trace, min(max(one.blame, 0), len(trace.steps) - 1))
            if last >= 0 and step != last:
                strength *= _LATER
            last = step
            findings.append(self._finding(one, step, strength * _SEVERITY.get(one.severity, 1.0)))
        return findings

    def _finding(self, one: Violation, step: int, score: float) -> Finding:
        catches = self._catches.get(one.contract, ())
        text = f"breaks the contract {one.contract!r}" + (f": {one.reason}" if one.reason else "")
        steps = tuple(dict.fromkeys((step, one.violated_at, *(witness.step for witness in one.witnesses))))
        return Finding(step, score, Evidence(self.name, text, steps, score, catches[0] if catches else ""))


class Expected(Struct, frozen=True):
    """What a test's author expected: calls in any order, and texts that the answers must contain.

    `reads` are name patterns of tools that change nothing: they are not compared; of `loose` ones only
    the name is (their argument is free text).
    """

    actions: tuple[tuple[str, Mapping[str, Any]], ...]
    outputs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("get_*", "find_*", "list_*", "search_*", "think", "calculate")
    loose: tuple[str, ...] = ("transfer_*",)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Expected:
        """Return {"actions": [{"name", "kwargs" or "arguments"}], "outputs": [...]} as expectations."""
        actions = tuple(
            (str(one["name"]), one.get("kwargs") or one.get("arguments") or {})
            for one in data.get("actions", ())
        )
        return cls(actions=actions, outputs=tuple(str(one) for one in data.get("outputs", ())))


def expected_of(data: Any, *, where: str = "") -> Expected:
    """Return decoded JSON as expectations; raise UsageError naming everything that is wrong with it."""
    shape = '{"actions": [{"name": TEXT, "kwargs": {...}}], "outputs": [TEXT, ...]}'
    wrong = list(_mistakes(data))
    if wrong:
        raise UsageError(
            f"Expected calls cannot be read: {'; '.join(wrong[:10])}.",
            hint=f"They are {shape}.",
            where=where,
        )
    return Expected.of(data)


def _mistakes(data: Any) -> Iterator[str]:
    if not isinstance(data, dict):
        yield f"it is a {type(data).__name__}, no object"
        return
    yield from _unknown(data, ("actions", "outputs"), "")
    actions, outputs = data.get("actions", []), data.get("outputs", [])
    if not isinstance(actions, list):
        yield "`actions` must be a list"
    for place, one in enumerate(actions if isinstance(actions, list) else ()):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            yield f"actions[{place}] must be an object with the text `name`"
            continue
        yield from _unknown(one, ("name", "kwargs", "arguments"), f"actions[{place}].")
        if any(not isinstance(one.get(key) or {}, dict) for key in ("kwargs", "arguments")):
            yield f"the arguments of actions[{place}] must be an object"
    if not isinstance(outputs, list) or not all(isinstance(one, (str, int, float)) for one in outputs):
        yield "`outputs` must be a list of texts"
    if not data.get("actions") and not data.get("outputs"):
        yield "it expects no call and no output"


def _unknown(data: Mapping[str, Any], known: Sequence[str], where: str) -> Iterator[str]:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            yield f"unknown key `{where}{key}`" + (f" (did you mean `{near[0]}`?)" if near else "")


class ExpectedCalls:
    """Blames the first state-changing call that nobody expected, or what stands for a missing output.

    In this order: an unexpected call; a reply that should have held a missing output (the first with
    a number, after the agent had looked something up); the last step, when an expected call is missing.
    """

    name = "contract"

    def __init__(self, expected: Expected) -> None:
        self.expected = expected

    def examine(self, trace: Trace) -> list[Finding]:
        """Return at most a few findings, the strongest at the likeliest step."""
        unexpected, missing_calls = self._compare(trace)
        findings = [
            self._finding(step, 0.9 * _LATER**rank, f"calls {name} in a way that was not expected", (step,))
            for rank, (step, name) in enumerate(unexpected)
        ]
        said = [(step.step, _spoken(step)) for step in trace.steps if _is_reply(step)]
        missing = [
            text for text in self.expected.outputs if not any(_contains(words, text) for _, words in said)
        ]
        if missing:
            step = self._where_it_should_stand(trace, said)
            if step is not None:
                score = 0.8 if not unexpected else 0.5
                text = f"answers with other facts; the expected {missing[0]!r} is said nowhere"
                findings.append(self._finding(step, score, text, (step,)))
        if missing_calls and not unexpected:
            last = len(trace.steps) - 1
            text = f"the run ends here without the expected call of {missing_calls[0]}"
            findings.append(self._finding(last, 0.6, text, (last,)))
        return findings

    def _compare(self, trace: Trace) -> tuple[list[tuple[int, str]], list[str]]:
        wanted = [
            (name, self._compared(name, args))
            for name, args in self.expected.actions
            if not self._reads(name)
        ]
        open_calls = list(wanted)
        unexpected = []
        for step in trace.steps:
            body = step.body
            if not isinstance(body, Action) or body.kind != "tool_call" or self._reads(body.name):
                continue
            value = _value(step)
            args = value.get("args", {}) if isinstance(value, dict) else {}
            call = (body.name, self._compared(body.name, args))
            if call in open_calls:
                open_calls.remove(call)
            else:
                unexpected.append((step.step, body.name))
        return unexpected, [name for name, _ in open_calls]

    def _reads(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.expected.reads)

    def _compared(self, name: str, args: Any) -> str:
        loose = any(fnmatch.fnmatchcase(name, pattern) for pattern in self.expected.loose)
        return "" if loose else json.dumps(args, sort_keys=True, ensure_ascii=False, default=str)

    def _where_it_should_stand(self, trace: Trace, said: Sequence[tuple[int, str]]) -> int | None:
        looked_up = [step.step for step in trace.steps if isinstance(step.body, Observation)]
        first = looked_up[0] if looked_up else -1
        return next((step for step, words in said if step > first and re.search(r"\d", words)), None)

    def _finding(self, step: int, score: float, text: str, steps: tuple[int, ...]) -> Finding:
        return Finding(step, score, Evidence(self.name, text, steps, score))


class Provenance:
    """Blames the steps where the facts of the run's final answer first appear."""

    name = "provenance"

    def examine(self, trace: Trace) -> list[Finding]:
        """Return one finding a step that introduced facts; what a machine said counts for its asker."""
        turns = turns_of(trace)
        origins = answer_origins(turns, question_of(trace))
        total = sum(origins.values())
        blame: dict[int, tuple[int, tuple[int, ...]]] = {}
        for step, count in origins.items():
            culprit = step
            while culprit >= 0 and not turns[culprit].blamable:
                culprit -= 1
            if culprit >= 0:
                before, steps = blame.get(culprit, (0, ()))
                blame[culprit] = (before + count, (*steps, step))
        return [
            Finding(
                step,
                count / total,
                Evidence(
                    self.name,
                    f"{count} of {total} facts of the final answer first appear here",
                    steps,
                    count / total,
                ),
            )
            for step, (count, steps) in sorted(blame.items())
        ]


def _caller(trace: Trace, step: int) -> int:
    """Return the call of a tool's result: a result that breaks a contract is the caller's doing."""
    body = trace.steps[step].body
    if isinstance(body, Observation) and body.kind == "tool_result" and 0 <= body.of < step:
        return body.of
    return step


def _is_reply(step: Step) -> bool:
    return isinstance(step.body, Message) and step.agent not in (USER, "system")


def _spoken(step: Step) -> str:
    value = _value(step)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _contains(words: str, text: str) -> bool:
    """Return whether a text is said: as tau-bench compares, ignoring case and thousands' commas."""
    return text.lower() in words.lower().replace(",", "")


def _value(step: Step) -> Any:
    try:
        return step.value
    except RefusedValue:
        return None
