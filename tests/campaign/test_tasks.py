"""Tasks come from files or modules, are filtered, and are refused with their line."""

import re
from pathlib import Path

import pytest

from masfire.campaign.plan import Plan
from masfire.campaign.tasks import NoTasks, load_tasks, resolve
from masfire.cli import execute
from masfire.errors import UsageError
from tests.support.plans import GOOD

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


@pytest.mark.parametrize(
    ("source", "near"),
    [
        ("data/taks.jsonl", "data/tasks.jsonl"),
        ("dta/tasks.jsonl", "data/tasks.jsonl"),
        ("./data/task.jsonl", "data/tasks.jsonl"),
        ("data/elsewhere.jsonl", ""),
        ("../nowhere-near-this/tasks.jsonl", ""),
    ],
)
def test_a_misspelt_file_gets_the_nearest(tmp_path: Path, source: str, near: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tasks.jsonl").write_text('{"id": "a"}')
    with pytest.raises(NoTasks) as error:
        load_tasks(plan(tmp_path, source=source))
    assert error.value.hint == (f"Did you mean {near!r}?" if near else "")


@pytest.mark.parametrize(
    ("tasks", "line", "told"),
    [
        ("tasks: taks.jsonl", 7, "Did you mean 'tasks.jsonl'?"),
        ("tasks:\n  limit: 3\n  source: taks.jsonl", 9, "Did you mean 'tasks.jsonl'?"),
        ("tasks: nowhere.at.all:TASKS", 7, "no module 'nowhere'"),
        ("tasks: {source: tasks.jsonl, filter: {split: x}}", 7, "1 were found before the filter"),
    ],
)
def test_the_plan_is_wrong_at_a_line(
    tmp_path: Path, tasks: str, line: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"id": "a"}')
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD.replace("tasks: tasks.jsonl", tasks) + "model: {endpoint: none}\n")
    for command in (
        ["campaign", str(path), "--out", str(tmp_path / "out")],
        ["run", str(path), "--system", "one", "--task", "a", "--out", str(tmp_path / "t.jsonl")],
    ):
        assert execute(command) == 2
        said = capsys.readouterr().err
        assert re.search(rf"{re.escape(str(path))}:{line}:\d+: tasks\S*: ", said)
        assert told in said
        assert not (tmp_path / "out").exists()
