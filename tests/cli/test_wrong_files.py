"""A file of masfire given to the command of another kind: one sentence that names the right command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.trace.io import TraceWriter
from masfire.trace.model import Header

REPOSITORY = Path(__file__).parents[2]
TAKES = {
    "plan": [
        ["campaign", "FILE", "--out", "OUT"],
        ["run", "FILE", "--system", "s", "--task", "t"],
        ["doctor", "FILE"],
    ],
    "attack": [["cascade", "inertia", "FILE", "--out", "OUT"], ["doctor", "FILE"]],
    "contract": [["check", "TRACE", "--contracts", "FILE"], ["contracts", "lint", "FILE"]],
    "policy": [["govern", "dry-run", "TRACE", "--policy", "FILE"]],
    "lessons": [["memory", "import", "FILE", "--memory", "OUT"]],
}
RIGHT = {
    "plan": "masfire campaign",
    "attack": "masfire cascade",
    "contract": "--contracts",
    "policy": "--policy",
    "lessons": "masfire memory import",
    "trace": "masfire show",
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return a real file of every kind."""
    found = {name: tmp_path / f"{name}.yaml" for name in TAKES}
    shutil.copy(REPOSITORY / "examples/order_desk/demo.yaml", found["plan"])
    shutil.copy(REPOSITORY / "examples/cascade/stub.yaml", found["attack"])
    shutil.copy(REPOSITORY / "examples/order_desk/contracts.yaml", found["contract"])
    shutil.copy(REPOSITORY / "examples/governance/policy.yaml", found["policy"])
    found["lessons"].write_text("masfire: lessons/v1\nschemata: []\nnotes: []\n")
    found["trace"] = tmp_path / "trace.jsonl"
    TraceWriter(found["trace"], Header("r")).close()
    return found


@pytest.mark.parametrize("given", RIGHT)
@pytest.mark.parametrize("wanted", TAKES)
def test_a_file_of_another_kind_names_the_command_that_takes_it(
    given: str, wanted: str, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"FILE": str(files[given]), "TRACE": str(files["trace"]), "OUT": str(tmp_path / "out")}
    for command in TAKES[wanted]:
        if command in TAKES.get(given, []) or (given == "trace" and command[0] == "doctor"):
            continue
        assert execute([names.get(word, word) for word in command]) == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert told.startswith(f"masfire: {files[given]} is a")
        assert RIGHT[given] in told
        assert f" {files[given]}" in told.partition("use it with: ")[2]
        assert not (tmp_path / "out").exists()


def test_a_version_of_the_future_is_no_other_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.yaml").write_text("masfire: plan/v9\n")
    assert execute(["campaign", str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "plan.yaml:1:1: masfire: input should be 'plan/v1' (got 'plan/v9')" in capsys.readouterr().err


def test_a_word_deep_in_a_file_does_not_make_it_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "masfire: contract/v1\ncontracts:\n  - id: a\n    description: |\n      masfire: plan/v1\n"
    (tmp_path / "a.yaml").write_text(f'{text}    formula: "step"\n')
    execute(["contracts", "lint", str(tmp_path / "a.yaml")])
    assert "is a campaign's plan" not in capsys.readouterr().err


def test_doctor_looks_at_an_attack_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["doctor", str(REPOSITORY / "examples/cascade/stub.yaml")]) == 0
    assert "ok       system linear" in capsys.readouterr().out
