"""The tasks of a plan: objects with an id, from a JSON Lines file or an importable iterable."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from masfire.campaign.plan import Misplanned, Plan, Tasks
from masfire.errors import MasfireError, UsageError

MAX_TASK_BYTES = 8 << 20


class NoTasks(Misplanned):
    """What a plan says under `tasks` gives none: the plan is wrong there, not the tasks."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, location=("tasks", "source"))


def load_tasks(plan: Plan) -> list[dict[str, Any]]:
    """Return the plan's tasks in order, filtered and limited.

    Raise NoTasks when there are none, UsageError when a task has no id, or two have the same.
    """
    wanted = plan.tasks
    found = _of_file(Path(plan.root, wanted.source), wanted.source) if _is_file(wanted) else _of_module(plan)
    tasks = [task for task in found if all(task.get(key) == value for key, value in wanted.filter.items())]
    if not tasks:
        raise NoTasks(
            f"No task of {wanted.source!r} is left to run.",
            hint=f"{len(found)} were found before the filter {wanted.filter}.",
        )
    twice = sorted(name for name, n in Counter(task["id"] for task in tasks).items() if n > 1)
    if twice:
        raise UsageError(f"Tasks of {wanted.source!r} share an id: {', '.join(twice)}.")
    return tasks[: wanted.limit]


def tasks_digest(tasks: list[dict[str, Any]]) -> str:
    """Return the SHA-256 (hex) of the tasks' content and order."""
    return hashlib.sha256(json.dumps(tasks, sort_keys=True).encode()).hexdigest()


def resolve(reference: str, root: str) -> Any:
    """Return the object ``package.module:name``, looked up from the directory `root` first.

    Raise UsageError saying which part does not exist.
    """
    if root and root not in sys.path:
        sys.path.insert(0, root)
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{reference!r} cannot be imported: no module {error.name!r}.",
            hint=f"Modules are looked up from {root} and the installed packages.",
        ) from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything while it is imported
        raise UsageError(
            f"{reference!r} cannot be imported: {module_name} raises {type(error).__name__}: {error}."
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{reference!r} cannot be imported: {module_name} has no {part!r}.")
        found = getattr(found, part)
    return found


def _is_file(tasks: Tasks) -> bool:
    return ":" not in tasks.source or tasks.source.endswith((".jsonl", ".ndjson"))


def _of_module(plan: Plan) -> list[dict[str, Any]]:
    try:
        found = resolve(plan.tasks.source, plan.root)
    except UsageError as error:
        raise NoTasks(error.message, hint=error.hint) from error
    try:
        found = found() if callable(found) else found
        if not isinstance(found, Iterable) or isinstance(found, (str, bytes, dict)):
            raise NoTasks(f"{plan.tasks.source!r} is no iterable of tasks.")
        items = list(found)
    except MasfireError:
        raise
    except (Exception, SystemExit) as error:  # as above
        raise NoTasks(f"{plan.tasks.source!r} raises {type(error).__name__}: {error}.") from error
    return [_task(item, f"{plan.tasks.source}[{index}]") for index, item in enumerate(items)]


def _of_file(path: Path, source: str) -> list[dict[str, Any]]:
    tasks = []
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_TASK_BYTES + 1), b""), 1):
                if len(line) > MAX_TASK_BYTES:
                    raise UsageError(f"{path}:{number}: a task is larger than {MAX_TASK_BYTES} bytes.")
                if line.strip():
                    tasks.append(_task(_decode(line, f"{path}:{number}"), f"{path}:{number}"))
    except OSError as error:
        near = _nearest(path, source) if isinstance(error, FileNotFoundError) else ""
        raise NoTasks(
            f"The tasks {path} cannot be read: {error.strerror}.",
            hint=f"Did you mean {near!r}?" if near else "",
        ) from None
    return tasks


def _nearest(path: Path, source: str) -> str:
    """Return `source`, its first part that does not exist spelt like what stands there; or nothing."""
    missing = next(part for part in (path, *path.parents) if part.parent.is_dir() and not part.exists())
    names = sorted(item.name for item in missing.parent.iterdir())
    near = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.6)
    if not near:
        return ""
    back = len(path.parts) - len(missing.parts) + 1
    parts = list(Path(source).parts)
    return str(Path(*parts[:-back], near[0], *parts[len(parts) - back + 1 :])) if back <= len(parts) else ""


def _decode(line: bytes, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"This is no JSON: {error}.", where=where) from None


def _task(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not item["id"]:
        raise UsageError("A task is an object with a text 'id'.", where=where)
    try:
        same = msgspec.json.decode(msgspec.json.encode(item)) == item
    except (TypeError, ValueError, OverflowError, RecursionError):
        same = False
    if not same:
        raise UsageError(
            f"Task {item['id']!r} is no plain JSON.",
            hint="Use text, finite numbers, booleans, null, lists and objects with text keys.",
            where=where,
        )
    return item
