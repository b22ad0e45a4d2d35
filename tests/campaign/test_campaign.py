"""A campaign on two tiny systems and a scripted model: real sockets, processes and files."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from masfire.campaign.planfile import load_plan
from masfire.campaign.results import Results, RunResult
from masfire.campaign.runner import Campaign, Progress
from masfire.campaign.summary import Summary, summary_schema
from masfire.errors import MasfireError, UsageError
from masfire.trace.io import read_trace
from tests.support.adders import script, write_plan
from tests.support.fake_openai import FakeOpenAI


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(script) as server:
        yield server


def run(tmp_path: Path, model: FakeOpenAI, *, resume: bool = False, **changes: str) -> Summary:
    plan = load_plan(write_plan(tmp_path / "plan.yaml", model.url, **changes))
    return Campaign(plan, tmp_path / "out", resume=resume).run()


def rows(tmp_path: Path) -> list[RunResult]:
    with Results(tmp_path / "out" / "results.sqlite", readonly=True) as results:
        return list(results)


def one(run: str = "run", check: str = "check") -> str:
    m = "tests.support.adders"
    return f'[{{name: once, system: "{m}:build", run: "{m}:{run}", check: "{m}:{check}"}}]'


def only(tmp_path: Path, server: FakeOpenAI, *, resume: bool = False, **changes: str) -> Summary:
    """Run a plan whose only system runs and checks as `changes["system"]` and `["check"]` say."""
    file = write_plan(tmp_path / "plan.yaml", server.url)
    text = file.read_text().split("systems:\n")
    rest = text[1].split("\ntasks:")[1]
    how = {key: changes.pop(key) for key in ("run", "check") if key in changes}
    file.write_text(f"{text[0]}systems: {one(**how)}\ntasks:{rest}")
    for key, value in changes.items():
        kept = [line for line in file.read_text().splitlines() if not line.startswith(f"{key}:")]
        file.write_text("\n".join([*kept, f"{key}: {value}", ""]))
    return Campaign(load_plan(file), tmp_path / "out", resume=resume).run()


def test_the_redundant_system_survives_what_the_plain_one_does_not(tmp_path: Path, model: FakeOpenAI) -> None:
    seen: list[Progress] = []
    plan = load_plan(write_plan(tmp_path / "plan.yaml", model.url))
    summary = Campaign(plan, tmp_path / "out", watch=seen.append).run()

    assert [system.solved for system in summary.systems] == [["two", "three"]] * 2
    cells = {cell.system: cell for cell in summary.cells}
    assert (cells["once"].rs.successes, cells["once"].rs.n) == (0, 4)
    assert (cells["twice"].rs.successes, cells["twice"].rs.n) == (4, 4)
    assert cells["once"].states == {"witnessed": 4}
    assert cells["once"].pairs.lost == 4
    assert (cells["once"].ratio, cells["twice"].ratio) == (0.0, 1.0)
    assert (summary.controls, summary.runs, summary.complete, summary.exit_code) == (18, 8, True, 0)
    assert [(p.done, p.total) for p in seen if p.phase == "faults"][-1] == (8, 8)

    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "plan.yaml", "results.sqlite", "summary.json", "traces", "workers.log",
    ]  # fmt: skip
    stored = json.loads((out / "summary.json").read_text())
    jsonschema.validate(stored, summary_schema())
    assert Summary.model_validate(stored) == summary
    assert load_plan(out / "plan.yaml") == plan
    assert "working on two" in (out / "workers.log").read_text()
    for row in rows(tmp_path):
        trace = read_trace(out / "traces" / row.trace)
        assert trace.header.run == row.id
        assert trace.header.launch["task"] == row.task
        assert trace.end is not None
        assert trace.end.success == row.success
        assert len(trace) == row.steps > 0
        assert bool(trace.injections) != row.control
    assert len(list((out / "traces").iterdir())) == 26


def test_the_task_nobody_solves_is_not_injected(tmp_path: Path, model: FakeOpenAI) -> None:
    run(tmp_path, model)
    assert {row.task for row in rows(tmp_path) if row.control} == {"two", "three", "wrong"}
    assert {row.task for row in rows(tmp_path) if not row.control} == {"two", "three"}


def test_a_bare_fault_goes_round_the_agents_it_applies_to(tmp_path: Path, model: FakeOpenAI) -> None:
    only(tmp_path, model, faults="[hallucination]", points="rotate")
    aims = [(row.task, row.seed, row.address) for row in rows(tmp_path) if not row.control]
    assert sorted(aims) == [
        ("three", 0, "hallucination@adder"),
        ("three", 1, "hallucination@reader"),
        ("two", 0, "hallucination@reader"),
        ("two", 1, "hallucination@adder"),
    ]
    assert {row.fault for row in rows(tmp_path) if not row.control} == {"hallucination"}


def test_each_strikes_every_agent_and_times_are_kept_apart(tmp_path: Path, model: FakeOpenAI) -> None:
    summary = only(
        tmp_path, model, faults="[hallucination]", points="each", times="[once, every]", seeds="[0]"
    )
    assert [(cell.fault, cell.times, cell.rs.n) for cell in summary.cells] == [
        ("hallucination", "once", 4),
        ("hallucination", "every", 4),
    ]
    aimed = {row.address for row in rows(tmp_path) if row.times == "every"}
    assert aimed == {"hallucination@reader?times=every", "hallucination@adder?times=every"}


def test_a_fault_with_nothing_to_change_is_inapplicable_or_invalid(tmp_path: Path, model: FakeOpenAI) -> None:
    named = only(tmp_path, model, faults="[tool_selection_error]", seeds="[0]")
    assert [cell.verdict for cell in named.cells] == ["invalid"]
    assert named.exit_code == 3
    assert named.cells[0].rs.rate is None


def test_a_cell_short_of_witnesses_gets_further_seeds(tmp_path: Path, model: FakeOpenAI) -> None:
    summary = only(tmp_path, model, seeds="[0]", witnessed="5")
    assert [(cell.verdict, cell.rs.n) for cell in summary.cells] == [("valid", 5)]
    assert {row.seed for row in rows(tmp_path) if not row.control} == {0, 1, 2}
    enough = only(tmp_path, model, seeds="[0]", witnessed="5", resume=True)
    assert enough.runs == 5


def test_a_cell_that_stays_short_says_so(tmp_path: Path, model: FakeOpenAI) -> None:
    summary = only(tmp_path, model, seeds="[0]", controls="1", witnessed="3")
    assert [(cell.verdict, cell.rs.n) for cell in summary.cells] == [("short", 2)]
    assert summary.exit_code == 3


def test_a_run_that_hangs_is_killed_and_the_others_go_on(tmp_path: Path, model: FakeOpenAI) -> None:
    began = time.monotonic()
    summary = only(
        tmp_path, model, run="hang", seeds="[0]", controls="1",
        budget="{seconds: 4}", executor="{workers: 1, grace: 1}",
    )  # fmt: skip
    assert time.monotonic() - began < 60
    assert summary.endings == {"completed": 3, "timeout": 1}
    (late,) = [row for row in rows(tmp_path) if row.status == "timeout"]
    assert (late.task, late.success, late.error) == ("two", False, "killed after 5 seconds")
    trace = read_trace(tmp_path / "out" / "traces" / late.trace)
    assert trace.end is not None
    assert (trace.end.status, len(trace)) == ("timeout", late.steps)
    assert late.steps > 0


def test_a_worker_that_dies_is_a_result_of_its_run(tmp_path: Path, model: FakeOpenAI) -> None:
    summary = only(tmp_path, model, run="vanish", seeds="[0]", controls="1")
    assert summary.endings == {"completed": 3, "error": 1}
    (dead,) = [row for row in rows(tmp_path) if row.status == "error"]
    assert dead.error == "the worker process died (exit code 7)"


def test_what_a_system_raises_is_a_result_of_its_run(tmp_path: Path, model: FakeOpenAI) -> None:
    only(tmp_path, model, run="fail", seeds="[0]", controls="1")
    (failed,) = [row for row in rows(tmp_path) if row.status == "error"]
    assert failed.success is False
    assert failed.error == "RuntimeError: the adder\x1b[31m broke \\ud800"


def test_a_check_that_breaks_judges_nothing(tmp_path: Path, model: FakeOpenAI) -> None:
    summary = only(tmp_path, model, check="check_badly", seeds="[0]", controls="1")
    assert {row.success for row in rows(tmp_path)} == {None}
    assert "ZeroDivisionError" in rows(tmp_path)[0].error
    assert summary.runs == 0
    assert summary.exit_code == 3


def test_a_coroutine_system_and_fresh_processes(tmp_path: Path, model: FakeOpenAI) -> None:
    summary = only(
        tmp_path, model, run="run_later", seeds="[0]", controls="1", executor="{workers: 1, fresh: true}"
    )
    assert (summary.cells[0].rs.successes, summary.cells[0].rs.n) == (0, 2)


def test_missing_objects_stop_the_campaign_with_all_their_names(tmp_path: Path, model: FakeOpenAI) -> None:
    with pytest.raises(MasfireError, match="has no 'sprint'") as caught:
        only(tmp_path, model, run="sprint", check="chek")
    assert "'chek'" in str(caught.value)
    only(tmp_path, model, seeds="[0]", controls="1")  # nothing had run, so the folder is free
    assert rows(tmp_path)


def test_a_campaign_is_not_overwritten_by_accident(tmp_path: Path, model: FakeOpenAI) -> None:
    only(tmp_path, model, seeds="[0]", controls="1")
    before = rows(tmp_path)
    with pytest.raises(UsageError, match="already holds a campaign"):
        only(tmp_path, model, seeds="[0]", controls="1")
    with pytest.raises(UsageError, match="The plan changed"):
        only(tmp_path, model, seeds="[1]", controls="1", resume=True)
    only(tmp_path, model, seeds="[0]", controls="1", resume=True)
    assert rows(tmp_path) == before


def test_one_campaign_at_a_time_in_a_folder(tmp_path: Path, model: FakeOpenAI) -> None:
    only(tmp_path, model, seeds="[0]", controls="1")
    with (
        Results(tmp_path / "out" / "results.sqlite"),
        pytest.raises(UsageError, match="Another campaign is running"),
    ):
        only(tmp_path, model, seeds="[0]", controls="1", resume=True)


def test_replies_come_from_the_cache_the_second_time(tmp_path: Path, model: FakeOpenAI) -> None:
    cache = f"{{endpoint: '{model.url}', name: fake, cache: true, cache_file: '{tmp_path}/shared.sqlite'}}"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = only(tmp_path / "a", model, seeds="[0]", controls="1", model=cache)
    asked = len(model.requests)
    second = only(tmp_path / "b", model, seeds="[0]", controls="1", model=cache)
    assert first.model.replies["live"] > 0
    assert set(second.model.replies) == {"cache"}
    assert len(model.requests) == asked
    assert second.cells[0].rs == first.cells[0].rs
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("shared")] == ["shared.sqlite"]


def test_a_finished_campaign_leaves_no_log_beside_its_databases(tmp_path: Path, model: FakeOpenAI) -> None:
    own = f"{{endpoint: '{model.url}', name: fake, cache: true}}"
    only(tmp_path, model, seeds="[0]", controls="1", model=own)
    assert rows(tmp_path)
    found = sorted(path.name for path in (tmp_path / "out").iterdir() if "sqlite" in path.name)
    assert found == ["replies.sqlite", "results.sqlite"]


def test_a_result_cannot_be_counted_twice(tmp_path: Path) -> None:
    result = RunResult("id", "s", "m", "", "", "", "t", 0, "completed", error="lone \udc80")
    with Results(tmp_path / "results.sqlite") as results:
        results.add(result)
        with pytest.raises(sqlite3.IntegrityError):
            results.add(result)
        assert [row.error for row in results] == ["lone \\udc80"]


def test_a_file_that_is_no_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(UsageError, match="cannot be used"):
        Results(tmp_path / "results.sqlite")
    os.unlink(tmp_path / "results.sqlite")
    Results(tmp_path / "results.sqlite").close()
