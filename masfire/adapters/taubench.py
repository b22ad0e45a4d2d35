"""tau-bench result files (arXiv 2406.12045) as traces, with the calls and outputs that were expected."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from masfire.adapters.chatlog import ROLES, Conversation, read_runs
from masfire.adapters.imported import Imported, Unread, read_json
from masfire.trace.model import Header
from masfire.trace.payload import pack_or_refuse

SHAPE = "a list of runs with `task_id`, `reward`, `traj` (chat messages) and `info.task`"
_KNOWN = frozenset({"task_id", "reward", "info", "traj", "trial", "records"})


def recognizes(data: Any) -> bool:
    """Return whether a decoded JSON value is a tau-bench result file."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and {"task_id", "reward", "traj"} <= first.keys()


def read(path: str | Path) -> list[Imported]:
    """Return the runs of one result file; raise UsageError for another shape."""
    return convert(read_json(path), where=str(path))


def convert(data: Any, *, where: str = "", system: str = "tau-bench") -> list[Imported]:
    """Return decoded runs as imported runs.

    `expected` is {"actions": [{"name", "kwargs"}], "outputs": [text]} as the task's author wrote it;
    a run succeeded when its reward is 1. The group is the task.
    """
    unread = Unread("tau-bench result file", SHAPE, where)
    return [_run(run, index, unread, system) for index, run in enumerate(read_runs(data, unread))]


def _run(run: dict[str, Any], index: int, unread: Unread, system: str) -> Imported:
    if not {"task_id", "reward", "traj"} <= run.keys():
        raise unread.problem(f"run {index} lacks `task_id`, `reward` or `traj`")
    conversation = Conversation()
    if not isinstance(run["traj"], list):
        raise unread.problem(f"`traj` of run {index} must be a list")
    for place, message in enumerate(run["traj"]):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise unread.problem(
                f"message {place} of run {index} must have one of the roles {', '.join(ROLES)}"
            )
        conversation.add(message)
    info = run.get("info")
    task = info.get("task") if isinstance(info, dict) else None
    task = task if isinstance(task, dict) else {}
    for key in ("actions", "outputs"):
        if not isinstance(task.get(key, []), list):
            raise unread.problem(f"`info.task.{key}` of run {index} must be a list")
    if not all(isinstance(one, dict) and "name" in one for one in task.get("actions", [])):
        raise unread.problem(f"an expected action of run {index} has no `name`")
    name = f"{run['task_id']}-{run.get('trial', 0)}"
    header = Header(
        run=f"{system}-{name}",
        system=system,
        task=pack_or_refuse({"instruction": task.get("instruction", "")}),
    )
    return Imported(
        trace=conversation.trace(header, "completed", _passed(run["reward"], unread, index)),
        group=str(run["task_id"]),
        expected={"actions": task.get("actions", []), "outputs": task.get("outputs", [])},
        ignored=dict(conversation.ignored + Counter(f"field {key}" for key in run if key not in _KNOWN)),
        begins=tuple(conversation.begins),
    )


def _passed(reward: Any, unread: Unread, index: int) -> bool:
    if isinstance(reward, bool) or not isinstance(reward, (int, float)):
        raise unread.problem(f"`reward` of run {index} must be a number")
    return reward >= 1.0
