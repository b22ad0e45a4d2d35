"""Keys planted wherever a system can put them; none may be found in what masfire writes or tells."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from masfire import session
from masfire.analysis import analyze

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
