"""Policies from YAML files (`masfire: policy/v1`): every mistake at once, each with its place."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from masfire import yamlfile
from masfire.errors import MasfireError, UsageError
from masfire.governance.capabilities import SECTIONS, AgentRules, Limits, mistakes_of
from masfire.governance.policy import Breaker, Lineage, Policy, Price, TimeBudget
from masfire.yamlfile import Mistake

MAX_AGENTS = 1_000
_Amount = Annotated[int, Field(ge=0, strict=True)]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BoundFile(_Model):
    """What one argument may be; words as in JSON Schema."""

    type: Literal["", "string", "boolean", "integer", "number", "array", "object", "null"] = ""
    minimum: _Finite | None = None
    maximum: _Finite | None = None
    enum: Annotated[list[str | int | float | bool | None], Field(min_length=1)] | None = None
    pattern: str = Field("", description="RE2 syntax; the whole text must match.")
    min_length: _Amount | None = None
    max_length: _Amount | None = None
    optional: bool = False
    otherwise: Literal["block", "clamp"] = "block"


class CapabilityFile(_Model):
    """One thing an agent may do, within bounds."""

    arguments: dict[str, BoundFile] = {}
    others: bool = Field(True, description="Whether arguments that are not named may be given.")
    calls: _Amount | None = Field(None, description="How often a run's agent may do it.")
    cost: _Number = Field(0.0, description="What one call costs, in the policy's currency.")


class LimitsFile(_Model):
    """What may be used up; what is left out is unlimited."""

    steps: _Amount | None = None
    tokens: _Amount | None = None
    money: _Number | None = None
    seconds: _Number | None = None


class AgentFile(_Model):
    """What one agent may do. Sections map names or patterns (`*`, `?`) to capabilities."""

    tools: dict[str, CapabilityFile] | None = None
    models: dict[str, CapabilityFile] | None = None
    memory_read: dict[str, CapabilityFile] | None = None
    memory_write: dict[str, CapabilityFile] | None = None
    delegations: dict[str, CapabilityFile] | None = None
    messages: dict[str, CapabilityFile] | None = None
    termination: dict[str, CapabilityFile] | None = None
    events: dict[str, CapabilityFile] | None = None
    deny: list[str] = []
    budget: LimitsFile | None = None

    @model_validator(mode="after")
    def _denials(self) -> AgentFile:
        for entry in self.deny:
            kind, colon, _ = entry.rpartition(":")
            if colon and kind not in (*SECTIONS, "*"):
                near = difflib.get_close_matches(kind, SECTIONS, n=1)
                did = f"Did you mean {near[0]!r}? " if near else ""
                raise ValueError(f"Kind {kind!r} is unknown in {entry!r}. {did}Known: {', '.join(SECTIONS)}")
        return self


class PriceFile(_Model):
    """What a model costs per million tokens."""

    tokens_in: _Number = 0.0
    tokens_out: _Number = 0.0


class LineageFile(_Model):
    """How messages are screened."""

    mode: Literal["speed", "balanced", "strict"] = "balanced"
    hubs: list[str] = Field([], description="Agents that gather, summarise or decide.")
    retries: _Amount = 2
    tag: str = "[unverified]"
    trusted: list[str] = ["user"]
    tools_trusted: bool = True
    instructions: list[str] = []
    grounded: list[str] = Field([], description="Slots that may only hold what is confirmed.")
    classes: list[list[str]] = Field([], description="Phrases of which one excludes the others.")
    repair: bool = True
    atomic: bool = True
    screen: bool = True
    enforce: bool = True


class BreakerFile(_Model):
    """When a tool that keeps failing is left alone."""

    failures: Annotated[int, Field(ge=1, strict=True)] = 5
    seconds: _Number = 30.0


class TimeBudgetFile(_Model):
    """Seconds for a chain of tool calls, shared out by recorded latencies."""

    seconds: _Number
    chain: Annotated[list[str], Field(min_length=1, max_length=100)]
    latencies: dict[str, list[_Number]] = {}


class PolicyFile(_Model):
    """What governance holds agents to."""

    masfire: Literal["policy/v1"]
    agents: Annotated[dict[str, AgentFile], Field(max_length=MAX_AGENTS)] = {}
    run: LimitsFile | None = None
    contracts: list[str] = Field([], description="Contract files, folders (relative to this file) or packs.")
    retries: bool = Field(True, description="Whether the two built-in retry contracts hold.")
    lineage: LineageFile | None = None
    breaker: BreakerFile | None = None
    quarantine: Annotated[int, Field(ge=1, strict=True)] | None = None
    prices: dict[str, PriceFile] = {}
    seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    time_budget: TimeBudgetFile | None = None
    closed: bool = Field(False, description="Whether models, messages and the rest need a rule, as tools do.")


class PolicyErrors(UsageError):
    """A policy file that cannot be used; `mistakes` lists everything that is wrong with it."""

    def __init__(self, path: str, mistakes: Sequence[Mistake]) -> None:
        found = sorted(set(mistakes))
        self.mistakes = tuple(found[: yamlfile.MAX_MISTAKES])
        count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
        lines = [f"{path}:{one.line}:{one.column}: {one.what}" for one in self.mistakes]
        super().__init__("\n".join([f"{path} has {count}.", *lines]))


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Return the policy in a file; its contract files are found relative to it.

    Raise PolicyErrors with all mistakes and their places, or UsageError when there is no such file.
    """
    file = Path(path)
    return parse_policy(yamlfile.read_text(file, "policy", kind="policy"), name=str(path), folder=file.parent)


def parse_policy(text: str, *, name: str = "policy.yaml", folder: Path | None = None) -> Policy:
    """Return the policy that a YAML text describes; `name` is what errors call the file."""
    try:
        node = yamlfile.compose(text, plain=True)
    except yamlfile.Unreadable as error:
        raise PolicyErrors(name, [error.mistake]) from None
    data = yamlfile.construct(node) if node is not None else None
    if node is None or not isinstance(data, dict):
        raise PolicyErrors(
            name, [Mistake(1, "A policy is a mapping that starts with 'masfire: policy/v1'.", 1)]
        )
    mistakes = [*yamlfile.repeated_keys(node), *_empty(data, node)]
    read: PolicyFile | None = None
    try:
        read = PolicyFile.model_validate(data)
    except ValidationError as error:
        mistakes += [
            _explained(detail, node)
            for detail in error.errors(include_url=False)
            if detail["input"] is not None or type(detail["loc"][-1]) is int  # an empty key is told already
        ]
    if read is None or mistakes:
        raise PolicyErrors(name, mistakes)
    policy = _value(read, name)
    for wrong in mistakes_of(policy.agents):
        agent, section, capability, argument = (wrong.where.split("/", 3) + [""] * 4)[:4]
        where = yamlfile.find(node, ("agents", agent, section, capability, "arguments", argument))
        what = f"{argument}: {wrong.message} {wrong.hint}"
        mistakes.append(Mistake(yamlfile.line_of(where), what, yamlfile.column_of(where)))
    contracts = _contracts(read, folder, node, mistakes)
    if mistakes:
        raise PolicyErrors(name, mistakes)
    return msgspec.structs.replace(policy, contracts=contracts)


def _empty(data: Any, node: Any, path: tuple[int | str, ...] = ()) -> Iterator[Mistake]:
    """Yield the keys without a value: nobody can tell whether that was to allow all or nothing."""
    if isinstance(data, dict):
        for key, value in data.items():
            here = (*path, key)
            if value is None:
                where = yamlfile.find(node, here)
                place = yamlfile.short(".".join(map(str, here)))
                what = f"{place!r} is empty: give it a value ({{}} where it is a mapping), or drop it."
                yield Mistake(yamlfile.line_of(where), what, yamlfile.column_of(where))
            yield from _empty(value, node, here)
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _empty(item, node, (*path, index))


def _value(read: PolicyFile, name: str) -> Policy:
    fields: dict[str, Any] = read.model_dump(exclude={"masfire", "contracts"}, exclude_unset=True)
    for agent in fields.get("agents", {}).values():
        agent.setdefault("deny", [])
    made = {key: msgspec.convert(value, _TYPES[key]) for key, value in fields.items()}
    return Policy(source=name, **made)


_TYPES: dict[str, Any] = {
    "agents": dict[str, AgentRules], "run": Limits | None, "retries": bool, "lineage": Lineage | None,
    "breaker": Breaker | None, "quarantine": int | None, "prices": dict[str, Price], "seconds": float,
    "time_budget": TimeBudget | None, "closed": bool,
}  # fmt: skip


def _contracts(read: PolicyFile, folder: Path | None, node: Any, mistakes: list[Mistake]) -> tuple[Any, ...]:
    """Return the contracts that a policy names; what cannot be read is added to the mistakes, one a name."""
    from masfire.contracts.loader import load_contracts, pack_names

    paths: list[str | Path] = []
    for place, named in enumerate(read.contracts):
        path = named if named in pack_names() or folder is None else folder / named
        try:
            load_contracts(path)
        except MasfireError as error:
            where = yamlfile.find(node, ("contracts", place))
            near = difflib.get_close_matches(yamlfile.short(named), pack_names(), n=1)
            did = f" Did you mean the pack {near[0]!r}?" if near else ""
            mistakes.append(Mistake(yamlfile.line_of(where), f"{error}{did}", yamlfile.column_of(where)))
        else:
            paths.append(path)
    if not paths:
        return ()
    try:
        return load_contracts(*paths)
    except MasfireError as error:  # one id in two of them
        where = yamlfile.find(node, ("contracts",))
        mistakes.append(Mistake(yamlfile.line_of(where), str(error), yamlfile.column_of(where)))
        return ()


def _explained(detail: Any, node: Any) -> Mistake:
    location: tuple[int | str, ...] = detail["loc"]
    where = yamlfile.find(node, location)
    line, column = yamlfile.line_of(where), yamlfile.column_of(where)
    place = yamlfile.short(".".join(str(part) for part in location))
    if detail["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(yamlfile.short(str(location[-1])), known, n=1, cutoff=0.5)
        did = f"Did you mean {near[0]!r}? " if near else ""
        return Mistake(line, f"Unknown key {place!r}. {did}Known: {', '.join(sorted(known))}.", column)
    if detail["type"] == "missing":
        return Mistake(line, f"Key {place!r} is missing.", column)
    message = str(detail["msg"]).removeprefix("Value error, ")
    return Mistake(line, f"{place}: {message}.".replace("..", "."), column)


def _keys_at(location: Sequence[int | str]) -> list[str]:
    """Return the keys that may stand where a validation error points."""
    model: Any = PolicyFile
    for part in location:
        fields: Mapping[str, Any] = getattr(model, "model_fields", {})
        if part not in fields:
            continue  # a name that the user chose
        found = _models_in(fields[str(part)].annotation)
        model = found[0] if found else model
    return sorted(getattr(model, "model_fields", {}))


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _filled(part: Any) -> Any:
    """Return a schema in which no key may be left empty: `null` stands for what is left out altogether."""
    if isinstance(part, list):
        return [_filled(item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: _filled(item) for key, item in part.items()}
    if found.get("default", 0) is None and "anyOf" in found:
        del found["default"]
        kinds = [kind for kind in found.pop("anyOf") if kind != {"type": "null"}]
        found = {**found, **kinds[0]} if len(kinds) == 1 else {**found, "anyOf": kinds}
    return found


def schema() -> dict[str, Any]:
    """Return the JSON Schema of policy files, as published in `policy.schema.json`."""
    published = _filled(PolicyFile.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **published}


__all__ = ["PolicyErrors", "load_policy", "parse_policy", "schema"]
