"""The recovery study runs to the end on the stub, goes on where it stopped, and lets no bad note in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLAN = """masfire: plan/v1
systems:
  - name: linear
    system: examples.order_desk.linear:build
    run: examples.order_desk.linear:run
    check: examples.order_desk.desk:check
tasks: {{source: examples/order_desk/tasks.jsonl, filter: {{split: dev}}, limit: 4}}
faults: [hallucination@clerk]
times: every
controls: 1
executor: {{workers: 1}}
root: {root}
"""


def study(folder: Path) -> str:
    (folder / "plan.yaml").write_text(PLAN.format(root=ROOT))
    command = [
        sys.executable, "benchmarks/study_recovery.py", str(folder / "out"), "--runs", "4", "--notes", "1",
        "--plan", str(folder / "plan.yaml"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_study_on_the_stub(tmp_path: Path) -> None:
    said = study(tmp_path)
    folder = tmp_path / "out" / "stub"
    found = json.loads((folder / "recovery.json").read_text())
    rows = (folder / "runs.jsonl").read_text()
    assert "recurrence" in said
    assert found["ways"]["every time, notes"]["wins"] == 0  # a copier heeds no note
    assert found["ways"]["fault-free, notes"]["losses"] == 0
    assert found["trials"]["planted bad notes"]["accepted"] == 0
    repeated = sum(found["ways"][f"{name}, notes"]["n"] for name in ("every time", "fault-free"))
    assert rows.count("\n") == 5 * repeated > 0
    (folder / "runs.jsonl").write_text("".join(rows.splitlines(keepends=True)[:-1]))
    study(tmp_path)
    assert (folder / "runs.jsonl").read_text() == rows
