"""Contracts of a plan: judged in every run, stored beside the results, told in the summary, gated on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from masfire.campaign.executors.local import Lost
from masfire.campaign.orders import Order
from masfire.campaign.plan import Record
from masfire.campaign.planfile import load_plan
from masfire.campaign.results import Results
from masfire.campaign.runner import Campaign
from masfire.campaign.salvage import salvage
from masfire.campaign.summary import Summary
from masfire.campaign.verdicts import digest, load
from masfire.cli import execute
from masfire.errors import UsageError
from masfire.reporting.words import remarks
from masfire.trace.io import read_trace
from tests.support.adders import script, write_plan
from tests.support.fake_openai import FakeOpenAI
from tests.support.traces import write_story

RULES = """\
masfire: contract/v1
contracts:
  - id: two-calls
    formula: "model_call -> count(model_call) <= 2"
  - id: no-teleport
    formula: "tool('teleport') -> false"
"""


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(script) as server:
        yield server


def described(tmp_path: Path, model: FakeOpenAI, rules: str = RULES) -> Path:
    (tmp_path / "rules.yaml").write_text(rules)
    plan = write_plan(tmp_path / "plan.yaml", model.url)
    plan.write_text(f"{plan.read_text()}contracts: {tmp_path / 'rules.yaml'}\n")
    return plan


def test_every_run_is_judged_and_the_summary_tells(tmp_path: Path, model: FakeOpenAI) -> None:
    plan = load_plan(described(tmp_path, model))
    summary = Campaign(plan, tmp_path / "out").run()
    with Results(tmp_path / "out" / "results.sqlite", readonly=True) as results:
        rows, said = list(results), results.verdicts()
    assert set(said) == {row.id for row in rows}
    for row in rows:  # the system `twice` reads at least twice, so that it makes a third call
        two, teleport = said[row.id]
        broken = row.system == "twice"
        assert (two.contract, two.status) == ("two-calls", "violated" if broken else "satisfied")
        assert (two.failed > 0, two.first >= 0) == (broken, broken)
        assert two.applied == row.calls
        assert teleport.status == "vacuous"
    hashes = {read_trace(tmp_path / "out" / "traces" / row.trace).header.contracts_hash for row in rows}
    assert hashes == {digest([str(tmp_path / "rules.yaml")], "")}
    found = {one.contract: one for one in summary.contracts}
    assert found["two-calls"].controls == {"satisfied": 9, "violated": 9}
    assert found["two-calls"].injected == {"satisfied": 4, "violated": 4}
    controls = summary.compliance["controls"]
    assert (controls.runs.successes, controls.runs.n, controls.runs.rate) == (9, 18, 0.5)
    assert 0 < controls.steps.successes < controls.steps.n
    assert Summary.model_validate_json((tmp_path / "out" / "summary.json").read_text()) == summary
    told = "\n".join(remarks(summary))
    assert "Fault-free runs that keep every contract: 0.50 n=18" in told
    assert "Violated contracts: two-calls (9 of 18 fault-free, 4 of 8 witnessed)." in told
    assert "Contracts that never applied: no-teleport." in told


def test_other_contracts_are_another_campaign(tmp_path: Path, model: FakeOpenAI) -> None:
    path = described(tmp_path, model)
    Campaign(load_plan(path), tmp_path / "out").run()
    described(tmp_path, model, RULES.replace("<= 2", "<= 3"))
    with pytest.raises(UsageError, match="contracts changed"):
        Campaign(load_plan(path), tmp_path / "out", resume=True).run()


def test_mistakes_in_contracts_are_told_before_anything_runs(tmp_path: Path, model: FakeOpenAI) -> None:
    path = described(tmp_path, model, RULES.replace("formula", "formla"))
    with pytest.raises(UsageError, match=r"rules\.yaml:\d+"):
        Campaign(load_plan(path), tmp_path / "out").run()
    assert not list((tmp_path / "out").rglob("*.jsonl"))


def test_a_plan_without_contracts_keeps_its_digest(tmp_path: Path, model: FakeOpenAI) -> None:
    path = write_plan(tmp_path / "plan.yaml", model.url)
    plan = load_plan(path)
    later = {"root": True, "executor": True, "contracts": True, "record": {"draws"}}
    content = plan.model_dump(mode="json", exclude=later)
    import hashlib

    assert plan.digest == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert load_plan(described(tmp_path, model)).digest != plan.digest


@pytest.mark.parametrize(("rate", "code"), [("0.5", 0), ("0.6", 1)])
def test_the_command_gates_on_compliance(
    tmp_path: Path, model: FakeOpenAI, capsys: pytest.CaptureFixture[str], rate: str, code: int
) -> None:
    plan = described(tmp_path, model)
    arguments = ["campaign", str(plan), "--out", str(tmp_path / "out"), "--comply", rate]
    assert execute(arguments) == code
    assert "keep every contract: 0.50" in capsys.readouterr().out
    bare = write_plan(tmp_path / "bare.yaml", model.url)
    assert execute(["campaign", str(bare), "--out", str(tmp_path / "bare"), "--comply", "1"]) == 2


def test_a_lost_run_is_judged_as_far_as_it_went(tmp_path: Path, model: FakeOpenAI) -> None:
    described(tmp_path, model)
    path = tmp_path / "lost.jsonl"
    write_story(path, ended=False)
    task: dict[str, Any] = {"id": "two"}
    order = Order("r-1", "once", "once", stub=False, task=task, seed=0, path=str(path))
    contracts = load([str(tmp_path / "rules.yaml")], "")
    result = salvage(order, Lost("timeout", "too slow", 3.0), Record(), contracts)
    assert [(one.contract, one.status) for one in result.verdicts] == [
        ("two-calls", "satisfied"),
        ("no-teleport", "vacuous"),
    ]


def test_the_doctor_reads_the_contracts(
    tmp_path: Path, model: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = described(tmp_path, model)
    execute(["doctor", str(plan)])
    assert "ok       contracts: 2 from" in capsys.readouterr().out
    described(tmp_path, model, RULES.replace("formula", "formla"))
    assert execute(["doctor", str(plan)]) != 0
    assert "MISSING  contracts: " in capsys.readouterr().out
