"""Reading a plan from YAML: every mistake at once, each with its line."""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct
from pydantic import BaseModel, ValidationError

from masfire.campaign.plan import ALL, Plan
from masfire.errors import MasfireError, UsageError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_MISTAKES = 50
"""Mistakes that are told; who makes more has other worries."""
_WIDEST = 400
_LONGEST_NUMBER = 128
"""Bits; a longer whole number is no count of anything, and its digits are many."""


_UNTEXT = re.compile("[\0\ud800-\udfff]")
_PASSWORD = re.compile(r"://[^/\s]*@")
_BAD_SCALAR = (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError)
"""What PyYAML raises for ``!!int ""``, ``!!bool x``, ``!!timestamp x``, an impossible date, 5,000 digits."""


class Mistake(Struct, frozen=True, order=True):
    """One thing that is wrong in a plan; `line` is 1-based."""

    line: int
    what: str


class PlanError(UsageError):
    """A plan that cannot be run; `mistakes` lists everything that is wrong with it."""

    def __init__(self, path: str, mistakes: Sequence[Mistake]) -> None:
        found = sorted(set(mistakes))
        self.mistakes = tuple(found[:MAX_MISTAKES])
        lines = [f"{path}:{mistake.line}: {mistake.what}" for mistake in self.mistakes]
        more = "at least " if len(found) > MAX_MISTAKES else ""
        count = "1 mistake" if len(lines) == 1 else f"{more}{len(lines)} mistakes"
        super().__init__("\n".join([f"{path} has {count}.", *lines]))


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Return the plan in the file at `path`, its `root` made absolute.

    Raise PlanError with all mistakes and their lines, or UsageError when there is no such file.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)  # what is no regular file has no size to ask for
        if len(raw) > MAX_BYTES:
            raise UsageError(f"The plan {file} is larger than {MAX_BYTES} bytes.")
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The plan {file} cannot be read: {error}.") from None
    plan = parse_plan(text, name=str(path))
    return plan.model_copy(update={"root": os.path.abspath(file.parent / plan.root)})


def parse_plan(text: str, *, name: str = "plan.yaml") -> Plan:
    """Return the plan that YAML `text` describes; `name` is what errors call the file."""
    node = _compose(text, name)
    mistakes = list(itertools.islice(_repeated_keys(node), MAX_MISTAKES + 1))
    data = _construct(node)
    plan = None
    try:
        plan = Plan.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        mistakes += [_explain(detail, node) for detail in details[: MAX_MISTAKES + 1]]
    mistakes += itertools.islice(_fault_mistakes(data, node), MAX_MISTAKES + 1)
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


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses aliases and bounds depth and size before anything is built."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem="nested too deeply or too large", problem_mark=mark)
        if isinstance(event, yaml.ScalarEvent) and _UNTEXT.search(event.value):
            raise yaml.MarkedYAMLError(problem="a null character or half a character", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _compose(text: str, name: str) -> yaml.Node:
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise PlanError(
            name, [Mistake(mark.line + 1 if mark else 1, f"This is no YAML: {problem}.")]
        ) from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(node, yaml.MappingNode):
        raise PlanError(name, [Mistake(1, "A plan is a mapping that starts with 'masfire: plan/v1'.")])
    return node


def _construct(node: yaml.Node) -> Any:
    """Return the plain value of a node: scalars by YAML's safe tags, keys always as text."""
    if isinstance(node, yaml.MappingNode):
        return {str(_construct(key)): _construct(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item) for item in node.value]
    constructor = yaml.constructor.SafeConstructor()
    try:
        value = constructor.construct_object(node, deep=True)
    except _BAD_SCALAR:
        return node.value  # an unknown tag or an impossible date: the text, which validation then refuses
    return node.value if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER else value


def _repeated_keys(node: yaml.Node) -> Iterator[Mistake]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            text = str(key.value)
            if text in seen:
                yield Mistake(_line(key), f"Key {_short(text)!r} is already given in line {seen[text]}.")
            seen.setdefault(text, _line(key))
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _find(node: yaml.Node, location: Sequence[int | str]) -> yaml.Node:
    """Return the deepest node on the way of a validation error's location (the key, for a bad key)."""
    for position, part in enumerate(location):
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == str(part):
                    node = key if position == len(location) - 1 else value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
    return node


def _explain(detail: Any, node: yaml.Node) -> Mistake:
    location: tuple[int | str, ...] = detail["loc"]
    line = _line(_find(node, location))
    place = _short(".".join(str(part) for part in location))
    if detail["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(_short(str(location[-1])), known, n=1, cutoff=0.5)
        did = f"Did you mean {near[0]!r}? " if near else ""
        return Mistake(line, f"Unknown key {place!r}. {did}Known: {', '.join(sorted(known))}.")
    if detail["type"] == "missing":
        return Mistake(line, f"Key {place!r} is missing.")
    message = str(detail["msg"]).removeprefix("Value error, ")
    given = detail.get("input")
    shown = "" if isinstance(given, (dict, list)) else f" (got {_short(_PASSWORD.sub('://…@', repr(given)))})"
    message = _short(f"{message[:1].lower()}{message[1:]}")
    return Mistake(line, f"{place}: {message}{shown}.")


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST // 2]}…{text[-_WIDEST // 2 :]}"


def _keys_at(location: Sequence[int | str]) -> list[str]:
    """Return the keys a plan may have at `location`."""
    model: type[BaseModel] = Plan
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
    """Yield what is wrong with the fault addresses and the names of systems."""
    from masfire.faults.base import FaultSpec

    faults = data.get("faults", []) if isinstance(data, Mapping) else []
    for index, address in enumerate(faults if isinstance(faults, list) else [faults]):
        if not isinstance(address, str) or address == ALL:
            continue
        where = ("faults", index) if isinstance(faults, list) else ("faults",)
        try:
            FaultSpec.parse(address)
        except MasfireError as error:
            yield Mistake(_line(_find(node, where)), _short(str(error)))
    seen: set[str] = set()
    systems = data.get("systems") if isinstance(data, Mapping) else None
    for index, system in enumerate(systems if isinstance(systems, list) else []):
        name = system.get("name") if isinstance(system, Mapping) else None
        if isinstance(name, str) and name in seen:
            line = _line(_find(node, ("systems", index, "name")))
            yield Mistake(line, f"Two systems are called {_short(name)!r}.")
        seen.add(str(name))
