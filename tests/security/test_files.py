"""Folders and files that are not what they should be: a message with the path, and nothing is destroyed."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from masfire.campaign.results import Results
from masfire.cli import execute
from masfire.errors import RecordingError
from masfire.trace.io import TraceWriter
from tests.support.plans import GOOD
from tests.support.traces import HEADER

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("in_the_way", ["", "traces", "plan.yaml"])
def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, capsys: Captured, in_the_way: str) -> None:
    plan, out = tmp_path / "plan.yaml", tmp_path / "out"
    plan.write_text(GOOD.replace("tasks: tasks.jsonl", "tasks: here.jsonl"), encoding="utf-8")
    (tmp_path / "here.jsonl").write_text('{"id": "a"}', encoding="utf-8")
    if in_the_way == "plan.yaml":
        (out / in_the_way).mkdir(parents=True)
    else:
        (out / in_the_way).parent.mkdir(exist_ok=True)
        (out / in_the_way).write_text("a file", encoding="utf-8")
    # Below a file when the folder itself is one: click refuses a plain file as a folder.
    where = out / "deeper" if not in_the_way else out
    assert execute(["campaign", str(plan), "--out", str(where)]) == 2
    said = capsys.readouterr().err
    assert str(out) in said
    assert "Check the path" in said


def test_a_trace_replaces_no_device_no_pipe_and_no_folder(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(RecordingError, match="no regular file"):
            TraceWriter(path, HEADER)
    assert pipe.is_fifo()


def test_results_on_a_full_disk_say_how_to_go_on(tmp_path: Path) -> None:
    with Results(tmp_path / "results.sqlite") as results:
        pages = results._db.execute("PRAGMA page_count").fetchone()[0]
        results._db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(RecordingError, match=r"disk is full.*--resume") as caught:
            results.note("much", "x" * 100_000)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
