"""A control without a model: a perfect copier that answers a request by copying from the request itself.

Small models mostly copy, so a system that holds under a fault with this stub in the model's place holds
because of its code. The copier knows nothing of any task: it learns from the request's own example turns
where each answer's parts stood, and takes what stands there now.
"""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

CHARACTERS_PER_TOKEN = 3.5
MODEL = "masfire-copier"

_LABEL = re.compile(r"^(\w[\w -]{0,30}): ")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")


class Turn(NamedTuple):
    """One thing said in the request: the label before its first colon ("" without one), and the text."""

    label: str
    text: str


class Shown(NamedTuple):
    """What was said before an answer, and the answer."""

    turns: tuple[Turn, ...]
    answer: str


class Copier:
    """Answers chat requests by copying; the same request always gets the same answer.

    `slot` is the context window in tokens that it pretends to have (at 3.5 characters a token; 0: no
    limit); a longer request gets the error a real server would give.
    """

    def __init__(self, *, slot: int = 0) -> None:
        self.slot = slot

    def __call__(self, body: dict[str, Any]) -> bytes:
        """Return the JSON body of the reply to a chat or Responses request."""
        messages = _messages(body)
        size = round(sum(len(str(m.get("content") or "")) for m in messages) / CHARACTERS_PER_TOKEN)
        if self.slot and size > self.slot:
            message = f"request ({size} tokens) exceeds the available context size ({self.slot} tokens)"
            return json.dumps(
                {"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}}
            ).encode()
        text = reply_to(messages, _schema(body))
        return json.dumps(_wrapped(body, text, size)).encode()


def reply_to(messages: Sequence[dict[str, Any]], schema: dict[str, Any] | None) -> str:
    """Return the text a perfect copier answers: JSON of the schema's shape, or free text."""
    examples, turns = _split(messages)
    if schema is None:
        return _free_text(examples, turns)
    shown = [(example.turns, value) for example in examples if (value := _json(example.answer)) is not None]
    return json.dumps(_value(schema, (), shown, turns, {}), separators=(",", ":"), ensure_ascii=False)


def _value(
    schema: dict[str, Any],
    path: tuple[str, ...],
    shown: Sequence[tuple[tuple[Turn, ...], Any]],
    turns: Sequence[Turn],
    known: dict[tuple[str, ...], Any],
) -> Any:
    """Return the answer's value at `path`; `known` collects the leaves that were copied so far."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        return {name: _value(part, (*path, name), shown, turns, known) for name, part in properties.items()}
    cases = [(said, _at(answer, path)) for said, answer in shown]
    copied = _copied(schema, cases, turns)
    if copied is None:
        copied = _agreeing(path, shown, known, schema, turns)
    known[path] = copied
    return copied


def _copied(
    schema: dict[str, Any], cases: Sequence[tuple[tuple[Turn, ...], Any]], turns: Sequence[Turn]
) -> Any:
    """Return what stands now where the examples' values stood, or None when they stood nowhere."""
    if schema.get("type") == "array":
        return None
    for said, value in reversed(cases):
        for label, place in _places(said, value):
            if all(_found(other, label, place, wanted) for other, wanted in cases):
                taken = _take(turns, label, place, schema)
                if taken is not None:
                    return taken
    return None if cases else _any_of(turns, schema)


def _places(said: Sequence[Turn], value: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield where `value` stands: (speaker, JSON path) or (speaker, ()) for plain text; latest first."""
    for turn in reversed(said):
        content = _json(turn.text)
        if isinstance(content, dict):
            for path, leaf in _leaves(content):
                if leaf == value:
                    yield turn.label, path
        elif _mentions(turn.text, value):
            yield turn.label, ()


def _found(said: Sequence[Turn], label: str, place: tuple[str, ...], value: Any) -> bool:
    return any(found == (label, place) for found in _places(said, value))


def _take(turns: Sequence[Turn], label: str, place: tuple[str, ...], schema: dict[str, Any]) -> Any:
    for turn in reversed(turns):
        if turn.label != label:
            continue
        if not place:
            return _mentioned(turn.text, schema)
        content = _json(turn.text)
        value = _at(content, place) if isinstance(content, dict) else None
        return value if value is not None and _fits(value, schema) else None
    return None


def _any_of(turns: Sequence[Turn], schema: dict[str, Any]) -> Any:
    """Return the latest thing said that fits the schema: without examples there is nothing else to go by."""
    for turn in reversed(turns):
        content = _json(turn.text)
        if isinstance(content, dict):
            for _, leaf in _leaves(content):
                if _fits(leaf, schema):
                    return leaf
        taken = _mentioned(turn.text, schema)
        if taken is not None:
            return taken
    return None


def _agreeing(
    path: tuple[str, ...],
    shown: Sequence[tuple[tuple[Turn, ...], Any]],
    known: dict[tuple[str, ...], Any],
    schema: dict[str, Any],
    turns: Sequence[Turn],
) -> Any:
    """Return the value of the example that agrees most with what was copied and with what is said now."""
    words = _telling_words(path, shown)
    said = _words(turns)
    best = max(
        shown,
        key=lambda case: (
            len(words.get(_hashable(_at(case[1], path)), set()) & said),
            sum(_at(case[1], at) == value for at, value in known.items()),
        ),
        default=None,
    )
    value = _at(best[1], path) if best is not None else None
    if value is not None:
        return value
    choices = schema.get("enum")
    if choices:
        return choices[0]
    return {"integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}.get(
        str(schema.get("type")), ""
    )


def _telling_words(
    path: tuple[str, ...], shown: Sequence[tuple[tuple[Turn, ...], Any]]
) -> dict[str, set[str]]:
    """Return, per value at `path`, the words said in all examples that have it and in none that has not."""
    always: dict[str, set[str]] = {}
    for said, answer in shown:
        value = _hashable(_at(answer, path))
        always[value] = always[value] & _words(said) if value in always else _words(said)
    return {
        value: words
        - {w for said, answer in shown if _hashable(_at(answer, path)) != value for w in _words(said)}
        for value, words in always.items()
    }


def _words(turns: Sequence[Turn]) -> set[str]:
    return {word.lower() for turn in turns for word in re.findall(r"[^\W\d]+", turn.text)}


def _hashable(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _mentioned(text: str, schema: dict[str, Any]) -> Any:
    """Return the first thing in `text` that the schema allows: a choice, a number, or the text itself."""
    choices = schema.get("enum")
    if choices:
        places = {choice: _position(text, choice) for choice in choices}
        there = [choice for choice, position in places.items() if position >= 0]
        return min(there, key=lambda c: (places[c], -len(str(c))), default=None)
    kind = schema.get("type")
    if kind in ("integer", "number"):
        numbers = _NUMBER.findall(text)
        if not numbers:
            return None
        return int(float(numbers[0])) if kind == "integer" else float(numbers[0])
    return text if kind == "string" else None


def _mentions(text: str, value: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, int | float):
        return str(value) in _NUMBER.findall(text)
    return isinstance(value, str) and _position(text, value) >= 0


def _position(text: str, value: Any) -> int:
    """Return where `value` stands in `text` as words of its own (any case, a plural s aside), or -1."""
    found = re.search(rf"(?<!\w){re.escape(str(value).lower())}s?(?!\w)", text.lower())
    return found.start() if found else -1


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    kinds: dict[str, Any] = {"integer": int, "number": (int, float), "string": str, "boolean": bool}
    expected = kinds.get(str(schema.get("type")))
    return expected is None or (isinstance(value, expected) and isinstance(value, bool) == (expected is bool))


def _free_text(examples: Sequence[Shown], turns: Sequence[Turn]) -> str:
    """Return the nearest example's answer with its parts replaced by what stands there now."""
    if not turns:
        return ""
    if not examples:
        return turns[-1].text
    now = turns[-1].text
    nearest = max(examples, key=lambda e: _likeness(e.turns[-1].text if e.turns else "", now))
    answer = nearest.answer
    for turn in reversed(nearest.turns):
        current = next((t.text for t in reversed(turns) if t.label == turn.label), "")
        answer = _carried(turn.text, current, answer)
    return answer


def _carried(before: str, now: str, answer: str) -> str:
    """Return `answer` with every stretch that `before` and `now` differ in exchanged."""
    old, new = _TOKEN.findall(before), _TOKEN.findall(now)
    swaps: dict[str, str] = {}
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "replace":
            swaps.setdefault("".join(old[i:j]).strip(), "".join(new[k:m]).strip())
    keys = [re.escape(key) for key in sorted(swaps, key=len, reverse=True) if key]
    if not keys:
        return answer
    return re.sub(rf"(?<!\w)(?:{'|'.join(keys)})(?!\w)", lambda found: swaps[found[0]], answer)


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, _TOKEN.findall(one), _TOKEN.findall(other), autojunk=False).ratio()


def _split(messages: Sequence[dict[str, Any]]) -> tuple[list[Shown], list[Turn]]:
    """Return the example turns (each ends with an assistant's answer), and what was said after them."""
    shown: list[Shown] = []
    pending: list[Turn] = []
    for message in messages:
        role, text = message.get("role"), str(message.get("content") or "")
        if role in ("system", "developer"):
            continue
        if role == "assistant":
            shown.append(Shown(tuple(pending), text))
            pending = []
        else:
            label = _LABEL.match(text)
            pending.append(Turn(label[1], text[label.end() :]) if label else Turn("", text))
    return shown, pending


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body.get("messages", body.get("input", []))
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [{**item, "content": _text(item.get("content"))} for item in items if isinstance(item, dict)]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    shape = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    found = shape.get("json_schema", shape).get("schema")
    return found if isinstance(found, dict) else None


def _wrapped(body: dict[str, Any], text: str, tokens: int) -> dict[str, Any]:
    written = round(len(text) / CHARACTERS_PER_TOKEN)
    model = body.get("model") or MODEL
    if "messages" not in body:
        part = {"type": "output_text", "text": text, "annotations": []}
        output = {
            "type": "message",
            "id": "msg_0",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
        usage = {"input_tokens": tokens, "output_tokens": written, "total_tokens": tokens + written}
        return {"id": "resp_0", "object": "response", "created_at": int(time.time()), "status": "completed",
                "model": model, "output": [output], "usage": usage}  # fmt: skip
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "logprobs": None,
        "message": {"role": "assistant", "content": text},
    }
    usage = {"prompt_tokens": tokens, "completion_tokens": written, "total_tokens": tokens + written}
    return {"id": "chatcmpl-0", "object": "chat.completion", "created": int(time.time()), "model": model,
            "choices": [choice], "usage": usage}  # fmt: skip


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif not isinstance(value, list):
        yield path, value
