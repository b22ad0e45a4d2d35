"""`masfire risk` and `masfire genealogy` on graphs, traces and nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.trace.io import TraceWriter
from tests.support.chains import Story

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    story = Story({"expected": {"city": "Rome"}})
    at = story.task("Please send 5 green chairs to Rome.", "reader")
    at = story.says("reader", {"city": "Oslo", "item": "green chairs"}, of=(at,))
    story.says("writer", "We ship green chairs to Oslo.\x1b[31m", of=(at,))
    path = tmp_path / "run.jsonl"
    recorded = story.trace()
    writer = TraceWriter(path, recorded.header)
    for step in recorded:
        writer.write(step)
    writer.close(recorded.end)
    return path


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
