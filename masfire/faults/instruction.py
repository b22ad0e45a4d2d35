"""Instruction faults: the user's task contradicts itself, or no longer says what is meant."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct

from masfire.claims import Claim, claims_of, claims_of_text, difference, sentences
from masfire.claims.leaves import Path, spoken
from masfire.claims.lexicon import GOODS, NEGATIONS, STOPWORDS, TIMES
from masfire.faults.base import FAULTS, Fault, FaultSpec, Inapplicable, Mutator, Scene, Strike, Unproved
from masfire.faults.edits import carries, replaced
from masfire.faults.plausible import like
from masfire.faults.requests import last_user, text_of, turns, with_text, with_turns
from masfire.faults.rewrite import ATTEMPTS, cards, focus
from masfire.trace.model import USER, Step
from masfire.trace.payload import pack

_KEPT_KEYS = ("id", "task_id", "thread_id")
_VERBS = frozenset(
    """order buy purchase reserve book ship deliver send write compute calculate add subtract multiply divide
    sort list count find search check confirm cancel create build implement translate summarize summarise
    compare select extract convert return print verify review plan schedule pay refund move copy remove
    delete update insert need want""".split()  # noqa: SIM905 - a word list reads as text
)
_PLACES = ("in", "at", "to", "from", "near", "via")
GENERIC = ("some", "something", "someone", "somewhere", "sometime", "handle", "things", "thing", "amount")
"""The words that stand where something specific stood."""


class Instruction(Fault):
    """Base of both: strikes the user's task before an agent sees it.

    A bare address (or `@user`) means the first message of the user, for all its recipients; an
    agent's name means the user's message to that agent, or else the user turn of its request.
    """

    kinds = frozenset({"message", "model_call"})
    about = USER

    def aims(self, spec: FaultSpec, step: Step) -> bool:
        """Return whether `step` brings the user's words to whom the spec names."""
        if step.kind == "model_call":
            return not spec.aims_at(USER) and spec.aims_at(step.agent)
        to = getattr(step.body, "to", ())
        if step.kind != "message" or step.agent != USER or not spec.reaches(to):
            return False
        return spec.aims_at(USER) or any(spec.aims_at(name) for name in to)

    def strike(self, step: Step, spec: FaultSpec, scene: Scene) -> Strike | Inapplicable:
        """Return the step with another task text."""
        body = step.value
        task, position = _task(step, body)
        if not claims_of(task):
            return Inapplicable("the task says nothing that could be changed")
        if scene.mutator is not None:
            changed, note = self._ask(scene.mutator, task, step, scene), "written by a model"
        else:
            answer = self.reword(task, spec, scene)
            if isinstance(answer, Inapplicable):
                return answer
            changed, note = answer
            if not self.proves(task, changed):
                return Inapplicable("no change of this task would pass the fault's predicate")
        if position is not None:
            items = turns(body)
            items[position] = with_text(items[position], changed)
            changed = with_turns(body, items)
        return Strike((step.with_payload(pack(changed)),), note)

    def landed(
        self, before: Step, after: Step, received: Any, by: str, spec: FaultSpec, scene: Scene
    ) -> bool:
        """Return whether the task that arrived passes the predicate."""
        old, _ = _task(before, before.value)
        if before.kind == "model_call":
            return self.proves(old, _task(before, received)[0])
        return carries(received, after.value) and self.proves(old, after.value)

    def reword(self, task: Any, spec: FaultSpec, scene: Scene) -> tuple[Any, str] | Inapplicable:
        """Return the deterministic variant of the task, and in a few words what was changed."""
        raise NotImplementedError

    def proves(self, before: Any, received: Any) -> bool:
        """Return whether `received`, against the original task `before`, shows the fault."""
        raise NotImplementedError

    def _ask(self, mutator: Mutator, task: Any, step: Step, scene: Scene) -> Any:
        path, text = focus(task)
        for _ in range(ATTEMPTS):
            mutated = mutator.mutate(
                fault=self.name, text=text, cards=cards(step.agent, scene), goal=scene.task
            )
            changed = replaced(task, path, mutated)
            if self.proves(task, changed):
                return changed
        raise Unproved(f"No model-written task passed the predicate in {ATTEMPTS} attempts.")


class InstructionLogicConflict(Instruction):
    """ILC: the task gets a second half that cannot be true together with the first."""

    name = "instruction_logic_conflict"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`how`: mutual exclusion of a constraint, a sequential paradox, a conflict of goals, or any."""

        how: Literal["any", "exclusive", "paradox", "goal"] = "any"

    def reword(self, task: Any, spec: FaultSpec, scene: Scene) -> tuple[Any, str] | Inapplicable:
        """Return the task with a conflicting pair of requirements."""
        path, text = focus(task)
        if not text.strip():
            return Inapplicable("the task has no text to which a requirement could be added")
        asked = self.configure(spec).how
        how = scene.rng.choice(("exclusive", "paradox", "goal")) if asked == "any" else asked
        first, second = _pair(how, text, scene)
        joint = "\n" if "\n" in text.strip() else " "
        end = "" if text.rstrip()[-1:] in ".!?:" else "."
        changed = f"{text.rstrip()}{end}{joint}{first}{joint}{second}"
        return replaced(task, path, changed), f"{how}: {first} / {second}"

    def proves(self, before: Any, received: Any) -> bool:
        """Return whether a conflicting pair is in the task, not there before, and nothing was lost."""
        gone, _ = difference(before, received)
        if any(claim.kind in ("number", "entity", "slot") and claim.end for claim in gone):
            return False
        return len(_conflicts(received)) > len(_conflicts(before))


class InstructionAmbiguity(Instruction):
    """IA: names, numbers and specific verbs give way to vague words; nothing contradicts."""

    name = "instruction_ambiguity"

    def reword(self, task: Any, spec: FaultSpec, scene: Scene) -> tuple[Any, str] | Inapplicable:
        """Return the task without anything specific."""
        places = dict.fromkeys(path for path, _ in _prose(task))
        claims = [claim for claim in claims_of(task) if claim.path in places and claim.end]
        specific = {claim.value for claim in claims if _is_specific(claim)}
        if not specific:
            terms = sorted({c.value for c in claims if c.kind == "term"}, key=lambda term: (-len(term), term))
            specific = set(terms[: max(1, len(terms) // 2)])
        changed = task
        for path, text in _prose(task):
            vague = _vague(
                text, [claim for claim in claims if claim.path == path and claim.value in specific]
            )
            changed = replaced(changed, path, vague)
        if changed == task:
            return Inapplicable("the task holds nothing specific")
        return changed, f"{len(specific)} specific terms became vague"

    def proves(self, before: Any, received: Any) -> bool:
        """Return whether specific terms are gone and none was put in their place."""
        gone, stated = difference(before, received)
        specific = [claim for claim in gone if claim.kind in ("number", "entity", "slot", "term")]
        added = [claim for claim in stated if claim.value not in GENERIC]
        return bool(specific) and not any(claim.kind in ("number", "entity", "polarity") for claim in added)


def _task(step: Step, body: Any) -> tuple[Any, int | None]:
    """Return the user's words in a step's payload, and of which turn of a request (None: a message)."""
    if step.kind != "model_call":
        return body, None
    if not isinstance(body, dict):
        return "", None
    items = turns(body)
    position = last_user(items)
    return (text_of(items[position]), position) if position >= 0 else ("", None)


def _pair(how: str, text: str, scene: Scene) -> tuple[str, str]:
    claims = claims_of_text(text)
    numbers = [claim for claim in claims if claim.kind == "number"]
    named = [claim for claim in claims if claim.kind == "entity"]
    verbs = [claim.value for claim in claims if claim.value in _VERBS]
    if how == "paradox":
        verb = scene.rng.choice(verbs) if verbs else "handle"
        return (
            f"Finish the {verb} step before the confirmation is given.",
            f"The confirmation must be given before the {verb} step is finished.",
        )
    if how == "exclusive" and numbers:
        claim = scene.rng.choice(numbers)
        what = claim.text + _counted(text[claim.end :])
        return f"It must be exactly {what}.", f"It must not be {what}."
    if how == "exclusive" and named:
        name = scene.rng.choice(named).text
        return f"The result must concern {name}.", f"The result must not concern {name}."
    return (
        "The final answer must contain every detail of this request.",
        "The final answer must not contain any detail of this request.",
    )


def _counted(text: str) -> str:
    """Return what a number counts: the one or two words after it."""
    words: list[str] = []
    for match in re.finditer(r"\s?([^\W\d_]+)", text[:60]):
        adjacent = match.start() == len("".join(words))
        if not adjacent or match[1].casefold() in STOPWORDS or len(words) == 2:
            break
        words.append(match[0])
    return "".join(words)


def _conflicts(task: Any) -> set[tuple[str, str]]:
    """Return the pairs of sentences that cannot both be followed."""
    said = [text[s:e].strip() for _, text in _texts(task) for s, e in sentences(text)]
    read = [(sentence, _gist(sentence)) for sentence in said]
    pairs: set[tuple[str, str]] = set()
    for number, (left, (terms, negated, order)) in enumerate(read):
        for right, (others, denied, other_order) in read[number + 1 :]:
            shared = terms & others
            opposed = negated != denied and len(shared) >= max(1, (min(len(terms), len(others)) + 1) // 2)
            turned = bool(order) and order == other_order[::-1]
            if opposed or turned:
                pairs.add((left, right))
    return pairs


def _gist(sentence: str) -> tuple[frozenset[str], bool, tuple[frozenset[str], ...]]:
    claims = claims_of_text(sentence)
    stated = frozenset(c.value for c in claims if c.kind in ("number", "entity", "term", "verdict"))
    words = {word.casefold() for word in re.findall(r"[A-Za-z]+", sentence)}
    halves = re.split(r"\bbefore\b", sentence, maxsplit=1)
    order: tuple[frozenset[str], ...] = ()
    if len(halves) == 2:
        order = (_core(halves[0]), _core(halves[1]))
    return stated, bool(words & NEGATIONS), order if all(order) else ()


def _core(half: str) -> frozenset[str]:
    plain = {"finish": "", "finished": "", "given": "", "must": ""}
    return frozenset(c.value for c in claims_of_text(half) if c.value not in plain)


def _texts(task: Any) -> list[tuple[Path, str]]:
    return [(path, leaf) for path, leaf in spoken(task) if isinstance(leaf, str)]


def _prose(task: Any) -> list[tuple[Path, str]]:
    """Return the texts that are worded for a reader: several words, or the longest text there is."""
    told = [place for place in _texts(task) if not place[0] or place[0][-1] not in _KEPT_KEYS]
    several = [place for place in told if len(place[1].split()) >= 3]
    return several or ([max(told, key=lambda place: len(place[1]))] if told else [])


def _is_specific(claim: Claim) -> bool:
    return claim.kind in ("number", "entity") or claim.value in _VERBS or claim.value in GOODS


def _vague(text: str, claims: list[Claim]) -> str:
    numbers = {claim.end for claim in claims if claim.kind == "number"}
    for claim in sorted(claims, key=lambda claim: claim.start, reverse=True):
        counted = claim.kind == "entity" and {claim.start, claim.start - 1} & numbers
        word = "amount" if counted else _generic(claim, text)
        word = like(word, claim.text) if claim.start == 0 else word
        text = f"{text[: claim.start]}{word}{text[claim.end :]}"
    text = re.sub(r"\b(some\w*|thing)( \1\b)+", r"\1", text)
    return re.sub(r"\b(?:in|at|to|from|near|via|by|on) (somewhere|sometime)\b", r"\1", text)


def _generic(claim: Claim, text: str) -> str:
    if claim.kind == "number":
        return "some"
    if claim.value in _VERBS:
        return "handle"
    if claim.value in TIMES:
        return "sometime"
    if claim.kind == "term" or claim.value in GOODS:
        return "things" if claim.value.endswith("s") else "thing"
    before = text[: claim.start].split()[-1:]
    if before and before[0].casefold() in _PLACES:
        return "somewhere"
    return "something" if any(letter.isdigit() for letter in claim.text) else "someone"


for _fault in (InstructionLogicConflict, InstructionAmbiguity):
    FAULTS.add(_fault.name, _fault(), owner=__name__)
