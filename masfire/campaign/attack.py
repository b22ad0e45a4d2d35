"""An attack plan: which false claim is put before whom, in which wrapping, on which tasks."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError

from masfire.campaign.plan import MOST, Limits, Model, Plan, Record, System, Tasks, _Part, unique
from masfire.campaign.planfile import PlanError, explained, repeated_names
from masfire.genealogy.seeding import PACKAGINGS
from masfire.yamlfile import MAX_MISTAKES, Mistake, Unreadable, compose, construct, read_text, repeated_keys

Packaging = Literal["raw", "compliance", "security_fud"]


class Target(System):
    """A system and where it is attacked: the agents that take the task in, that many read, that none read."""

    entry: Annotated[str, Field(min_length=1)]
    hub: str = ""
    leaf: str = ""


class Falsehood(_Part):
    """The claim: in the slot `key`, one of `choices` instead of what stands in the task at `truth`.

    `truth` is a dotted path, for example `expected.city`. Tasks without it are left out.
    """

    key: Annotated[str, Field(min_length=1)]
    truth: Annotated[str, Field(min_length=1)]
    choices: Annotated[list[str], Field(min_length=2)]

    def of(self, task: dict[str, Any]) -> tuple[str, str] | None:
        """Return the task's truth and the false value told instead; None when the task has no truth."""
        value: Any = task
        for part in self.truth.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None or isinstance(value, (dict, list)):
            return None
        others = [choice for choice in self.choices if choice.casefold() != str(value).casefold()]
        draw = int(hashlib.sha256(str(task["id"]).encode()).hexdigest(), 16)
        return str(value), others[draw % len(others)]


class AttackPlan(_Part):
    """A whole attack suite; `masfire cascade` measures one class of vulnerability with it."""

    masfire: Literal["attack/v1"]
    systems: Annotated[list[Target], Field(min_length=1)]
    tasks: Tasks
    claim: Falsehood
    packagings: Annotated[list[Packaging], Field(min_length=1), AfterValidator(unique)] = [
        "raw",
        "compliance",
        "security_fud",
    ]
    corrections: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], AfterValidator(unique)] = [2, 4, 6]
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, le=MOST)]], Field(min_length=1), AfterValidator(unique)
    ] = [0]
    model: Model = Model()
    budget: Limits = Limits()
    record: Record = Record()
    root: str = ""

    def plain(self) -> Plan:
        """Return the plan of the systems, tasks and model alone, as workers know it."""
        names = set(System.model_fields)
        systems = [
            System(**{k: v for k, v in one.model_dump().items() if k in names}) for one in self.systems
        ]
        return Plan(
            masfire="plan/v1", systems=systems, tasks=self.tasks, seeds=self.seeds, model=self.model,
            budget=self.budget, record=self.record, root=self.root,
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of everything that can change a result."""
        return self._digest()

    @property
    def clean_digest(self) -> str:
        """Return the SHA-256 (hex) of everything that can change a clean run or what is told."""
        return self._digest(systems={"__all__": {"entry", "hub", "leaf"}})

    def _digest(self, **left_out: Any) -> str:
        content = self.model_dump(mode="json", exclude={"root": True, **left_out})
        return hashlib.sha256(json.dumps([content, PACKAGINGS], sort_keys=True).encode()).hexdigest()


def load_attack(path: str | os.PathLike[str]) -> AttackPlan:
    """Return the attack plan in a YAML file, its `root` made absolute.

    Raise PlanError with all mistakes and their lines, or UsageError when there is no such file.
    """
    file = Path(path)
    try:
        node = compose(read_text(file, "attack plan", kind="attack"))
    except Unreadable as error:
        raise PlanError(str(path), [error.mistake]) from None
    if node is None:
        raise PlanError(str(path), [Mistake(1, "An attack plan starts with 'masfire: attack/v1'.")])
    mistakes = list(repeated_keys(node))
    data = construct(node)
    plan = None
    try:
        plan = AttackPlan.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        mistakes += [explained(detail, node, AttackPlan) for detail in details[: MAX_MISTAKES + 1]]
    mistakes += repeated_names(data, node)
    if plan is None or mistakes:
        raise PlanError(str(path), mistakes)
    return plan.model_copy(update={"root": os.path.abspath(file.parent / plan.root)})


def dump_attack(plan: AttackPlan, path: Path) -> None:
    """Write a plan as run to `path`; its root becomes relative to the file."""
    content = plan.model_dump(mode="json", exclude_defaults=True)
    content = {"masfire": content.pop("masfire"), **content, "root": os.path.relpath(plan.root, path.parent)}
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")


def attack_schema() -> dict[str, Any]:
    """Return the JSON Schema of an attack plan file."""
    schema = AttackPlan.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "masfire attack/v1"}


__all__ = ["AttackPlan", "Falsehood", "Packaging", "Target", "attack_schema", "dump_attack", "load_attack"]
