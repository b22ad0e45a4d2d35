"""Keys planted wherever a system can put them; none may be found in what masfire writes or tells."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml

from masfire import session
from masfire.analysis import analyze
from masfire.campaign.executors.local import Lost
from masfire.campaign.orders import Order
from masfire.campaign.plan import Record
from masfire.campaign.salvage import salvage
from masfire.cli import execute

KEY = "sk-proj-Planted0123456789abcdef"


@pytest.mark.parametrize("saved", [True, False])
def test_the_end_of_a_run_tells_no_more_than_its_record(tmp_path: Path, saved: bool) -> None:
    with contextlib.suppress(RuntimeError), session.run(path=tmp_path / "t.jsonl" if saved else None) as run:
        run.conclude({"key": KEY})
        raise RuntimeError(f"401 for {KEY}")
    end = run.trace.end
    assert end is not None
    assert KEY.encode() not in bytes(end.answer)
    assert "401 for [redacted:" in end.error
    assert KEY not in analyze(run.trace).error


SYSTEM = """
import os

TASKS = [{"id": "raises", "text": "use KEY"}, {"id": "unjudged"}, {"id": "fine"}]

def build():
    return None

def run(_, task):
    if task["id"] == "raises":
        raise RuntimeError("401 for " + os.environ["OPENAI_API_KEY"])
    return os.environ["OPENAI_API_KEY"]

def check(task, answer):
    if task["id"] == "unjudged":
        raise ValueError("no verdict on " + answer)
    return True
"""


def test_no_file_of_a_campaign_and_no_line_holds_a_planted_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / "leaky.py").write_text(SYSTEM.replace("KEY", KEY, 1), encoding="utf-8")
    parts = {
        part: f"leaky:{name}" for part, name in (("system", "build"), ("run", "run"), ("check", "check"))
    }
    plan = {"masfire": "plan/v1", "systems": [{"name": "leaky", **parts}], "tasks": "leaky:TASKS",
            "faults": ["hallucination"], "controls": 1, "model": {"endpoint": "none"}}  # fmt: skip
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    out = tmp_path / "out"
    assert execute(["campaign", str(tmp_path / "plan.yaml"), "--out", str(out), "--format", "json"]) == 3
    said = "".join(capfd.readouterr())
    assert KEY not in said
    assert "401 for [redacted:openai-key]" in said
    assert "no verdict on [redacted:openai-key]" in said
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"summary.json", "report.html", "results.sqlite", "plan.yaml"} <= {path.name for path in files}
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_run_lost_before_its_trace_began_keeps_its_keys(tmp_path: Path) -> None:
    order = Order("r", "s", "s", stub=False, task={"id": "t", "text": KEY}, seed=0, path=str(tmp_path / "r"))
    salvage(order, Lost("error", "died", 0.1), Record())
    assert b"[redacted:openai-key]" in (tmp_path / "r").read_bytes()
    assert KEY.encode() not in (tmp_path / "r").read_bytes()
