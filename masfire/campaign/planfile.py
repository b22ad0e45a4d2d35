"""Reading a plan from YAML: every mistake at once, each with its line."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from masfire.campaign.plan import ALL, Misplanned, Plan
from masfire.errors import MasfireError, UsageError
from masfire.yamlfile import (
    MAX_MISTAKES,
    Mistake,
    Unreadable,
    at,
    column_of,
    compose,
    construct,
    find,
    line_of,
    read_text,
    repeated_keys,
    short,
)

_PASSWORD = re.compile(r"://[^/\s]*@")


class PlanError(UsageError):
    """A plan that cannot be run; `mistakes` lists everything that is wrong with it."""

    def __init__(self, path: str, mistakes: Sequence[Mistake]) -> None:
        found = sorted(set(mistakes))
        self.mistakes = tuple(found[:MAX_MISTAKES])
        lines = [f"{path}:{_where(mistake)}: {mistake.what}" for mistake in self.mistakes]
        more = "at least " if len(found) > MAX_MISTAKES else ""
        count = "1 mistake" if len(lines) == 1 else f"{more}{len(lines)} mistakes"
        super().__init__("\n".join([f"{path} has {count}.", *lines]))


def _where(mistake: Mistake) -> str:
    return f"{mistake.line}:{mistake.column}" if mistake.column else str(mistake.line)


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Return the plan in the file at `path`, its `root` made absolute.

    Raise PlanError with all mistakes and their lines, or UsageError when there is no such file.
    """
    file = Path(path)
    text = read_text(file, "plan", kind="plan")
    plan = parse_plan(text, name=str(path))
    return plan.model_copy(update={"root": os.path.abspath(file.parent / plan.root)})


@contextlib.contextmanager
def told_where(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise Misplanned of what is done with the (attack) plan at `path` as PlanError with its line."""
    try:
        yield
    except Misplanned as error:
        node = compose(read_text(Path(path), "plan"))
        if node is None:
            raise
        mistakes = []
        for one in (error, *error.others):
            found = at(node, one.location) or at(node, one.location[:1]) or node
            mistakes.append(Mistake(line_of(found), _placed(one), column_of(found)))
        raise PlanError(str(path), mistakes) from error


def _placed(error: Misplanned) -> str:
    """Return the error with its place: a key in full, an item of a list by the list's name."""
    path = error.location
    return f"{'.'.join(map(str, path)) if isinstance(path[-1], str) else path[0]}: {error}"


def parse_plan(text: str, *, name: str = "plan.yaml") -> Plan:
    """Return the plan that YAML `text` describes; `name` is what errors call the file."""
    node = _compose(text, name)
    mistakes = list(itertools.islice(repeated_keys(node), MAX_MISTAKES + 1))
    data = construct(node)
    plan = None
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        mistakes += [explained(detail, node, Plan) for detail in details[: MAX_MISTAKES + 1]]
    mistakes += itertools.islice(_fault_mistakes(data, node), MAX_MISTAKES + 1)
    mistakes += itertools.islice(repeated_names(data, node), MAX_MISTAKES + 1)
    if plan is None or mistakes:
        raise PlanError(name, mistakes)
    return plan


def dump_plan(plan: Plan, path: Path) -> None:
    """Write `plan` as run to `path`, atomically; its root becomes relative to the file."""
    content = plan.model_dump(mode="json", exclude_defaults=True)
    content = {"masfire": content.pop("masfire"), **content}
    content["root"] = os.path.relpath(plan.root or ".", path.parent)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def _compose(text: str, name: str) -> yaml.MappingNode:
    try:
        node = compose(text)
    except Unreadable as error:
        raise PlanError(name, [error.mistake]) from None
    if not isinstance(node, yaml.MappingNode):
        raise PlanError(name, [Mistake(1, "A plan is a mapping that starts with 'masfire: plan/v1'.")])
    return node


def explained(detail: Any, node: yaml.Node, model: type[BaseModel]) -> Mistake:
    """Return what one detail of a ValidationError of `model` says, with its place in the file's tree."""
    location: tuple[int | str, ...] = detail["loc"]
    found = find(node, location)
    line, column = line_of(found), column_of(found)
    place = short(".".join(str(part) for part in location))
    if detail["type"] == "extra_forbidden":
        known = _keys_at(location[:-1], model)
        near = difflib.get_close_matches(short(str(location[-1])), known, n=1, cutoff=0.5)
        did = f"Did you mean {near[0]!r}? " if near else ""
        return Mistake(line, f"Unknown key {place!r}. {did}Known: {', '.join(sorted(known))}.", column)
    if detail["type"] == "missing":
        return Mistake(line, f"Key {place!r} is missing.", column)
    message = str(detail["msg"]).removeprefix("Value error, ")
    given = detail.get("input")
    shown = "" if isinstance(given, (dict, list)) else f" (got {short(_PASSWORD.sub('://…@', repr(given)))})"
    message = short(f"{message[:1].lower()}{message[1:]}")
    return Mistake(line, f"{place}: {message}{shown}.", column)


def _keys_at(location: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """Return the keys that a plan of this model may have at `location`."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next(
            (item for item in inner if isinstance(item, type) and issubclass(item, BaseModel)), model
        )
    return list(model.model_fields)


def _fault_mistakes(data: Any, node: yaml.Node) -> Iterator[Mistake]:
    """Yield what is wrong with the fault addresses."""
    from masfire.faults.base import FaultSpec

    faults = data.get("faults", []) if isinstance(data, Mapping) else []
    for index, address in enumerate(faults if isinstance(faults, list) else [faults]):
        if not isinstance(address, str) or address == ALL:
            continue
        where = ("faults", index) if isinstance(faults, list) else ("faults",)
        try:
            FaultSpec.parse(address)
        except MasfireError as error:
            found = find(node, where)
            yield Mistake(line_of(found), short(str(error)), column_of(found))


def repeated_names(data: Any, node: yaml.Node) -> Iterator[Mistake]:
    """Yield a mistake for each system that is called like one before it."""
    seen: set[str] = set()
    systems = data.get("systems") if isinstance(data, Mapping) else None
    for index, system in enumerate(systems if isinstance(systems, list) else []):
        name = system.get("name") if isinstance(system, Mapping) else None
        if isinstance(name, str) and name in seen:
            twice = find(node, ("systems", index, "name"))
            what = f"Two systems are called {short(name)!r}."
            yield Mistake(line_of(twice), what, column_of(twice))
        seen.add(str(name))
