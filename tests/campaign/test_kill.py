"""A campaign may be killed at any instant: every file reads, nothing is lost, nothing counts twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from masfire.campaign.planfile import load_plan
from masfire.campaign.results import Results
from masfire.campaign.runner import Campaign
from masfire.trace.io import read_trace
from tests.support.adders import script, write_plan
from tests.support.fake_openai import FakeOpenAI

KILLS = 50
PLAN = {
    "seeds": "[0, 1, 2, 3, 4, 5]",
    "controls": "6",
    "faults": '["hallucination@reader", "hallucination@adder"]',
}
RUNS = 2 * 3 * 6 + 2 * 2 * 2 * 6
"""Two systems: three tasks under six control seeds; two faults on two solved tasks under six seeds."""


def start(plan: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "masfire.cli", "campaign", str(plan), "--out", str(out), "--resume"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=_heed_ctrl_c
    )


def _heed_ctrl_c() -> None:
    """Undo what a shell does to jobs in the background: they and their children ignore the signal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(campaign: subprocess.Popen[bytes], out: Path, traces: int) -> None:
    """Wait until so many traces are written, or the campaign is over."""
    while campaign.poll() is None and len(list((out / "traces").glob("[!.]*.jsonl"))) < traces:
        time.sleep(0.003)


def inspect(out: Path) -> Counter[str]:
    """Read every file there is; return how often each run id has a row."""
    for trace in (out / "traces").glob("*"):
        if trace.suffix == ".jsonl":
            assert read_trace(trace).end is not None
        else:  # one in the making; its first line may be torn, the rest never
            assert trace.suffix == ".part"
            if trace.read_bytes().count(b"\n"):
                read_trace(trace, tolerate_torn_tail=True)
    if not (out / "results.sqlite").exists():
        return Counter()
    with contextlib.closing(sqlite3.connect(out / "results.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        ids = [run for (run,) in db.execute("SELECT id FROM runs")] if "runs" in tables else []
    for run in ids:
        assert (out / "traces" / f"{run}.jsonl").is_file()
    return Counter(ids)


def alive(out: Path) -> list[int]:
    """Return the processes that have a file of this campaign open."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                links = [os.readlink(link) for link in (process / "fd").iterdir()]
                found += [int(process.name)] if any(link.startswith(str(out)) for link in links) else []
    return found


def test_fifty_kills(tmp_path: Path) -> None:
    rng = random.Random(20_261)
    out = tmp_path / "out"
    kills = midway = 0
    before: Counter[str] = Counter()
    with FakeOpenAI(script) as model:
        plan = write_plan(tmp_path / "plan.yaml", model.url, **PLAN)
        while kills < KILLS:
            campaign = start(plan, out)
            if kills % 5:  # mostly while runs are under way, sometimes while it is only starting
                wait_for(campaign, out, sum(before.values()) + rng.randrange(10))
            time.sleep(rng.uniform(0.0, 0.06 if kills % 5 else 0.8))
            if campaign.poll() is not None:  # it was faster: everything is there, so begin anew
                _, errors = campaign.communicate()
                assert campaign.returncode == 0, errors
                assert sum(inspect(out).values()) == RUNS
                out.rename(tmp_path / f"done-{kills}")
                before = Counter()
                continue
            campaign.send_signal(signal.SIGKILL)
            campaign.communicate()
            kills += 1
            rows = inspect(out)
            assert before <= rows, "a finished run was lost"
            assert set(rows.values()) <= {1}
            midway += 0 < len(rows) < RUNS
            before = rows

        assert midway >= KILLS // 5, "hardly any kill struck a campaign in the middle"
        deadline = time.monotonic() + 20
        while alive(out) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert alive(out) == [], "workers outlived their campaign"

        finished = start(plan, out)
        _, errors = finished.communicate(timeout=120)
        assert finished.returncode == 0, errors
        rows = inspect(out)
        assert before <= rows
        assert (len(rows), sum(rows.values())) == (RUNS, RUNS)
        assert {path.stem for path in (out / "traces").iterdir()} == set(rows)

        undisturbed = Campaign(load_plan(plan), tmp_path / "calm").run()
    with (
        Results(out / "results.sqlite", readonly=True) as results,
        Results(tmp_path / "calm" / "results.sqlite", readonly=True) as calm,
    ):
        assert {(r.id, r.success, r.state) for r in results} == {(r.id, r.success, r.state) for r in calm}
    assert undisturbed.runs + undisturbed.controls == RUNS


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def slowly(path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"content": script(path, body), "delay": 0.1}  # or it might be over before the signal comes

    with FakeOpenAI(slowly) as model:
        plan = write_plan(tmp_path / "plan.yaml", model.url, **PLAN)
        campaign = start(plan, out)
        deadline = time.monotonic() + 60
        while not inspect(out) and time.monotonic() < deadline:
            time.sleep(0.05)
        campaign.send_signal(signal.SIGINT)
        _, errors = campaign.communicate(timeout=30)
        assert campaign.returncode == 130
        assert b"--resume" in errors
        assert b"Traceback" not in errors
        kept = inspect(out)
        assert 0 < len(kept) < RUNS
        assert (out / "summary.json").is_file()
        assert (out / "report.html").is_file()
        assert alive(out) == []
        finished = start(plan, out)
        finished.communicate(timeout=120)
        assert finished.returncode == 0
    assert kept <= inspect(out)
    assert len(inspect(out)) == RUNS
