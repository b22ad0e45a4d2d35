"""AgentRx annotations (root causes of failed tau-bench retail runs) beside the runs they label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from masfire.adapters import taubench
from masfire.adapters.chatlog import read_runs
from masfire.adapters.imported import Imported, Unread, read_json
from masfire.diagnosis.model import Label
from masfire.trace.model import USER

SHAPE = (
    "a list of {`trajectory_id`, `failures`: [{`failure_id`, `step_number`, …}], "
    "`root_cause`: {`failure_id`}}"
)


def recognizes(data: Any) -> bool:
    """Return whether a decoded JSON value is a file of AgentRx annotations."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and {"trajectory_id", "failures", "root_cause"} <= first.keys()


def read(runs: str | Path, annotations: str | Path) -> list[Imported]:
    """Return tau-bench runs with the root cause of the annotated ones as their label.

    Source steps count messages from 1; the label is the step at which that message begins. An
    annotation without its run is counted under `ignored` of the first run.
    """
    imported = taubench.convert(read_json(runs), where=str(runs), system="tau-retail")
    unread = Unread("AgentRx annotation file", SHAPE, str(annotations))
    data = read_json(annotations)
    if not recognizes(data):
        raise unread.shape(data)
    for place, annotation in enumerate(read_runs(data, unread)):
        if "trajectory_id" not in annotation:
            raise unread.problem(f"annotation {place} lacks `trajectory_id`")
    notes = {str(one["trajectory_id"]): one for one in data}
    labelled = []
    for one in imported:
        note = notes.pop(one.group, None)
        labelled.append(
            one if note is None else msgspec.structs.replace(one, label=_label(note, one, unread))
        )
    if notes and labelled:
        ignored = {**labelled[0].ignored, "annotation without its run": len(notes)}
        labelled[0] = msgspec.structs.replace(labelled[0], ignored=ignored)
    return labelled


def _label(note: dict[str, Any], run: Imported, unread: Unread) -> Label:
    where = f"trajectory {note['trajectory_id']}"
    try:
        root = str(note["root_cause"]["failure_id"])
        failure = next(one for one in note["failures"] if str(one["failure_id"]) == root)
        place = int(failure["step_number"]) - 1
    except (KeyError, TypeError, ValueError, OverflowError, StopIteration):
        raise unread.problem(f"{where} has no failure that its root cause names") from None
    if not 0 <= place < len(run.begins):
        raise unread.problem(f"{where} blames step {place + 1} of {len(run.begins)}")
    blamed = str(failure.get("failed_agent", "")).lower()
    return Label(
        agent=USER if "user" in blamed else "assistant",
        step=run.begins[place],
        reason=str(failure.get("step_reason", "")),
        category=str(failure.get("failure_category", "")),
        taxonomy="agentrx",
        source="AgentRx",
    )
