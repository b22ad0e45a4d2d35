"""`masfire diagnose` on a campaign's folder: fitting, repeats, repair, a memory, a (scripted) model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from masfire.campaign.planfile import load_plan
from masfire.campaign.results import Results
from masfire.campaign.runner import RESULTS_FILE, Campaign
from masfire.cli import execute
from tests.support import logs
from tests.support.adders import script, write_plan
from tests.support.fake_openai import FakeOpenAI


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    tmp_path = tmp_path_factory.mktemp("diagnose")
    with FakeOpenAI(script) as server:
        Campaign(load_plan(write_plan(tmp_path / "plan.yaml", server.url)), tmp_path / "out").run()
        yield tmp_path / "out"


def failed_trace(folder: Path) -> Path:
    with Results(folder / RESULTS_FILE, readonly=True) as results:
        row = next(row for row in results if row.state == "witnessed" and row.success is False)
    return folder / "traces" / row.trace


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    capsys.readouterr()
    code = execute(["diagnose", *map(str, words), "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_blame_is_confirmed_by_repair(folder, capsys):
    code, (found,) = asked(capsys, failed_trace(folder), "--confirm", folder, "--blame")
    assert code == 0
    last = found["confirmed"]["trials"][-1]
    assert last["verdict"] == "confirmed"
    assert found["confirmed"]["blame"][0][0] == last["agent"]
    execute(["diagnose", str(failed_trace(folder)), "--confirm", str(folder)])
    assert "re-runs" in capsys.readouterr().out


def test_fitting_on_a_campaign_reads_its_traces_and_says_what_it_passed_over(folder, tmp_path, capsys):
    out = tmp_path / "fit.json"
    code, result = asked(capsys, "--fit", folder, "--out", out)
    assert code == 0
    assert result["used"] >= 2
    assert sum(result["skipped"].values()) > 0
    code, (found,) = asked(capsys, failed_trace(folder), "--scorer", out)
    assert code in (0, 3)
    assert "learned" in found["layers"]


def test_foreign_files_between_the_logs_are_passed_over_and_counted(tmp_path, capsys):
    for index in range(10):
        logs.write(tmp_path / "runs", f"{index}.json", logs.whowhen(culprit=index % 4, question=f"q{index}"))
    logs.write(tmp_path / "runs", "settings.json", {"color": "blue"})
    logs.write(tmp_path / "runs", "more.json", {"color": "red"})
    code, result = asked(capsys, "--fit", tmp_path / "runs", "--out", tmp_path / "fit.json")
    assert (code, result["used"]) == (0, 10)
    assert [count for reason, count in result["skipped"].items() if "no runs" in reason] == [2]
    assert result["layers"][0]["weights"].keys() >= {"learned"}


def test_repeats_of_the_task_are_evidence(folder, tmp_path, capsys):
    code, (found,) = asked(capsys, failed_trace(folder), "--runs", folder)
    assert code in (0, 3)
    spectrum = [
        one for suspect in found["suspects"] for one in suspect["because"] if one["layer"] == "spectrum"
    ]
    assert spectrum
    assert "passed runs" in spectrum[0]["text"]
    (tmp_path / "empty").mkdir()
    assert execute(["diagnose", str(failed_trace(folder)), "--runs", str(tmp_path / "empty")]) == 2


def test_a_memory_recognises_what_was_learned(folder, tmp_path, capsys):
    memory = tmp_path / "memory.sqlite"
    assert execute(["learn", str(folder), "--memory", str(memory)]) == 0
    _, (found,) = asked(capsys, failed_trace(folder), "--memory", memory)
    assert "schema" in found["layers"]
    assert any(one["layer"] == "schema" for suspect in found["suspects"] for one in suspect["because"])
    assert execute(["diagnose", str(failed_trace(folder)), "--memory", str(tmp_path / "none")]) == 2


def test_a_model_is_asked_about_numbered_steps(folder, capsys):
    prompts: list[str] = []

    def judge(_: str, body: dict[str, Any]) -> str:
        prompts.append(body["messages"][-1]["content"])
        return '{"step": 2, "reason": "it invents a number"}'

    trace = failed_trace(folder)
    with FakeOpenAI(judge) as server:
        _, (found,) = asked(capsys, trace, "--model", server.url)
    assert '{"step": 2, "agent"' in prompts[0]
    assert found["suspects"][0]["step"] == 2
    assert any("it invents a number" in one["text"] for one in found["suspects"][0]["because"])


def test_a_model_that_cannot_be_reached_is_an_error(folder, capsys):
    assert execute(["diagnose", str(failed_trace(folder)), "--model", "http://127.0.0.1:9/v1"]) != 0
    assert "did not answer" in capsys.readouterr().err


def test_blame_needs_a_campaign(folder, capsys):
    assert execute(["diagnose", str(failed_trace(folder)), "--blame"]) == 2


def test_a_model_that_names_no_step_is_told(folder, capsys):
    with FakeOpenAI(lambda _, body: "I like cheese.") as server:
        _, (found,) = asked(capsys, failed_trace(folder), "--model", server.url)
    assert len(found["warnings"]) == 1
    assert "it answered 'I like cheese.', which names none of the steps" in found["warnings"][0]


def test_a_campaigns_folder_is_diagnosed_with_its_controls(folder, capsys):
    code, found = asked(capsys, folder)
    assert code in (0, 3)
    assert found
    assert any("counterfactual" in one["layers"] for one in found)
    assert not any(one["warnings"] for one in found)
