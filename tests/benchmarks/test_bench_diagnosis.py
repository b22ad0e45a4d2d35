"""The benchmark on Who&When takes any folder in the same layout, and says which logs it cannot use."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FIELDS = {"step", "agent", "hit3", "hit5", "mrr", "n"}
SPEAKERS = {
    "algorithm_generated": ("Planner_Expert", "Checker_Expert", "Computer_terminal"),
    "hand_crafted": ("Orchestrator (thought)", "WebSurfer", "Assistant"),
}


def log(subset: str, question: str, seed: int) -> dict[str, Any]:
    """Return a made log in which the culprit stumbles over an error."""
    draw = random.Random(seed)
    turns = [{"role": "human", "name": "user", "content": f"How many lamps are in room {question}?"}]
    turns += [
        {"name": draw.choice(SPEAKERS[subset]), "role": "assistant", "content": f"Step {step}: {seed} lamps."}
        for step in range(1, 7)
    ]
    at = draw.randrange(1, 7)
    turns[at] = {
        "name": SPEAKERS[subset][1],
        "role": "assistant",
        "content": "Error: I could not find it, sorry.",
    }
    if subset == "hand_crafted":
        turns = [{"role": turn["name"], "content": turn["content"]} for turn in turns]
        turns[0]["role"] = "human"
    return {
        "question": turns[0]["content"], "question_ID": question, "ground_truth": "3", "is_correct": False,
        "history": turns, "mistake_agent": SPEAKERS[subset][1], "mistake_step": str(at), "mistake_reason": "",
    }  # fmt: skip


def folder(path: Path, *, first: int, count: int) -> Path:
    for subset in SPEAKERS:
        (path / subset).mkdir(parents=True)
        for number in range(first, first + count):
            made = log(subset, f"q{number}", number)
            (path / subset / f"{number}.json").write_text(json.dumps(made), encoding="utf-8")
    return path


def bench(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/bench_diagnosis.py", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_a_fixed_split_is_measured_and_logs_without_use_are_told(tmp_path: Path) -> None:
    train = folder(tmp_path / "train", first=0, count=12)
    test = folder(tmp_path / "test", first=100, count=4)
    late = log("algorithm_generated", "q200", 200) | {"mistake_step": "40"}
    (test / "algorithm_generated" / "late.json").write_text(json.dumps(late), encoding="utf-8")
    lonely = log("hand_crafted", "q201", 201)
    lonely |= {"history": lonely["history"][:1], "mistake_step": "0"}
    (test / "hand_crafted" / "lonely.json").write_text(json.dumps(lonely), encoding="utf-8")
    out = tmp_path / "out.json"
    done = bench("--train", train, "--test", test, "--json", out)
    assert done.returncode == 0, done.stderr
    assert "2 of 10 logs are left out" in done.stderr
    assert "late.json" in done.stderr
    assert "lonely.json" in done.stderr
    table = json.loads(out.read_text())
    assert set(table) == set(SPEAKERS)
    for methods in table.values():
        assert {"masfire", "random", "first", "last", "position_prior", "permuted_labels"} <= set(methods)
        for row in methods.values():
            assert set(row) == FIELDS
            assert row["n"] == 4
            assert all(0 <= row[field] <= 1 for field in FIELDS - {"n"})


def test_a_test_folder_of_one_subset_and_an_empty_one(tmp_path: Path) -> None:
    train = folder(tmp_path / "train", first=0, count=12)
    test = folder(tmp_path / "test", first=100, count=3)
    for path in (test / "hand_crafted").iterdir():
        path.unlink()
    out = tmp_path / "out.json"
    done = bench("--train", train, "--test", test, "--json", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["algorithm_generated"]["masfire"]["n"] == 3
    nothing = bench("--train", train, "--test", tmp_path, "--json", out)
    assert nothing.returncode == 1
    assert "holds no algorithm_generated" in nothing.stderr
