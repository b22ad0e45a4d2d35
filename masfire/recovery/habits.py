"""What a role does whenever a run is solved: which values it copies, from where, and the form of its JSON."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from masfire.claims.leaves import spoken
from masfire.errors import RefusedValue
from masfire.knowledge.model import Habits, Slot
from masfire.recovery import doubts
from masfire.trace.model import USER, Action, Message, Observation, Step, Trace
from masfire.trace.payload import unpack

KINDS = frozenset({"tool_call", "message", "model_reply"})
"""What a role proposes; a result of a tool is not its own."""
LAST, PARENTS = "last", "parents"
FEWEST = 3
"""So many solved proposals must agree before anything counts as a habit."""
MOST_VALUES, LONGEST_VALUE = 40, 60
"""A text slot with more or longer values is prose, and no choice among known ones."""
DEPTH = 8
MOST_TEXT = 20_000
MOST_SCALARS = 200
"""Keyed values of a proposal that may be slots; a larger one is data that is passed on."""
MOST_PLACES = 3
"""Places of a value in a text whose surroundings are looked at."""
_BACK = 200
"""Steps that are looked through for what an agent was last given."""
_BEGINS = re.compile(r"\w")
_FENCE = re.compile(r"```(?:json)?", re.IGNORECASE)
_PUNCTUATION = re.compile(r"""[\s{}\[\],:="'`]*""")
_LABELS = frozenset({"role", "name", "id", "type"})


class Given:
    """What an agent was given before it proposed something, in two readings.

    `last` is the last message of its latest model request, or the latest message that it received;
    `parents` all that this request was made from (messages, results of tools, the user's words).
    """

    def __init__(self, last: Sequence[Any], parents: Sequence[Any]) -> None:
        self._inputs = {LAST: Input(last), PARENTS: Input(parents)}

    @classmethod
    def to(cls, agent: str, history: Sequence[Step]) -> Given:
        """Return what `agent` was last given in a run's history; nothing when that is not found."""
        for step in reversed(history[-_BACK:]):
            body = step.body
            if isinstance(body, Message) and agent in body.to:
                value = value_of(step)
                return cls([value], [value])
            if isinstance(body, Action) and body.kind == "model_call" and step.agent == agent:
                base = history[0].step
                made = [history[at - base] for at in step.parents if 0 <= at - base < len(history)]
                return cls([_last_message(step)], [value_of(one) for one in made if _speaks(one)])
        return cls([], [])

    def in_(self, where: str) -> Input:
        """Return one of the two readings; nothing for another word, as a lessons file may hold."""
        return self._inputs.get(where) or Input([])


class Input:
    """The texts and the keyed values of some payloads."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._prose: list[str] = []
        self._keyed: dict[str, set[int | float]] = defaultdict(set)
        words: list[str] = []
        for path, leaf in (found for value in values for found in spoken(value)):
            words.append(str(leaf)[:MOST_TEXT].casefold())
            if isinstance(leaf, str):
                self._prose.append(words[-1])
            elif isinstance(leaf, (int, float)) and path and not isinstance(leaf, bool):
                self._keyed[str(path[-1])].add(leaf)
        self._words = "\n".join(words)

    def states(self, value: Any) -> bool:
        """Return whether it holds this value as a word of its own, whatever its case."""
        return stated(value, self._words)

    def cues(self, value: Any, beside: Sequence[tuple[str, Any]]) -> frozenset[str]:
        """Return what stands beside a value in the prose (`doubts.cue`), at the first few places."""
        prose, numeric = "\n".join(self._prose), not isinstance(value, str)
        places = itertools.islice(places_of(value, prose), MOST_PLACES)
        return frozenset(doubts.cue(prose, *place, beside if numeric else None) for place in places)

    def numbers(self, slot: Slot, beside: Sequence[tuple[str, Any]]) -> set[int | float]:
        """Return the numbers that may be meant by a slot: those under its key, else those of its prose.

        Of the latter, those that other slots (`beside`) hold are left out, and those that stand beside
        other words than in solved runs; counters of an agent's own state are no prose. Nothing is offered
        where digits or words may mean yet another number.
        """
        if slot.key in self._keyed:
            return self._keyed[slot.key]
        taken = (other for _, other in beside if isinstance(other, (int, float)))
        texts = (str(other).casefold() for _, other in beside if isinstance(other, str))
        prose = "\n".join(self._prose)

        def fits(start: int, end: int) -> bool:
            return not slot.cues or doubts.cue(prose, start, end, beside) in slot.cues

        return doubts.numbers(prose, taken, "\n".join(texts), fits)

    def may_mean(self, value: float) -> bool:
        """Return whether it may state a number in another way (1,250; two dozen; 12.50 as 1250 cents)."""
        if doubts.Readings(self._words).state(value):
            return True
        return doubts.Readings("\n".join(self._prose)).make(value)

    def may_say(self, value: str, known: str) -> bool:
        """Return whether it may say a text in other words, or does not mean the `known` one it states."""
        places = places_of(known, self._words)
        if any(doubts.dismissed(self._words, *place) for place in places):
            return True
        return doubts.paraphrased(value, self._words, known) or doubts.reformed(value, known)


def habits_of(solved: Iterable[Trace]) -> dict[str, Habits]:
    """Return, per agent, the habits that its proposals in solved runs show without exception.

    A keyed scalar is a slot when every one of its values (at least `FEWEST`) was stated in what the agent
    had last been given; the form of an agent's JSON is known when it was always the same.
    """
    seen: dict[tuple[str, str, str], list[_Row]] = defaultdict(list)
    forms: dict[str, list[str]] = defaultdict(list)
    for trace in solved:
        for at, step in enumerate(trace.steps):
            if step.kind not in KINDS or step.agent == USER:
                continue
            given = Given.to(step.agent, trace.steps[:at])
            beside = list(itertools.islice(scalars(value_of(step)), MOST_SCALARS))
            for key, value in beside:
                stated_in = tuple(where for where in (LAST, PARENTS) if given.in_(where).states(value))
                seen[step.agent, step.kind, key].append(
                    (value, {where: given.in_(where).cues(value, beside) for where in stated_in})
                )
            forms[step.agent] += (_skeleton(found) for found in objects(value_of(step)))
    slots: dict[str, list[Slot]] = defaultdict(list)
    for (agent, kind, key), rows in sorted(seen.items()):
        slot = _slot(kind, key, rows)
        if slot is not None:
            slots[agent].append(slot)
    return {
        agent: Habits(slots=tuple(slots[agent]), form=_form(forms[agent]))
        for agent in sorted({*slots, *forms})
        if slots[agent] or _form(forms[agent])
    }


def instead(
    slot: Slot, wrong: Any, given: Given, beside: Sequence[tuple[str, Any]], slots: Iterable[Slot] = ()
) -> Any | None:
    """Return what belongs into a slot whose value the input does not state; None when that is not plain.

    It is the only known value of the slot that the input states (of a number slot: the only number) and
    that no other slot of the same proposal (`beside`) holds, where such values stood in solved runs.
    Nothing is plain where the input may state the value in another way, or says that the other one is not
    meant (`masfire.recovery.doubts`). `slots` are all of the role: what may follow a number.
    """
    told = given.in_(slot.where)
    if told.states(wrong) or isinstance(wrong, str) != bool(slot.values):
        return None
    if isinstance(wrong, str):
        held = {str(other).casefold() for _, other in beside}
        known = [one for one in slot.values if one.casefold() not in held and told.states(one)]
        if len(known) != 1 or told.may_say(wrong, known[0]):
            return None
        return known[0] if not slot.cues or told.cues(known[0], ()) & set(slot.cues) else None
    if told.may_mean(wrong):
        return None
    known_too = ((other.key, value) for other in slots for value in other.values)
    left = told.numbers(slot, [*beside, *known_too])
    if len(left) != 1:
        return None
    (number,) = left
    return None if isinstance(wrong, int) and isinstance(number, float) else number


def mended(text: str, form: str) -> dict[str, Any] | None:
    """Return the object that a malformed JSON text was meant to be, read field by field in a known form.

    Every field of the form must be found in the text (quoted any way, after a colon or an equals sign)
    as a string or a number, and there must be nothing else in it; None otherwise. Nothing is made up,
    and nothing is lost.
    """
    skeleton = object_of(form)
    if skeleton is None or len(text) > MOST_TEXT:
        return None
    places: list[tuple[int, int]] = []
    filled = _filled(skeleton, text, places)
    return filled if filled is not None and _is_whole(text, places) else None


def _filled(skeleton: Mapping[str, Any], text: str, places: list[tuple[int, int]]) -> dict[str, Any] | None:
    """Return the fields of a form with their values, and add where they were found to `places`."""
    filled: dict[str, Any] = {}
    for key, part in skeleton.items():
        if isinstance(part, dict):
            value = _filled(part, text, places)
            places += [found.span() for found in re.finditer(rf"{_named(key)}(?=\{{)", text)]
        else:
            value = _field(key, text, places)
        if value is None:
            return None
        filled[key] = value
    return filled


def _field(key: str, text: str, places: list[tuple[int, int]]) -> Any | None:
    value = r"""(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(-?\d+(?:\.\d+)?)(?![\w.]))"""
    found = list(re.finditer(_named(key) + value, text))
    if len(found) != 1:
        return None
    places.append(found[0].span())
    double, single, number = found[0].groups()
    if number:
        return float(number) if "." in number else int(number)
    return _unescaped(double or (single or "").replace("\\'", "'").replace('"', '\\"')) or None


def _named(key: str) -> str:
    name = re.escape(key)
    return rf"""(?:"{name}"|'{name}'|(?<![\w"']){name})\s*[:=]\s*"""


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return ""


def _is_whole(text: str, places: Sequence[tuple[int, int]]) -> bool:
    """Return whether nothing but punctuation stands beside these places, none of which is in another."""
    end, between = 0, []
    for start, stop in sorted(places):
        if start < end:
            return False
        between.append(text[end:start])
        end = stop
    return all(_PUNCTUATION.fullmatch(_FENCE.sub("", part)) for part in (*between, text[end:]))


# Reading payloads ------------------------------------------------------------------------------------


def value_of(step: Step) -> Any:
    """Return a step's decoded payload, or None when it is not to be read."""
    try:
        return unpack(step.payload) if step.payload else None
    except RefusedValue:
        return None


def text_of(step: Step) -> str:
    """Return a step's payload as text, at most `MOST_TEXT` characters of it."""
    value = value_of(step)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:MOST_TEXT]


def stated(value: Any, text: str) -> bool:
    """Return whether a casefolded text holds a value as a word of its own."""
    return next(places_of(value, text), None) is not None


def places_of(value: Any, text: str) -> Iterator[tuple[int, int]]:
    """Yield where a casefolded text holds a value as a word of its own."""
    wanted = str(value).strip().casefold()
    at = text.find(wanted) if wanted else -1
    while at >= 0:  # much faster than a pattern made of each value
        end = at + len(wanted)
        if _opens(text[at - 1 : at]) and not _BEGINS.match(text, end):
            yield at, end
        at = text.find(wanted, at + 1)


def _opens(before: str) -> bool:
    return before != "." and _BEGINS.match(before) is None


def scalars(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each keyed text or number of a payload, also of JSON inside its texts."""
    found: list[tuple[str, Any]] = []

    def keep(key: str, scalar: Any) -> Any:
        found.append((key, scalar))
        return scalar

    mapped(value, keep, DEPTH)
    yield from ((key, scalar) for key, scalar in found if not isinstance(scalar, bool))


def objects(value: Any, depth: int = DEPTH) -> Iterator[Mapping[str, Any] | None]:
    """Yield each JSON object that stands as a text in a payload; None for a text that is broken JSON."""
    if depth < 0:
        return
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from objects(part, depth - 1)
    elif isinstance(value, str) and value[:1] == "{":
        yield object_of(value)


def object_of(text: str) -> Mapping[str, Any] | None:
    """Return the JSON object that a text is, or None."""
    try:
        found = json.loads(text) if len(text) <= MOST_TEXT else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def mapped(value: Any, change: Callable[[str, Any], Any], depth: int, key: str = "") -> Any:
    """Return a value with `change(key, scalar)` for each keyed scalar, also in JSON inside texts."""
    if depth < 0:
        return value
    if isinstance(value, dict):
        return {
            name: part
            if name in _LABELS and "content" in value
            else mapped(part, change, depth - 1, str(name))
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [mapped(part, change, depth - 1) for part in value]
    if isinstance(value, str) and value[:1] == "{":
        inner = object_of(value)
        if inner is not None:
            changed = mapped(inner, change, depth - 1)
            return value if changed == inner else written(changed)
    if key and key not in ("content", "text") and isinstance(value, (str, int, float)):
        return change(key, value)
    return value


def written(value: Any) -> str:
    """Return JSON as the text of a message."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_Row: TypeAlias = tuple[Any, Mapping[str, frozenset[str]]]
"""A value, and the cues in each reading that states it."""


def _slot(kind: str, key: str, rows: Sequence[_Row]) -> Slot | None:
    if len(rows) < FEWEST:
        return None
    where = next((one for one in (LAST, PARENTS) if all(one in row[1] for row in rows)), "")
    texts = {row[0] for row in rows if isinstance(row[0], str)}
    if not where or (texts and any(not isinstance(row[0], str) for row in rows)):
        return None
    if len(texts) > MOST_VALUES or any(len(text) > LONGEST_VALUE for text in texts):
        return None
    cues = sorted(frozenset().union(*(row[1][where] for row in rows)))[:MOST_VALUES]
    return Slot(kind, key, where, tuple(sorted(texts)), len(rows), tuple(cues))


def _form(found: Sequence[str]) -> str:
    return found[0] if len(found) >= FEWEST and len(set(found)) == 1 else ""


def _skeleton(found: Mapping[str, Any] | None) -> str:
    def bare(part: Any, depth: int) -> Any:
        if isinstance(part, dict) and depth:
            return {str(key): bare(inner, depth - 1) for key, inner in part.items()}
        if isinstance(part, (str, int, float)) and not isinstance(part, bool):
            return None
        raise ValueError

    try:
        return written(bare(found, DEPTH)) if found else ""
    except ValueError:
        return ""


def _speaks(step: Step) -> bool:
    body = step.body
    return isinstance(body, Message) or (
        isinstance(body, Observation) and body.kind == "tool_result" and body.ok
    )


def _last_message(call: Step) -> Any:
    request = value_of(call)
    messages = request.get("messages") if isinstance(request, dict) else None
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    return messages[-1].get("content")
