"""Memory faults: the history that reaches the model is pruned, or drowned in text."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from masfire.claims.leaves import strings
from masfire.faults.base import FAULTS, Fault, FaultSpec, Inapplicable, Scene, Strike
from masfire.faults.requests import (
    SYSTEM_ROLES,
    all_text,
    last_user,
    role_of,
    system_text,
    text_of,
    turns,
    with_text,
    with_turns,
)
from masfire.trace.model import USER, Step
from masfire.trace.payload import pack

EARLY = "early"
_LEAST = 12
"""Shorter texts are no evidence of whose words stand in a request (characters)."""

NO_HISTORY = Inapplicable("the request holds no history that could be forgotten")


class MemoryLoss(Fault):
    """ML: early turns, or all turns of one agent, are missing from the request that reaches the model."""

    name = "memory_loss"
    kinds = frozenset({"model_call"})

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """What is forgotten.

        `drop`: `early` (the oldest turns) or an agent's name (every turn of it); `fraction` of the turns
        that `early` drops (rounded up; turns that quote earlier steps of this run come before others,
        such as example turns); `keep_last`: how many of the newest turns stay in any case.
        System text and the final user message always stay; a call and its results go together.
        """

        drop: str = EARLY
        fraction: float = 0.5
        keep_last: int = 0

    def strike(self, step: Step, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the request without a part of its history."""
        body = step.value
        if not isinstance(body, dict):
            return NO_HISTORY
        parameters = self.configure(spec)
        items = turns(body)
        groups = list(_groups(items))
        droppable = groups[: len(groups) - parameters.keep_last]
        if parameters.drop == EARLY:
            of_run = _said_in_run(droppable, items, step, scene) or droppable
            chosen = of_run[: math.ceil(len(of_run) * parameters.fraction)]
        else:
            said = _words_of(parameters.drop, scene)
            chosen = [group for group in droppable if _by(parameters.drop, said, [items[p] for p in group])]
        if chosen:
            gone = {position for group in chosen for position in group}
            kept = [item for position, item in enumerate(items) if position not in gone]
            note = f"{len(gone)} of {len(items)} items forgotten"
            return Strike((step.with_payload(pack(with_turns(body, kept))),), note)
        return self._cut(step, body, items, parameters.drop, scene)

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether every removed item is absent from the request that was really sent.

        An item that the request also holds elsewhere must be there less often.
        """
        old, kept, there = turns(before.value), turns(after.value), turns(received)
        lost = [item for item in old if kept.count(item) < old.count(item)]
        return bool(there) and bool(lost) and all(there.count(item) <= kept.count(item) for item in lost)

    def _cut(
        self, step: Step, body: dict[str, Any], items: list[Any], drop: str, scene: Scene
    ) -> Strike | Inapplicable:
        """Return the request whose only message no longer quotes what other agents said before."""
        position = last_user(items)
        if position < 0:
            return NO_HISTORY
        text = text_of(items[position])
        quotes = [
            quote for quote in _quotes(step, drop, scene) if quote in text and quote.strip() != text.strip()
        ]
        if not quotes:
            return NO_HISTORY
        count = len(quotes) if drop != EARLY else math.ceil(len(quotes) / 2)
        for quote in quotes[:count]:
            text = text.replace(quote, "")
        items[position] = with_text(items[position], text)
        return Strike(
            (step.with_payload(pack(with_turns(body, items))),), f"{count} quoted outputs forgotten"
        )


class ContextLengthViolation(Fault):
    """CLV: the message's fragments lie scattered in a very long distractor."""

    name = "context_length_violation"
    kinds = frozenset({"model_call"})

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """How long, and where.

        `size`: characters of distractor; 0 stands for `k` times the model's window (5 characters a
        token), or 250,000 when the window is unknown. `fragments`: into how many parts the text is cut
        (they stand at 10, 30, 50, 70 and 90 % when there are five). `site`: `history` (the final user
        message) or `system` (the system prompt, for the whole run).
        """

        size: int = 0
        k: float = 1.25
        fragments: int = 5
        site: Literal["history", "system"] = "history"

    def lasts(self, spec: FaultSpec) -> bool:
        """Return whether the system prompt is what grows: then for the whole run."""
        return bool(self.configure(spec).site == "system")

    def strike(self, step: Step, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the request with a text that exceeds the usable window."""
        body = step.value
        found = self._place(body, spec)
        if found is None:
            return Inapplicable("the request holds no text that could be scattered")
        position, text = found
        size = self._size(spec, scene)
        long = scattered(fragments(text, self.configure(spec).fragments), size, scene.rng)
        if position < 0:
            changed = {**body, "instructions": long}
        else:
            items = turns(body)
            items[position] = with_text(items[position], long)
            changed = with_turns(body, items)
        return Strike((step.with_payload(pack(changed)),), f"{size} characters of distractor")

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether the received text is as long as asked and holds every fragment in order."""
        found = self._place(before.value, spec)
        if found is None or not isinstance(received, dict):
            return False
        text = f"{system_text(received)}\n{all_text(turns(received))}"
        start = 0
        for fragment in fragments(found[1], self.configure(spec).fragments):
            start = text.find(fragment, start)
            if start < 0:
                return False
        return len(text) >= self._size(spec, scene)

    def _size(self, spec: FaultSpec, scene: Scene) -> int:
        parameters = self.configure(spec)
        return parameters.size or (int(parameters.k * scene.slot * 5) if scene.slot else 250_000)

    def _place(self, body: Any, spec: FaultSpec) -> tuple[int, str] | None:
        """Return which item is scattered (-1: the instructions field) and its text."""
        if not isinstance(body, dict):
            return None
        items = turns(body)
        if self.configure(spec).site == "system":
            if isinstance(body.get("instructions"), str) and body["instructions"].strip():
                return -1, body["instructions"]
            places = [n for n, item in enumerate(items) if role_of(item) in SYSTEM_ROLES]
        else:
            final = last_user(items)
            places = [final] if final >= 0 else []
        if not places or not text_of(items[places[0]]).strip():
            return None
        return places[0], text_of(items[places[0]])


def fragments(text: str, count: int) -> list[str]:
    """Return `text` cut at word boundaries into at most `count` parts of about equal length."""
    words = text.split(" ")
    count = max(1, min(count, len(words)))
    cuts = [round(len(words) * n / count) for n in range(count + 1)]
    parts = (" ".join(words[left:right]).strip() for left, right in itertools.pairwise(cuts))
    return [part for part in parts if part]


def scattered(parts: list[str], size: int, rng: random.Random) -> str:
    """Return the parts, in order and evenly spread, in `size` characters of distractor."""
    noise = distractor(size, rng)
    pieces, last = [], 0
    for number, part in enumerate(parts):
        place = int(len(noise) * (2 * number + 1) / (2 * len(parts)))
        place = max(noise.rfind(". ", last, place) + 1, last)
        pieces += [noise[last:place], f"\n{part}\n"]
        last = place
    return "".join([*pieces, noise[last:]])


def distractor(size: int, rng: random.Random) -> str:
    """Return at least `size` characters of readable text that concerns nobody."""
    subjects = ("The archive", "A quiet river", "The old library", "An autumn garden", "The night train")
    verbs = ("describes", "reminds visitors of", "was painted beside", "is known for", "keeps")
    objects = (
        "the changing weather",
        "forgotten melodies",
        "long corridors",
        "patient gardeners",
        "pale maps",
    )
    block = [f"{rng.choice(subjects)} {rng.choice(verbs)} {rng.choice(objects)}. " for _ in range(64)]
    text = "".join(block)
    return (text * (size // len(text) + 1))[: size + 60]


def _groups(items: list[Any]) -> Iterator[list[int]]:
    """Yield the positions that can only be forgotten together, oldest first.

    A call and its results belong together, and an answer to the question before it; system items and
    the final user message belong to no group.
    """
    final = last_user(items)
    group: list[int] = []
    for position, item in enumerate(items):
        role = role_of(item)
        if role in SYSTEM_ROLES or position == final:
            if group:
                yield group
            group = []
            continue
        before = items[group[-1]] if group else None
        joins = before is not None and (
            role == "tool"
            or (role == "assistant" and role_of(before) == "user")
            or (isinstance(before, dict) and before.get("type") in ("reasoning", "function_call"))
        )
        if group and not joins:
            yield group
            group = []
        group.append(position)
    if group:
        yield group


def _said_in_run(groups: list[list[int]], items: list[Any], step: Step, scene: Scene) -> list[list[int]]:
    """Return the groups that hold what an earlier step of this run said: history, not example turns.

    Examples come first and may say the same, so a text counts where it stands last.
    """
    parents = [scene.history[index] for index in step.parents if 0 <= index < len(scene.history)]
    said = [text for parent in parents for text in strings(parent.value) if len(text) >= _LEAST]
    last = {max((n for n, item in enumerate(items) if text in text_of(item)), default=-1) for text in said}
    return [group for group in groups if last.intersection(group)]


def _words_of(agent: str, scene: Scene) -> list[str]:
    spoken = [
        step for step in scene.history if step.agent == agent and step.kind in ("model_reply", "message")
    ]
    return [text for step in spoken for text in strings(step.value) if len(text) >= _LEAST]


def _by(agent: str, words: list[str], items: list[Any]) -> bool:
    for item in items:
        text = text_of(item)
        named = isinstance(item, dict) and item.get("name") == agent
        if named or text.startswith(f"{agent}:") or any(said in text for said in words):
            return True
    return False


def _quotes(step: Step, drop: str, scene: Scene) -> list[str]:
    """Return what other agents said that this request was made from, oldest first."""
    parents = [scene.history[index] for index in step.parents if 0 <= index < len(scene.history)]
    wanted = [
        parent
        for parent in parents
        if parent.agent != USER
        and parent.kind in ("model_reply", "message")
        and drop in (EARLY, parent.agent)
    ]
    found = [text for parent in wanted for text in strings(parent.value) if len(text) >= _LEAST]
    return list(dict.fromkeys(found))


for _fault in (MemoryLoss, ContextLengthViolation):
    FAULTS.add(_fault.name, _fault(), owner=__name__)
