"""A run told step by step: messages that the trace holds once are told each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from masfire.analysis import analyze
from masfire.reporting import story as story_module
from masfire.reporting.story import story
from masfire.trace.io import read_trace
from masfire.trace.model import Trace
from tests.support.forged import Forger, request, step

LONG = "Please send 5 green chairs to Rome, " * 3


def _told(trace: Trace) -> list[str]:
    return [line for line in story(trace, analyze(trace)) if line.startswith("#")]


def _asking(path: Path, items: list[object]) -> Trace:
    forger = Forger(path)
    forger.add(step(0, request({"model": "m", "messages": [{"role": "user", "content": LONG}]}), agent="a"))
    forger.add(step(1, request({"model": "m", "messages": items}), agent="b", parents=[0]))
    forger.add({"record": "end", "status": "completed", "error": "", "answer": None})
    return read_trace(forger.path)


def test_a_message_recorded_earlier_is_told_and_not_its_reference(tmp_path: Path) -> None:
    lines = _told(_asking(tmp_path / "t", [{"$ref": [0, "messages", 0]}]))
    assert "1 items, last Please send 5 green chairs" in lines[1]


@pytest.mark.parametrize(
    "place", [[1, "messages", 0], [0, "messages", 7], [0, "tools", 0], [-1, "messages", 0]]
)
def test_a_reference_to_nothing_is_told_as_it_is(tmp_path: Path, place: list[object]) -> None:
    assert "$ref" in _told(_asking(tmp_path / "t", [{"$ref": place}]))[1]


def test_references_are_followed_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story_module, "MAX_TOLD", -1)
    assert "$ref" in _told(_asking(tmp_path / "t", [{"$ref": [0, "messages", 0]}]))[1]
