"""Secrets leave a step here, before anything is written.

What counts is the *decoded* text: strings at any depth, keys as well, and JSON inside strings (tool
arguments, `$json` envelopes). Not recognised: secrets that are encoded (base64, reversed, with
zero-width characters inside), cut into pieces by steps or fields, or numbers.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from masfire.errors import RefusedValue, UsageError
from masfire.trace.context import REF
from masfire.trace.model import Action, Body, Decision, End, Header, Message, Observation, Original, Step
from masfire.trace.payload import EMPTY, Payload, pack_or_refuse, unpack
from masfire.trace.secrets import HINT, SCREENED, SECRETS, names_a_secret, surely_clean

R = TypeVar("R", bound=msgspec.Struct)
LEVELS = ("full", "redacted", "content-off")
OFF = "$off"
"""Key of what stands for a string or number under `content-off`: {"$off": {"len", "hash"}}."""

NESTED = 6
"""How many layers of JSON inside JSON strings are opened."""

_STRUCTURAL = frozenset({
    "system", "user", "assistant", "tool", "developer", "function", "message", "text", "json_object",
    "json_schema", "function_call", "function_call_output", "reasoning", "output_text", "input_text", "stop",
    "length", "tool_calls", "content_filter",
})  # fmt: skip
_STRUCTURAL_KEYS = frozenset({"role", "type", "finish_reason"})
_ESCAPES = (
    (rb"\"", b'"'),
    (rb"\n", b"\n"),
    (rb"\t", b"\t"),
    (rb"\r", b"\r"),
    (rb"\/", b"/"),
    (rb"\b", b"\b"),
    (rb"\f", b"\f"),
)
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_SURROGATES = re.compile("([\ud800-\udfff]+)")


class Redactor:
    """Replaces secrets by ``[redacted:<name>]``; under `content-off` replaces all content.

    `extra_patterns` are RE2 patterns (linear time; no lookaround, no backreferences), shown as
    ``[redacted:custom]`` or, when given as ``name=pattern`` with a plain lower-case name, by that name.
    `key` makes the hashes of `content-off` comparable between runs; by default each Redactor draws one.
    Raise UsageError for a pattern that RE2 refuses.
    """

    def __init__(
        self, extra_patterns: Sequence[str] = (), *, level: str = "redacted", key: bytes | None = None
    ) -> None:
        if level not in LEVELS:
            raise UsageError(f"Privacy level {level!r} is unknown.", hint=f"Use {', '.join(LEVELS)}.")
        self.level = level
        self._key = key if key is not None else os.urandom(16)
        self._hint = _hint()
        self._extra = [_compile_extra(pattern) for pattern in extra_patterns]
        self._rules = [*_built_in(), *self._extra]
        self._extra_hint = _compile_hint(extra_patterns)

    def text(self, text: str) -> str:
        """Return text without secrets (whatever the level)."""
        return self._scrub(text, 0)

    def value(self, value: Any) -> Any:
        """Return a JSON value as this level records it."""
        return self._off(value) if self.level == "content-off" else self._walk(value, 0)

    def payload(self, raw: Payload) -> Payload:
        """Return a payload as this level records it."""
        if self.level == "full":
            return raw
        if self.level == "redacted" and not self.suspects(bytes(raw)):
            return raw
        try:
            return pack_or_refuse(self.value(unpack(raw)))
        except RefusedValue as refused:
            return pack_or_refuse({"$refused": refused.message})

    def leaves(self, step: Step, encoded: bytes) -> bool:
        """Return whether this level records a step, whose JSON is `encoded`, as it is; True is certain."""
        if self.level != "redacted":
            return self.level == "full"
        body = step.body
        names: tuple[str, ...]
        if self._extra:
            return not self.suspects(encoded)
        if type(body) is Message:
            names, content = body.to, bytes(body.content)
        elif type(body) is Observation:
            names, content = (body.name,), bytes(body.outcome)
        elif type(body) is Action and not (body.id or body.executed):
            names, content = (body.name,), bytes(body.proposed)
        else:
            return not self.suspects(encoded)
        if not _are_harmless(step.agent, step.role, names):
            return not self.suspects(encoded)
        return (len(content) <= SCREENED and surely_clean(content)) or not self._hint(content)

    def suspects(self, encoded: bytes) -> bool:
        """Return whether some string inside this JSON text may hold a secret; False is certain."""
        if not (len(encoded) <= SCREENED and surely_clean(encoded)) and self._hint(encoded):
            return True
        return bool(self._extra) and (
            self._extra_hint is None or self._suspects_extra(encoded, self._extra_hint)
        )

    def _suspects_extra(self, encoded: bytes, hint: Callable[[bytes], Any]) -> bool:
        """Look for the user's patterns below the escapes.

        Decoding a JSON string only removes escapes. Text with the escapes of one level removed
        therefore contains each decoded string of that level verbatim, between characters that are no
        part of a word. Each level is searched until no escape is left.
        """
        for _ in range(NESTED):
            if hint(encoded):
                return True
            if b"\\" not in encoded:
                return False
            marked = encoded.replace(b"\\\\", b"\x00")
            for escape, character in _ESCAPES:
                marked = marked.replace(escape, character)
            if b"\\" in marked:
                return True
            encoded = marked.replace(b"\x00", b"\\")
        return True

    def step(self, step: Step) -> Step:
        """Return a step as this level records it; the same object when nothing had to change."""
        if self.level == "full":
            return step
        body = self._body(step.body)
        return msgspec.structs.replace(
            step, agent=self.text(step.agent), role=self.text(step.role), body=body
        )

    def header(self, header: Header) -> Header:
        """Return a header as this level records it."""
        if self.level == "full":
            return header
        return self._fields(
            header, plain=("models", "faults", "system"), payloads=("task",), values=("launch", "settings")
        )

    def original(self, original: Original) -> Original:
        """Return a reply as this level records it."""
        raw = original.body
        if self.level == "redacted" and self.suspects(bytes(raw)):
            raw = pack_or_refuse(self._framed(unpack(raw)))
        return msgspec.structs.replace(original, body=raw if self.level != "content-off" else EMPTY)

    def _framed(self, value: Any) -> Any:
        """Return a provider's reply without secrets; its own field names (`token`) are no secret's."""
        if isinstance(value, dict):
            return {name: self._framed(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._framed(item) for item in value]
        return self._string(value, 0) if isinstance(value, str) else value

    def end(self, end: End) -> End:
        """Return an end record as this level records it."""
        if self.level == "full":
            return end
        return self._fields(end, prose=("error",), payloads=("answer",))

    def _body(self, body: Body) -> Body:
        if isinstance(body, Message):
            return self._fields(body, plain=("to",), payloads=("content",))
        if isinstance(body, Action):
            return self._fields(body, plain=("name", "id"), payloads=("proposed", "executed"))
        if isinstance(body, Observation):
            return self._fields(body, plain=("name",), payloads=("outcome",))
        if isinstance(body, Decision):
            return self._fields(body, plain=("rule",), prose=("reason",), payloads=("evidence",))
        return self._fields(body, plain=("address",), prose=("reason",), payloads=("before", "after"))

    def _fields(
        self,
        record: R,
        *,
        plain: Sequence[str] = (),
        prose: Sequence[str] = (),
        payloads: Sequence[str] = (),
        values: Sequence[str] = (),
    ) -> R:
        """Names of things keep their words without secrets; prose is content, and so are payloads."""
        changes: dict[str, Any] = {}
        for field in plain:
            old = getattr(record, field)
            changes[field] = self.text(old) if isinstance(old, str) else tuple(map(self.text, old))
        for field in prose:
            old = getattr(record, field)
            changes[field] = self._off_text(old) if self.level == "content-off" and old else self.text(old)
        for field in payloads:
            old = getattr(record, field)
            changes[field] = self.payload(old) if old else old
        for field in values:
            changes[field] = self._walk(getattr(record, field), 0)
        return msgspec.structs.replace(record, **changes)

    def _walk(self, value: Any, nested: int) -> Any:
        if isinstance(value, str):
            return self._string(value, nested)
        if isinstance(value, (list, tuple)):
            return [self._walk(item, nested) for item in value]
        if isinstance(value, dict):
            clean: dict[str, Any] = {}
            for key, item in value.items():
                safe = self._scrub(key, nested) if isinstance(key, str) else key
                while safe in clean:
                    safe = f"{safe}'"
                named = isinstance(key, str) and names_a_secret(key)
                clean[safe] = _blank(safe, item) if named and _is_text(item) else self._walk(item, nested)
            return clean
        return value

    def _string(self, text: str, nested: int) -> str:
        bare = text.strip()
        if bare[:1] in ("{", "[", '"') and nested < NESTED:
            try:
                inner = msgspec.json.decode(bare)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return self._scrub(text, nested)
            clean = self._walk(inner, nested + 1)
            if clean != inner:
                text = msgspec.json.encode(clean).decode()
        return self._scrub(text, nested)

    def _scrub(self, text: str, nested: int) -> str:
        if not text or (text.startswith("[redacted:") and text.endswith("]") and text.count("[") == 1):
            return text
        if _SURROGATES.search(text):
            return "".join(
                part if _SURROGATES.fullmatch(part) else self._scrub(part, nested)
                for part in _SURROGATES.split(text)
            )
        data = text.encode()
        for name, pattern, keep in self._rules:
            data = pattern.sub(keep.replace(b"REDACTED", b"[redacted:%b]" % name), data)
        clean = data.decode()
        if "\\u" in clean and nested < NESTED:
            shown = _UNICODE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), clean)
            if shown != clean and (again := self._scrub(shown, nested + 1)) != shown:
                return again
        return clean

    def _off(self, value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            if key in _STRUCTURAL_KEYS and value in _STRUCTURAL:
                return value
            return {OFF: {"len": len(value), "hash": self._hash(value)}}
        if isinstance(value, (list, tuple)):
            return [self._off(item) for item in value]
        if isinstance(value, dict):
            if len(value) == 1 and (REF in value or OFF in value):
                return value
            return {self.text(str(name)): self._off(item, str(name)) for name, item in value.items()}
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {OFF: {"hash": self._hash(repr(value))}}
        return value

    def _off_text(self, text: str) -> str:
        return f"[off:{len(text)}:{self._hash(text)}]"

    def _hash(self, text: str) -> str:
        return hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8
        ).hexdigest()


def _is_text(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, list) and all(isinstance(part, str) for part in item))


def _blank(key: str, item: Any) -> Any:
    name = key.lower().replace(" ", "-").replace("_", "-")
    name = "secret" if "[" in name else name  # the key held a secret itself
    if isinstance(item, list):
        return [f"[redacted:{name}]" for _ in item]
    return f"[redacted:{name}]" if item else item


@functools.cache
def _built_in() -> tuple[tuple[bytes, Any, bytes], ...]:
    return tuple((secret.name.encode(), _compile(secret.pattern), secret.keep.encode()) for secret in SECRETS)


def _compile_extra(given: str) -> tuple[bytes, Any, bytes]:
    name, pattern = _split_name(given)
    compiled = _compile(pattern, given)
    if compiled.search(b""):
        raise UsageError(
            f"Redaction pattern {given!r} matches the empty text, so it would redact nothing or everything.",
            hint="Use + in place of *, for example.",
        )
    return name.encode(), compiled, b"REDACTED"


def _split_name(given: str) -> tuple[str, str]:
    name, equals, pattern = given.partition("=")
    if equals and re.fullmatch(r"[a-z][a-z0-9-]*", name):
        return name, pattern
    return "custom", given


def _compile_hint(extra: Sequence[str]) -> Callable[[bytes], Any] | None:
    """Return a search that finds whatever any rule finds, or None when an anchor makes that unsure."""
    patterns = []
    for given in extra:
        pattern = _split_name(given)[1]
        unclassed = pattern.replace("[^", "[")
        if any(anchor in unclassed for anchor in ("^", "$", "\\A", "\\z", "\\Q")):
            return None
        patterns.append(pattern)
    return _compile("|".join(f"(?:{pattern})" for pattern in patterns)).search if patterns else None


@functools.cache
def _hint() -> Callable[[bytes], Any]:
    """Return what says whether HINT is in a text: a set of one pattern, as it builds no match objects."""
    _compile(HINT)  # a missing library is reported as such
    import re2

    search = re2.Set.SearchSet(_options())
    search.Add(HINT.encode())
    search.Compile()
    found: Callable[[bytes], Any] = search.Match
    return found


@functools.lru_cache(maxsize=4096)
def _are_harmless(agent: str, role: str, others: tuple[str, ...]) -> bool:
    """Return whether names surely hold no secret; a run uses few of them, again and again."""
    return not any(_hint()(msgspec.json.encode(name)) for name in (agent, role, *others))


def _compile(pattern: str, given: str = "") -> Any:
    try:
        import re2
    except ImportError as missing:
        from masfire.errors import MissingDependency

        raise MissingDependency(
            "Redaction needs google-re2.", hint="Install it with: pip install google-re2"
        ) from missing
    try:
        return re2.compile(pattern.encode(), _options())
    except re2.error as refused:
        reason = refused.args[0] if refused.args else "unknown reason"
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise UsageError(
            f"Redaction pattern {given or pattern!r} is not RE2 syntax: {reason}.",
            hint="RE2 has no lookaround and no backreferences, so that it always ends in linear time.",
        ) from None


def _options() -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    return options
