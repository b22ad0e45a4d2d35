"""Yes-or-no predicates on a step and its neighbourhood, by which errors are recognised across systems.

A trait speaks of structure, provenance and form, never of one system's words, so that what was learnt
on one system can be recognised on another. All are computed in one pass, at constant cost a step.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from masfire.claims.extract import Claim, claims_of
from masfire.errors import RefusedValue
from masfire.trace.model import USER, Action, Message, Observation, Step, Trace

QUESTIONS: Mapping[str, str] = {
    "args:text": "Are the tool's arguments text that is no JSON object?",
    "args:empty": "Was the tool called without arguments?",
    "tool:new": "Is this a tool that this agent has not used successfully?",
    "call:repeated": "Has the same call been made before with the same arguments?",
    "result:failed": "Did the call fail?",
    "reply:empty": "Did the model answer nothing?",
    "reply:cut": "Was the answer cut off at the length limit?",
    "reply:prose": "Is the answer prose where JSON was asked for?",
    "reply:failed": "Did the model call itself fail?",
    "request:long": "Is the request several times as long as this agent's others?",
    "request:short": "Is the request much shorter than this agent's others?",
    "request:repeats": "Does the request hold the same text several times?",
    "request:systems": "Does the request hold several system instructions?",
    "message:repeated": "Was the same message sent before?",
    "message:empty": "Is the message empty?",
    "message:to-self": "Does the message go back to its sender?",
    "message:broadcast": "Does the message go to more agents than usual?",
    "message:shorter": "Is the message much shorter than what it was made from?",
    "claim:new-number": "Does it state a number that nothing in its input states?",
    "claim:new-name": "Does it name something that nothing in its input names?",
    "claim:lost-number": "Does it leave out a number that its input states?",
    "claim:conflict": "Does it give a field another value than its input does?",
    "claim:hedged": "Does it hedge?",
    "input:conflict": "Do its inputs contradict one another?",
    "then:failed": "Does the agent's next call fail?",
    "words:error": "Does it speak of an error?",
}
"""Trait → the question that a reviewer would ask (a schema's detection heuristics)."""

_PREFIXES = ("kind:", "error:")
"""Traits with a value: the step's kind, the type of the error that came back."""

_OF_REPLIES = ("claim:", "reply:", "input:")
_ERROR_WORDS = ("error", "invalid", "failed", "unknown", "not found", "cannot", "exception", "unable")
_MANY = 64
_INPUTS = 16
"""Parents whose claims are looked at."""


class Traits(msgspec.Struct, frozen=True):
    """The traits of one step, and the words that it carries."""

    step: int
    agent: str
    names: frozenset[str]
    text: str


def question_of(trait: str) -> str:
    """Return the question that a trait asks."""
    if trait in QUESTIONS:
        return QUESTIONS[trait]
    kind, _, value = trait.partition(":")
    return f"Is it a {value.replace('_', ' ')}?" if kind == "kind" else f"Is the error a {value}?"


def known_trait(trait: str) -> bool:
    """Return whether a name is one of a trait."""
    return trait in QUESTIONS or trait.startswith(_PREFIXES)


def traits_of(trace: Trace) -> list[Traits]:
    """Return the traits of every step that an agent took, in order (the user's own steps are left out)."""
    reader = _Reader()
    found = [reader.read(step) for step in trace]
    for step, names in zip(trace, found, strict=True):
        if (
            step.kind == "model_reply"
            and isinstance(step.body, Observation)
            and 0 <= step.body.of < step.step
        ):
            # A call and its reply are one act: what came of a request tells of the request.
            found[step.body.of] |= {name for name in names if name.startswith(_OF_REPLIES)}
    described = []
    for step, names in zip(trace, found, strict=True):
        if step.agent and step.agent != USER:
            if step.step in reader.failed_next:
                names.add("then:failed")
            described.append(Traits(step.step, step.agent, frozenset(names), reader.texts[step.step][:2000]))
    return described


class _Reader:
    """What was seen so far in one trace; every question is answered from counters and small tables."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.failed_next: set[int] = set()
        self._claims: dict[int, list[Claim]] = {}
        self._sizes: dict[str, list[int]] = {}
        self._said: Counter[bytes] = Counter()
        self._calls: Counter[bytes] = Counter()
        self._worked: set[tuple[str, str]] = set()
        self._by_index: dict[int, Step] = {}
        self._recipients: dict[str, int] = {}
        self._last_said: dict[str, int] = {}

    def read(self, step: Step) -> set[str]:
        """Return the traits of the next step."""
        names = {f"kind:{step.kind}"}
        self._by_index[step.step] = step
        value = _value(step)
        body = step.body
        text = _text(value)
        self.texts[step.step] = text
        if isinstance(body, Message):
            names |= self._message(step, body, text)
        elif isinstance(body, Action):
            names |= self._action(step, body, value)
        elif isinstance(body, Observation):
            names |= self._observation(step, body, value)
        if isinstance(body, Message) or step.kind in ("model_reply", "tool_call"):
            names |= self._content(step, value)
            self._last_said[step.agent] = step.step
        lowered = text[:2000].lower()
        if any(word in lowered for word in _ERROR_WORDS):
            names.add("words:error")
        return names

    def _message(self, step: Step, body: Message, text: str) -> set[str]:
        names = set()
        if not text.strip():
            names.add("message:empty")
        key = _digest(step.agent, text)
        if self._said[key]:
            names.add("message:repeated")
        self._said[key] += 1
        if step.agent in body.to:
            names.add("message:to-self")
        usual = self._recipients.setdefault(step.agent, len(body.to))
        if len(body.to) > max(usual, 1):
            names.add("message:broadcast")
        longest = max((len(self.texts.get(parent, "")) for parent in step.parents[-_INPUTS:]), default=0)
        if longest > 80 and len(text) < longest / 3:
            names.add("message:shorter")
        return names

    def _action(self, step: Step, body: Action, value: Any) -> set[str]:
        if body.kind == "model_call":
            return self._request(step, value)
        if body.kind != "tool_call":
            return set()
        names = set()
        args = value.get("args") if isinstance(value, dict) else value
        if isinstance(args, str):
            names.add("args:text")
        elif not args:
            names.add("args:empty")
        key = _digest(step.agent, body.name, _text(args))
        if self._calls[key]:
            names.add("call:repeated")
        self._calls[key] += 1
        if (step.agent, body.name) not in self._worked:
            names.add("tool:new")
        return names

    def _request(self, step: Step, value: Any) -> set[str]:
        names = set()
        messages = (value.get("messages") or value.get("input")) if isinstance(value, dict) else None
        listed = [item for item in messages if isinstance(item, dict)] if isinstance(messages, list) else []
        size = len(step.payload)
        sizes = self._sizes.setdefault(step.agent, [])
        if sizes:
            usual = sorted(sizes)[len(sizes) // 2]
            if size > 3 * usual:
                names.add("request:long")
            elif 3 * size < usual:
                names.add("request:short")
        if len(sizes) < _MANY:
            sizes.append(size)
        if sum(item.get("role") in ("system", "developer") for item in listed) > 1:
            names.add("request:systems")
        contents = Counter(_text(item.get("content")) for item in listed)
        if any(count > 2 and len(content) > 8 for content, count in contents.items()):
            names.add("request:repeats")
        return names

    def _observation(self, step: Step, body: Observation, value: Any) -> set[str]:
        names = set()
        if body.kind == "tool_result":
            if body.ok:
                self._worked.add((step.agent, body.name))
            else:
                names.add("result:failed")
                said = self._last_said.get(step.agent)
                self.failed_next |= {index for index in (body.of, said) if index is not None and index >= 0}
                error = value.get("error") if isinstance(value, dict) else None
                if isinstance(error, dict) and isinstance(error.get("type"), str):
                    names.add(f"error:{error['type'][:40]}")
        elif body.kind == "model_reply":
            names |= self._reply(body, value)
        return names

    def _reply(self, body: Observation, value: Any) -> set[str]:
        if not body.ok or not isinstance(value, dict):
            return {"reply:failed"}
        names = set()
        content = value.get("content")
        if not content and not value.get("tool_calls"):
            names.add("reply:empty")
        if value.get("finish_reason") == "length":
            names.add("reply:cut")
        if isinstance(content, str) and self._wants_json(body.of) and not _is_json(content):
            names.add("reply:prose")
        return names

    def _wants_json(self, call: int) -> bool:
        asked = self._by_index.get(call)
        return asked is not None and b'"response_format":' in bytes(asked.payload)

    def _content(self, step: Step, value: Any) -> set[str]:
        """Compare what a step states with what its inputs state."""
        names: set[str] = set()
        own = self._claims_at(step.step, value)
        inputs = [self._claims_at(parent, None) for parent in self._inputs(step)]
        if any(claim.kind == "hedge" for claim in own):
            names.add("claim:hedged")
        if not inputs:
            return names
        known: dict[str, set[str]] = {}
        slots: dict[str, set[str]] = {}
        for claims in inputs:
            for claim in claims:
                known.setdefault(claim.kind, set()).add(claim.value)
                if claim.kind == "slot":
                    slots.setdefault(claim.key, set()).add(claim.value)
        values = set().union(*known.values()) if known else set()
        mine = {claim.value for claim in own}
        for claim in own:
            numeric = claim.kind == "number" or (claim.kind == "slot" and claim.value[:1].isdigit())
            if numeric and claim.value not in values:
                names.add("claim:new-number")
            elif claim.kind == "entity" and claim.value not in values:
                names.add("claim:new-name")
            if claim.kind == "slot" and claim.key in slots and claim.value not in slots[claim.key]:
                names.add("claim:conflict")
        if own and known.get("number", set()) - mine:
            names.add("claim:lost-number")
        if any(len(found) > 1 for found in slots.values()):
            names.add("input:conflict")
        return names

    def _inputs(self, step: Step) -> tuple[int, ...]:
        """Return the steps that this one was made from; a reply's are those of its request."""
        parents: Iterable[int] = step.parents
        if isinstance(step.body, Observation):
            call = self._by_index.get(step.body.of)
            parents = call.parents if call is not None else parents
        return tuple(parents)[-_INPUTS:]

    def _claims_at(self, index: int, value: Any) -> list[Claim]:
        found = self._claims.get(index)
        if found is None:
            step = self._by_index.get(index)
            if step is None:
                return []
            content = _value(step) if value is None else value
            found = self._claims[index] = [] if step.kind == "model_call" else claims_of(content)[:400]
        return found


def _value(step: Step) -> Any:
    try:
        return step.value
    except RefusedValue:
        return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("content"), str) and len(value) <= 3:
        return str(value["content"])
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
