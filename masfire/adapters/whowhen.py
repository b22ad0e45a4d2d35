"""Who&When failure logs (arXiv 2505.00212) as traces with their labels."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from masfire.adapters.imported import Imported, Unread, read_json, trace_of_messages
from masfire.diagnosis.model import Label

_PARENTHESIS = re.compile(r"\(([^()]*)\)$")
_KNOWN_KEYS = frozenset(
    {
        "is_correct", "is_corrected", "question", "question_ID", "level", "ground_truth", "history",
        "mistake_agent", "mistake_step", "mistake_reason", "mistake_type", "system_prompt", "labels",
    }
)  # fmt: skip
_KNOWN_ENTRY = frozenset({"content", "name", "role"})

SHAPE = (
    "an object with `question`, `history` (a list of {content, role[, name]}), `mistake_agent` "
    "and `mistake_step`"
)


def recognizes(data: Any) -> bool:
    """Return whether a decoded JSON value has the shape of a Who&When log."""
    return isinstance(data, dict) and {"history", "mistake_step", "question"} <= data.keys()


def read(path: str | Path) -> Imported:
    """Return one log as an imported run; raise UsageError (file, what is wrong) for another shape.

    A turn of `history` is the step of the same index. In hand-crafted logs the speaker stands in
    `role`, `Orchestrator (-> WebSurfer)`: the parenthesis becomes the step's role and addressee.
    The expected answer is kept in `expected`, never in the trace.
    """
    return convert(read_json(path), where=str(path))


def convert(data: Any, *, where: str = "") -> Imported:
    """Return a decoded log as an imported run; raise UsageError for another shape."""
    unread = Unread("Who&When log", SHAPE, where)
    if not recognizes(data):
        raise unread.shape(data)
    history = data["history"]
    if not isinstance(history, list) or not history:
        raise unread.problem("`history` must be a list with at least one turn")
    ignored: Counter[str] = Counter(f"field {key}" for key in data if key not in _KNOWN_KEYS)
    named = any(isinstance(turn, dict) and turn.get("name") for turn in history)
    turns = []
    for index, turn in enumerate(history):
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            raise unread.problem(f"history[{index}] must be an object with the text `content`")
        ignored.update(f"turn field {key}" for key in turn if key not in _KNOWN_ENTRY)
        turns.append(_turn(turn, named=named))
    system = "whowhen/algorithm_generated" if named else "whowhen/hand_crafted"
    trace = trace_of_messages(
        turns,
        run=_name(where, system),
        system=system,
        task={"question": data["question"]},
        status="completed",
        success=False,
    )
    return Imported(
        trace=trace,
        label=_label(data, history, unread),
        group=str(data.get("question_ID") or data["question"]),
        expected=data.get("ground_truth"),
        ignored=dict(ignored),
    )


def _name(where: str, system: str) -> str:
    """Return the file's name, with its folder's where that is the data set's: both halves count from 1."""
    if not where:
        return system
    path, half = Path(where), system.rsplit("/", 1)[-1]
    folder = path.parent.name.lower().replace("-", "_")
    return f"{half}-{path.stem}" if folder == half else path.stem


def speaker(turn: dict[str, Any], *, named: bool) -> tuple[str, str]:
    """Return (agent, detail) of a turn: the name, and what stood in its parenthesis."""
    raw = str((turn.get("name") if named else turn.get("role")) or turn.get("role") or "unknown")
    agent, detail = _parted(raw)
    return ("user" if agent.lower() == "human" else agent), detail


def _parted(raw: str) -> tuple[str, str]:
    """Return a name without the parenthesis at its end, and what stands in that."""
    found = _PARENTHESIS.search(raw.rstrip())
    return (raw[: found.start()].rstrip(), found.group(1)) if found else (raw, "")


def _turn(turn: dict[str, Any], *, named: bool) -> dict[str, Any]:
    agent, detail = speaker(turn, named=named)
    if detail.startswith("->"):
        to, role = (detail[2:].strip(),), "dispatch"
    else:
        to, role = ("group",), "tool" if "terminal" in agent.lower() else detail
    return {"agent": agent, "role": role, "to": to, "content": turn["content"]}


def _label(data: dict[str, Any], history: list[Any], unread: Unread) -> Label:
    try:
        step = int(data["mistake_step"])
    except (TypeError, ValueError, OverflowError):
        raise unread.problem("`mistake_step` must be a number (as text)") from None
    if not 0 <= step < len(history):
        raise unread.problem(f"`mistake_step` is {step}, but history has {len(history)} turns (0-based)")
    agent, _ = _parted(str(data.get("mistake_agent", "")))
    return Label(agent=agent, step=step, reason=str(data.get("mistake_reason", "")), source="Who&When")
