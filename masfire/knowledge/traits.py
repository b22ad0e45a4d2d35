"""Yes-or-no predicates on a step and its neighbourhood, by which errors are recognised across systems.

A trait speaks of structure, provenance and form, never of one system's words, so that what was learnt
on one system can be recognised on another. All are computed in one pass, at constant cost a step.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from masfire.claims.extract import Claim, claims_of
from masfire.claims.leaves import spoken
from masfire.errors import RefusedValue
from masfire.knowledge.embedding import words_of
from masfire.knowledge.planning import flaws_of
from masfire.trace.context import expand_measured
from masfire.trace.model import USER, Action, Message, Observation, Step, Trace

_OF_REPLIES = ("claim:", "reply:", "input:")
_ERROR_WORDS = ("error", "invalid", "failed", "unknown", "not found", "cannot", "exception", "unable")
_VAGUE = frozenset((
    "some", "somehow", "something", "somewhere", "someone", "sometime", "stuff", "thing", "things",
    "whatever", "whichever", "soon", "several", "few", "appropriate", "suitable", "various", "certain",
    "handle", "proper", "usual",
))  # fmt: skip
"""Words that ask for something without saying what."""
_MANY = 64
_MAX_REQUEST = 256 * 1024
_HEARD = 4_000
_INPUTS = 16
"""Parents whose claims are looked at."""


class Traits(msgspec.Struct, frozen=True):
    """The traits of one step, and the words that it carries."""

    step: int
    agent: str
    names: frozenset[str]
    text: str


def traits_of(trace: Trace) -> list[Traits]:
    """Return the traits of every step that somebody took, in order; of the user's, only the messages."""
    reader = _Reader(trace)
    found = [reader.read(step) for step in trace]
    reader.look_back(found)
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
        if step.agent and (step.agent != USER or step.kind == "message"):
            described.append(Traits(step.step, step.agent, frozenset(names), reader.texts[step.step][:2000]))
    return described


class _Reader:
    """What was seen so far in one trace; every question is answered from counters and small tables."""

    def __init__(self, trace: Trace) -> None:
        self._steps = trace.steps
        self.texts: dict[int, str] = {}
        self.failed_next: set[int] = set()
        self._claims: dict[int, list[Claim]] = {}
        self._sizes: dict[str, list[int]] = {}
        self._said: Counter[bytes] = Counter()
        self._calls: Counter[bytes] = Counter()
        self._worked: set[tuple[str, str]] = set()
        self._by_index: dict[int, Step] = {}
        self._broad: list[tuple[int, int]] = []
        self._last_said: dict[str, int] = {}
        self._first_said: dict[bytes, int] = {}
        self._rejected: set[int] = set()
        self._repeated: set[int] = set()
        self._requests: list[tuple[int, int]] = []
        self._acted: set[tuple[str, str]] = set()

    def look_back(self, found: Sequence[set[str]]) -> None:
        """Add the traits that only the rest of the run tells."""
        usual = Counter(count for _, count in self._broad).most_common(1)
        for index, count in self._broad:
            if usual and count > max(usual[0][0], 1):
                found[index].add("message:broadcast")
        marks = (
            ("then:failed", self.failed_next), ("then:rejected", self._rejected),
            ("then:repeated", self._repeated),
        )  # fmt: skip
        for name, steps in marks:
            for index in steps:
                found[index].add(name)
        sizes = sorted(size for _, size in self._requests)
        for index, size in self._requests:
            if size > 2 * sizes[len(sizes) // 2]:
                found[index].add("request:overlong")
        last = self._broad[-1][0] if self._broad else -1
        for index in range(max(last, 0), len(found)):
            found[index].add("then:over")

    def read(self, step: Step) -> set[str]:
        """Return the traits of the next step."""
        names = {f"kind:{step.kind}"}
        self._by_index[step.step] = step
        value = _value(step)
        if (step.agent, step.kind) not in self._acted:
            self._acted.add((step.agent, step.kind))
            names.add("turn:first")
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
        first = self._first_said.setdefault(key, step.step)
        if first != step.step:
            self._repeated.add(first)
        self._broad.append((step.step, len(body.to)))
        if step.agent == USER and _VAGUE & set(words_of(text)):
            names.add("task:vague")
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
        with contextlib.suppress(RefusedValue):  # one that is too large is looked at as it was stored
            value, _ = expand_measured(self._steps, step.step, limit=_MAX_REQUEST)
        messages = (value.get("messages") or value.get("input")) if isinstance(value, dict) else None
        listed = [item for item in messages if isinstance(item, dict)] if isinstance(messages, list) else []
        said = "\n".join(_text(item.get("content")) for item in listed)
        size = len(said)
        self._requests.append((step.step, size))
        if any(piece not in said for parent in step.parents[-_INPUTS:] for piece in self._pieces(parent)):
            names.add("request:drops")
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
                self._rejected |= self._makers(body.of)
                error = value.get("error") if isinstance(value, dict) else None
                if isinstance(error, dict) and isinstance(error.get("type"), str):
                    names.add(f"error:{error['type'][:40]}")
        elif body.kind == "model_reply":
            names |= self._reply(body, value)
        return names

    def _makers(self, call: int) -> set[int]:
        """Return the message that led to a call, and the reply that the message was made from."""
        made = self._by_index.get(call)
        sent = [
            self._by_index[parent] for parent in (made.parents if made else ()) if parent in self._by_index
        ]
        orders = [step for step in sent if step.kind == "message" and step.agent != USER]
        if not orders:
            return set()
        order = orders[-1]
        replies = [
            parent
            for parent in order.parents
            if parent in self._by_index and self._by_index[parent].kind == "model_reply"
        ]
        return {order.step, *replies[-1:]}

    def _pieces(self, index: int) -> list[str]:
        """Return the texts that a message holds."""
        step = self._by_index.get(index)
        if step is None or step.kind != "message":
            return []
        return [leaf for _, leaf in spoken(_value(step)) if isinstance(leaf, str) and len(leaf) > 3][:_INPUTS]

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
        if isinstance(content, str):
            names |= flaws_of(content)
        return names

    def _wants_json(self, call: int) -> bool:
        asked = self._by_index.get(call)
        return asked is not None and b'"response_format":' in bytes(asked.payload)

    def _content(self, step: Step, value: Any) -> set[str]:
        """Compare what a step states with what its inputs state."""
        names: set[str] = set()
        own = self._claims_at(step.step, value)
        parents = self._inputs(step)
        inputs = [self._claims_at(parent, None) for parent in parents]
        kinds = {(made.kind, made.agent == USER) for made in map(self._by_index.get, parents) if made}
        if ("message", True) in kinds:
            names.add("input:user")
        if any(kind == "tool_result" for kind, _ in kinds):
            names.add("input:tool")
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
        names |= self._passed_on(step, own, parents, known.get("entity", set()))
        if own and known.get("number", set()) - mine:
            names.add("claim:lost-number")
        if any(len(found) > 1 for found in slots.values()):
            names.add("input:conflict")
        return names

    def _passed_on(
        self, step: Step, own: Sequence[Claim], parents: Sequence[int], entities: set[str]
    ) -> set[str]:
        """Return what became of the names and fields that the inputs hold."""
        names = set()
        text = self.texts[step.step].casefold()
        heard = "\n".join(self.texts.get(parent, "")[:_HEARD] for parent in parents).casefold()
        if own and any(entity not in text for entity in entities):
            names.add("claim:lost-name")
        slots = [claim for claim in own if claim.kind == "slot"]
        if any(claim.value and claim.value not in heard for claim in slots):
            names.add("claim:new-value")
        mine = {claim.key for claim in slots}
        for parent in parents:
            theirs = {claim.key for claim in self._claims_at(parent, None) if claim.kind == "slot"}
            if len(mine & theirs) > 1 and theirs - mine:
                names.add("claim:lost-field")
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
