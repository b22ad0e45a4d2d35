"""A fault at an agent that the system does not have is refused before anything is injected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from masfire.campaign.results import Results
from masfire.campaign.strangers import agents_of, without_target
from masfire.cli import execute
from masfire.faults.base import FaultSpec
from masfire.trace.model import Header, Message, Step, Trace
from masfire.trace.payload import pack
from tests.support.adders import script, write_plan
from tests.support.fake_openai import FakeOpenAI

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(script) as server:
        yield server


def with_faults(tmp_path: Path, model: FakeOpenAI, faults: str) -> Path:
    path = write_plan(tmp_path / "plan.yaml", model.url)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(faults if line.startswith("faults:") else line for line in lines))
    return path


def test_a_misspelt_agent_is_told_with_its_line_and_those_seen(
    tmp_path: Path, model: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = with_faults(tmp_path, model, "faults:\n  - hallucination@reader\n  - memory_loss@raeder")
    assert execute(["campaign", str(plan), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"{plan}:8:5: faults: There is no agent 'raeder' in any of 18 fault-free runs" in told
    assert "Did you mean memory_loss@reader? Agents seen: adder, reader." in told
    with Results(tmp_path / "out" / "results.sqlite", readonly=True) as results:
        assert all(row.control for row in results)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["complete"] is False


def test_why_nothing_was_witnessed_is_told(
    tmp_path: Path, model: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = with_faults(tmp_path, model, "faults: [hallucination@read*#9]")
    assert execute(["campaign", str(plan), "--out", str(tmp_path / "out")]) == 3
    told = capsys.readouterr().out
    assert "event #9 never came; applicable events: reader 1; agents seen: user, reader, adder" in told
    (cell, *_) = json.loads((tmp_path / "out" / "summary.json").read_text())["cells"]
    assert len(cell["reasons"]) == 1


def test_whoever_acts_or_is_spoken_to_in_any_run_is_there() -> None:
    first = Trace(Header("r"), (Step(0, 1.0, "user", Message(("planner",), pack("go"))),))
    second = Trace(Header("s"), (Step(0, 1.0, "team/critic", Message((), pack("no"))),))
    specs = {text: FaultSpec.parse(text) for text in (
        "hallucination@planner", "hallucination@critic", "hallucination@user", "hallucination",
        "hallucination@pl*", "hallucination@clerk", "hallucination@x*",
    )}  # fmt: skip
    lost, agents = without_target(specs, map(agents_of, (first, second)))
    assert lost == ["hallucination@clerk", "hallucination@x*"]
    assert agents == {"user", "planner", "team/critic"}


def test_no_run_is_read_once_every_fault_has_its_agent() -> None:
    def runs() -> Iterator[set[str]]:
        yield {"a"}
        raise AssertionError

    assert without_target({"hallucination@a": FaultSpec.parse("hallucination@a")}, runs())[0] == []


def test_doctor_knows_the_nodes_of_a_graph_before_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = (REPOSITORY / "examples" / "order_desk" / "demo.yaml").read_text().splitlines()
    kept = [line for line in demo if not line.startswith(("faults:", "root:"))]
    plan = tmp_path / "plan.yaml"
    plan.write_text("\n".join([*kept, "faults: [hallucination@plannr, memory_loss]", f"root: {REPOSITORY}"]))
    execute(["doctor", str(plan)])
    told = capsys.readouterr().out
    assert "absent   target of hallucination@plannr: There is no agent 'plannr' among the nodes" in told
    assert "Did you mean hallucination@planner?" in told
    assert "target of memory_loss" not in told
