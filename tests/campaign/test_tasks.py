"""Tasks come from files or modules, are filtered, and are refused with their line."""

from pathlib import Path

import pytest

from masfire.campaign.plan import Plan
from masfire.campaign.tasks import load_tasks, resolve
from masfire.errors import UsageError

SYSTEM = [{"name": "a", "system": "m:b", "run": "m:r", "check": "m:c"}]


def plan(root: Path, **tasks: object) -> Plan:
    return Plan.model_validate({"masfire": "plan/v1", "systems": SYSTEM, "tasks": tasks, "root": str(root)})


def test_a_file_is_filtered_and_limited(tmp_path: Path) -> None:
    lines = [f'{{"id": "t{n}", "split": "{"dev" if n % 2 else "held"}"}}' for n in range(6)]
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines) + "\n\n")
    found = load_tasks(plan(tmp_path, source="tasks.jsonl", filter={"split": "dev"}, limit=2))
    assert [task["id"] for task in found] == ["t1", "t3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{]\n", r"tasks.jsonl:1: This is no JSON"),
        ('{"id": "a"}\n{"name": "b"}\n', r"tasks.jsonl:2: A task is an object with a text 'id'"),
        ('{"id": 3}\n', "text 'id'"),
        ('{"id": "a", "x": NaN}\n', "no plain JSON"),
        ('{"id": "a", "x": "\\ud800"}\n', "no plain JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"id": "a"}\n{"id": "a"}\n', "share an id: a"),
        ("", "No task"),
    ],
)
def test_bad_tasks_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tasks.jsonl").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_tasks(plan(tmp_path, source="tasks.jsonl"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_tasks(plan(tmp_path, source="none.jsonl"))


def test_modules_are_looked_up_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "desk_of_this_test.py").write_text("def tasks():\n    yield {'id': 'x'}\nTEXT = 'abc'\n")
    assert load_tasks(plan(tmp_path, source="desk_of_this_test:tasks")) == [{"id": "x"}]
    with pytest.raises(UsageError, match="no iterable of tasks"):
        load_tasks(plan(tmp_path, source="desk_of_this_test:TEXT"))
    with pytest.raises(UsageError, match="has no 'nothing'"):
        resolve("desk_of_this_test:nothing", str(tmp_path))
    with pytest.raises(UsageError, match="no module 'absent_module'"):
        resolve("absent_module:x", str(tmp_path))
