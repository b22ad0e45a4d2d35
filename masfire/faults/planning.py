"""Planning faults: a plan that nobody can carry out, or one that lost what matters."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct

from masfire.claims import claims_of, claims_of_text, difference, sentences
from masfire.claims.leaves import INSIDE, Path, get, spoken, texts
from masfire.claims.lexicon import MODALS
from masfire.faults.base import FAULTS, FaultSpec, Inapplicable, Scene
from masfire.faults.calls import find as find_calls
from masfire.faults.edits import removed, replaced
from masfire.faults.plans import ID_KEYS, WAIT_KEYS, Plan, circular, find, unresolved
from masfire.faults.rewrite import Rewrite, Rewritten, within

_DOING_KEYS = ("tool", "agent", "action", "assignee", "step", "name", "do", "task")
_GHOSTS = ("ledger_oracle", "quota_broker", "archive_bridge", "escrow_gateway", "parity_registrar")
_CLAUSE = re.compile(r",\s+|\s+and\s+|;\s*|\s+(?=for |with |by |to |in |from )")


class InexecutablePlan(Rewrite):
    """IP: the plan waits for itself, or needs a tool or agent that does not exist."""

    name = "inexecutable_plan"
    about = "plan"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`how`: `unknown` (a step that needs an absent tool), `cycle` (steps that wait for each other)."""

        how: Literal["any", "unknown", "cycle"] = "any"

    def rewrite(self, value: Any, spec: FaultSpec, scene: Scene) -> Rewritten | Inapplicable:
        """Return the output with a plan that cannot be carried out."""
        part = within(value)
        plan = find(part)
        asked = self.configure(spec).how
        ways = ["unknown", "cycle"] if asked == "any" else [asked]
        scene.rng.shuffle(ways)
        ghost = _ghost(part, scene)
        for way in ways:
            if plan is not None and plan.steps:
                steps = _ghostly(plan, ghost, scene) if way == "unknown" else _looped(plan)
                if steps is None:
                    continue
                changed = replaced(part, plan.path, steps)
                if self.proves(part, changed, spec, scene):
                    note = (
                        f"a step needs {ghost}"
                        if way == "unknown"
                        else "first and last step wait for each other"
                    )
                    return Rewritten(_whole(value, part, changed), note)
            elif way == "unknown":
                for call in find_calls(part):
                    if call.name:
                        changed = replaced(part, (*call.path, call.name_key), ghost)
                        return Rewritten(_whole(value, part, changed), f"{call.name} became {ghost}")
        return Inapplicable(
            "the output holds no plan" if plan is None else f"the plan cannot be given a {asked} defect"
        )

    def proves(self, before: Any, received: Any, spec: FaultSpec, scene: Scene) -> bool:
        """Return whether an unresolved reference or a cycle is in the received plan, and was not before."""
        old, new = within(before), within(received)
        known = {*scene.tools, *scene.agents}
        if unresolved(new, known) - unresolved(old, known):
            return True
        return circular(new) and not circular(old)


class CriticalInformationLoss(Rewrite):
    """CIL: the requirements, numbers and names that matter most are missing."""

    name = "critical_information_loss"
    about = "plan"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`k`: how many sentences or fields are dropped; 0 stands for a third of them, at least one."""

        k: int = 0

    def rewrite(self, value: Any, spec: FaultSpec, scene: Scene) -> Rewritten | Inapplicable:
        """Return the output without its richest sentences or fields."""
        part = within(value)
        changed = _thinned(part, self.configure(spec).k)
        if changed is None:
            return Inapplicable("nothing can be dropped without dropping everything")
        gone, _ = difference(part, changed)
        changed = _erased(
            changed, {claim.value for claim in gone if claim.kind in ("number", "entity", "slot")}
        )
        lost = ", ".join(dict.fromkeys(claim.text for claim in gone))
        return Rewritten(_whole(value, part, changed), f"lost: {lost[:200]}")

    def proves(self, before: Any, received: Any, spec: FaultSpec, scene: Scene) -> bool:
        """Return whether claims are gone, none is new, and what was received is shorter."""
        old, new = within(before), within(received)
        gone, stated = difference(old, new)
        lost = [claim for claim in gone if claim.kind != "hedge"]
        return bool(lost) and not stated and _length(new) < _length(old)


def _ghost(part: Any, scene: Scene) -> str:
    there = " ".join(texts(part))
    free = [name for name in _GHOSTS if name not in there and name not in scene.tools]
    return scene.rng.choice(free or [f"{_GHOSTS[0]}_{len(there)}"])


def _ghostly(plan: Plan, ghost: str, scene: Scene) -> Any:
    at = scene.rng.randrange(len(plan.steps))
    if plan.style == "list" and isinstance(plan.steps[at], dict):
        return plan.written([*plan.steps[:at], _ghost_step(plan.steps, at, ghost), *plan.steps[at:]])
    text = f"call {ghost} and wait for its approval"
    model = str(plan.steps[at]).strip()
    if model[:1].isupper():
        text = text.capitalize()
    if model[-1:] in (".", ";") or plan.style == "sentences":
        text += "." if plan.style == "sentences" else model[-1]
    return plan.written([*plan.steps[:at], text, *plan.steps[at:]], at)


def _ghost_step(steps: list[Any], at: int, ghost: str) -> dict[str, Any]:
    """Return a step like the one at `at` that needs `ghost`, under an id of its own."""
    model = steps[at]
    said = [key for key, item in model.items() if isinstance(item, str)]
    named = [key for key in _DOING_KEYS if key in said] or [key for key in said if key != "id"]
    made = {
        key: len(steps) + 1 if key in ID_KEYS and type(item) is int else item for key, item in model.items()
    }
    if isinstance(made.get("id"), str):
        made["id"] = f"{made['id']}x"
    return {**made, named[0] if named else "tool": ghost}


def _looped(plan: Plan) -> Any:
    if len(plan.steps) < 2:
        return None
    steps = list(plan.steps)
    last = len(steps) - 1
    if plan.style == "list" and all(isinstance(step, dict) for step in steps):
        names = [next((step[key] for key in ID_KEYS if key in step), n + 1) for n, step in enumerate(steps)]
        for here, there in ((0, last), (last, 0)):
            key = next((key for key in WAIT_KEYS if any(key in step for step in steps)), "depends_on")
            old = steps[here].get(key)
            waits = old if isinstance(old, list) else []
            steps[here] = {**steps[here], key: list(dict.fromkeys([*waits, names[there]]))}
        return plan.written(steps)
    if not all(isinstance(step, str) for step in steps):
        return None
    for here, there in ((0, last), (last, 0)):
        text = steps[here].rstrip()
        end = text[-1:] if text[-1:] in ".;" else ""
        steps[here] = f"{text.removesuffix(end)} (only after step {there + 1}){end}"
    return plan.written(steps)


def _whole(value: Any, part: Any, changed: Any) -> Any:
    return {**value, **changed} if part is not value else changed


def _thinned(part: Any, k: int) -> Any | None:
    fields = [(path, leaf) for path, leaf in spoken(part) if _is_field(part, path)]
    if len(fields) >= 2:
        scored = sorted(fields, key=lambda field: (-_richness(str(field[1])), str(field[0])))
        count = min(k or max(1, len(fields) // 3), len(fields) - 1)
        for path, _ in sorted(scored[:count], key=lambda field: _order(field[0]), reverse=True):
            part = removed(part, path)
        return part
    prose = [(path, leaf) for path, leaf in spoken(part) if isinstance(leaf, str) and leaf.strip()]
    if not prose:
        return None
    path, text = max(prose, key=lambda item: len(item[1]))
    shorter = _shortened(text, k)
    return None if shorter is None else replaced(part, path, shorter)


def _is_field(part: Any, path: Path) -> bool:
    """Return whether a scalar is a field or item of JSON data (not the text of a message)."""
    if not path or path[-1] in ("content", INSIDE):
        return False
    return isinstance(get(part, path[:-1]), (dict, list)) and "messages" not in path


def _order(path: Path) -> list[tuple[int, str]]:
    return [(element, "") if isinstance(element, int) else (0, element) for element in path]


def _shortened(text: str, k: int) -> str | None:
    spans = sentences(text)
    if len(spans) < 2:
        joints = [match.span() for match in _CLAUSE.finditer(text)]
        starts = [0, *(end if text[start:end].strip() else start for start, end in joints)]
        spans = [
            (start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True) if start < end
        ]
    if len(spans) < 2:
        spans = [match.span() for match in re.finditer(r"\S+\s*", text)]
    if len(spans) < 2:
        return None
    ranked = sorted(spans, key=lambda span: -_richness(text[span[0] : span[1]]))
    dropped = ranked[: min(k or max(1, len(spans) // 3), len(spans) - 1)]
    kept = "".join(text[start:end] for start, end in spans if (start, end) not in dropped)
    kept = kept.rstrip(" ,;").lstrip(" ,;")
    if text[:1].isupper():
        kept = kept[:1].upper() + kept[1:]
    return kept or None


def _richness(text: str) -> int:
    claims = claims_of_text(text)
    weights = {"number": 3, "entity": 2, "verdict": 1}
    modal = sum(word.casefold() in MODALS for word in re.findall(r"[A-Za-z]+", text))
    return 2 * modal + sum(weights.get(claim.kind, 0) for claim in claims)


def _erased(part: Any, values: set[str]) -> Any:
    """Return `part` without the numbers and names in `values`, wherever a text still says them."""
    left = [claim for claim in claims_of(part) if claim.value in values and claim.end]
    for claim in sorted(left, key=lambda claim: claim.start, reverse=True):
        text = get(part, claim.path)
        shorter = text[: claim.start].rstrip(" ") + text[claim.end :]
        part = replaced(part, claim.path, shorter)
    return part


def _length(part: Any) -> int:
    return sum(len(str(leaf)) + 1 for _, leaf in spoken(part))


for _fault in (InexecutablePlan, CriticalInformationLoss):
    FAULTS.add(_fault.name, _fault(), owner=__name__)
