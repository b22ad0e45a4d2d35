"""`masfire risk` and `masfire genealogy` on graphs, traces and nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from masfire.cli import execute
from masfire.trace.io import TraceWriter
from masfire.trace.payload import pack
from tests.support.chains import Story

ROOT = Path(__file__).parents[2]


def written(path: Path, story: Story, **header: Any) -> Path:
    recorded = story.trace()
    writer = TraceWriter(path, replace(recorded.header, **header))
    for step in recorded:
        writer.write(step)
    for mark in recorded.injections:
        writer.write(mark)
    writer.close(recorded.end)
    return path


def chatter(city: str = "Oslo", *, marked: bool = False) -> Story:
    story = Story({"expected": {"city": "Rome"}})
    at = story.task("Please send 5 green chairs to Rome.", "reader")
    at = story.says("reader", {"city": city, "item": "green chairs"}, of=(at,))
    if marked:
        story.mark(1)
    story.says("writer", f"We ship green chairs to {city}.\x1b[31m", of=(at,))
    return story


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return written(tmp_path / "run.jsonl", chatter())


def test_the_risk_of_a_graph_that_never_ran(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert execute(["risk", "examples.order_desk.star:build", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["risk"]["rho"] == pytest.approx(3**0.5)
    assert found["risk"]["seeds"][0]["agent"] == "supervisor"
    assert found["risk"]["assumed"]


def test_the_risk_of_what_traces_show(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["risk", str(trace), "--beta", "0.5", "--delta", "0.1"]) == 0
    text = capsys.readouterr().out
    assert "2 agents, 1 edges" in text
    assert "no cycle" in text
    assert "fidelity" in text
    assert execute(["risk", str(trace), "--beta", "1", "--fail-over", "0.5"]) == 1


def test_traces_of_several_systems_are_not_melted_into_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("linear", "star"):
        written(tmp_path / f"{name}.jsonl", chatter("Rome"), run=name, system=name)
    assert execute(["risk", str(tmp_path)]) == 2
    assert "2 systems: linear (1), star (1)" in capsys.readouterr().err
    assert execute(["risk", str(tmp_path), "--system", "star"]) == 0
    assert "2 agents, 1 edges" in capsys.readouterr().out
    assert execute(["risk", str(tmp_path), "--system", "satr"]) == 2
    assert "Did you mean 'star'?" in capsys.readouterr().err
    assert execute(["risk", "examples.order_desk.star:build", "--system", "star"]) == 2


def test_risk_reads_the_fault_free_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "attacked.jsonl", chatter("Oslo", marked=True), run="attacked")
    assert execute(["risk", str(tmp_path)]) == 0
    assert "none of 1 traces is of a fault-free run" in capsys.readouterr().out
    written(tmp_path / "clean.jsonl", chatter("Rome"), run="clean")
    assert execute(["risk", str(tmp_path), "--format", "json"]) == 0
    measured = json.loads(capsys.readouterr().out)["measured"]
    assert (measured["traces"], measured["runs"]) == (2, 1)
    assert execute(["risk", str(tmp_path)]) == 0
    assert "measured on 1 fault-free runs of 2 traces" in capsys.readouterr().out


def test_risk_says_whose_rates_it_takes_and_why_it_fails(
    trace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert execute(["risk", str(trace)]) == 0
    assert "β = 0.92, δ = 0.005 (assumed: the published fit of a chain;" in capsys.readouterr().out
    assert execute(["risk", str(trace), "--delta", "0.1"]) == 0
    assert "β = 0.92, δ = 0.1 (β assumed" in capsys.readouterr().out
    assert execute(["risk", "examples.order_desk.star:build", "--fail-over", "0.5"]) == 1
    told = capsys.readouterr()
    assert "the published fit of a star;" in told.out
    assert "more than --fail-over 0.5 allows" in told.err
    assert execute(["risk", "examples.order_desk.star:build", "examples.order_desk.linear:build"]) == 2
    assert "one system at a time" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["nowhere", "examples.order_desk.star:missing", "json:dumps"])
def test_what_is_no_system_is_refused(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["risk", source]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_genealogy_of_claims(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["genealogy", str(trace)]) == 0
    text = capsys.readouterr().out
    assert "contradicts" in text
    assert "\x1b" not in text
    for form in ("json", "graphml", "dot"):
        out = tmp_path / f"graph.{form}"
        assert execute(["genealogy", str(trace), "--format", form, "--out", str(out)]) == 0
        assert out.read_text()
    assert execute(["genealogy", str(trace), "--messages"]) == 0


def test_following_a_claim(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["genealogy", str(trace), "--follow", '{"city": "Oslo"}', "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reached"] == ["reader", "writer"]
    assert found["final"] == 1.0
    assert execute(["genealogy", str(trace), "--codeword", "#TAG#"]) == 3
    assert execute(["genealogy", str(trace), "--against", str(trace)]) == 0


def test_every_result_goes_where_out_says(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = written(tmp_path / "clean.jsonl", chatter("Rome"))
    ways = [
        ["--follow", '{"city": "Oslo"}'],
        ["--codeword", "Oslo"],
        ["--against", str(other)],
        ["--messages"],
    ]
    for number, way in enumerate(ways):
        for form in ("text", "json"):
            out = tmp_path / f"{number}.{form}"
            assert execute(["genealogy", str(trace), *way, "--format", form, "--out", str(out)]) == 0
            assert capsys.readouterr().out == ""
            assert "Oslo" in out.read_text() or way == ["--messages"]


@pytest.mark.parametrize(
    "options",
    [["--messages", "--follow", "x 1"], ["--follow", "x 1", "--codeword", "y"],
     ["--codeword", "y", "--format", "dot"],
     ["--against", "SELF", "--messages"], ["--against", "SELF", "--format", "graphml"],
     ["--against", "SELF", "--codeword", "y"], ["--follow", '{"city": "Oslo"']],
)  # fmt: skip
def test_no_option_of_genealogy_is_ignored(
    trace: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(trace) if option == "SELF" else option for option in options]
    assert execute(["genealogy", str(trace), *asked]) == 2
    assert capsys.readouterr().out == ""


def test_messages_show_what_was_said(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["genealogy", str(trace), "--messages"]) == 0
    told = capsys.readouterr().out
    assert "Please send 5 green chairs" in told
    assert "← #0" in told
    assert "unverified" not in told
    assert "\x1b" not in told


def test_a_comparison_says_when_there_is_nothing_and_when_it_is_no_twin(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["genealogy", str(trace), "--against", str(trace)]) == 0
    assert "nothing appeared, nothing vanished" in capsys.readouterr().out
    other = written(tmp_path / "other.jsonl", chatter(), task=pack({"id": "another"}))
    assert execute(["genealogy", str(trace), "--against", str(other), "--format", "json"]) == 0
    told = capsys.readouterr()
    assert "different tasks" in told.err
    assert "different tasks" in json.loads(told.out)["warning"]
