"""Commands are run as a user runs them; what they print cannot act on a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.recorder import Recorder
from masfire.taxonomy import load
from masfire.trace.io import TraceWriter
from masfire.trace.model import Header, Message
from masfire.trace.payload import pack
from tests.support.adders import script, write_plan
from tests.support.fake_openai import FakeOpenAI

COMMANDS = ["campaign", "doctor", "faults", "run", "show", "version"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with a plan whose campaign is in `out`; its model still answers."""
    path = tmp_path_factory.mktemp("cli")
    with FakeOpenAI(script) as model:
        plan = write_plan(path / "plan.yaml", model.url)
        assert execute(["campaign", str(plan), "--out", str(path / "out"), "--format", "json"]) == 0
        yield path


def printed(capsys: Captured, *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert execute(arguments) == code
    return capsys.readouterr().out


def test_help_has_an_example_and_the_exit_codes(capsys: Captured) -> None:
    for command in COMMANDS:
        text = printed(capsys, command, "--help")
        assert f"Example:\n    masfire {command}" in text
        assert "--format" in text
        if command != "version":
            assert "3    inconclusive" in text
    assert all(command in printed(capsys, "--help") for command in COMMANDS)


def test_a_mistyped_command_gets_the_nearest(capsys: Captured) -> None:
    assert execute(["shw"]) == 2
    assert "Did you mean 'show'?" in capsys.readouterr().err


def test_an_error_is_one_message_without_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("masfire: plan/v1\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "masfire.cli",
            "campaign",
            str(tmp_path / "bad.yaml"),
            "--out",
            str(tmp_path / "o"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{tmp_path}/bad.yaml:1:1: Key 'systems' is missing." in done.stderr
    assert not (tmp_path / "o").exists()


def test_version_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys; from masfire.cli import execute; execute(['version']);"
        "print([m for m in ('pydantic', 'yaml', 'rich', 'numpy', 'openai', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["[]"]
    assert done.stdout.startswith("masfire 0.")


def test_faults_are_listed_and_explained(capsys: Captured) -> None:
    found = json.loads(printed(capsys, "faults", "--format", "json"))
    assert [item["id"] for item in found] == [entry.id for entry in load().entries]
    assert {frozenset(item) for item in found} == {
        frozenset({"id", "name", "scope", "category", "mechanisms", "parameters"})
    }
    text = printed(capsys, "faults")
    assert all(item["name"] in text for item in found)
    assert "trusts" in printed(capsys, "faults", "BT")
    assert json.loads(printed(capsys, "faults", "blind_trust", "--format", "json"))["id"] == "BT"
    assert execute(["faults", "blind_trst"]) == 2
    assert "Did you mean 'blind_trust'?" in capsys.readouterr().err


def test_a_campaign_prints_its_table_and_leaves_its_files(folder: Path, capsys: Captured) -> None:
    text = printed(capsys, "campaign", str(folder / "plan.yaml"), "--out", str(folder / "out"), "--resume")
    assert "8 injected runs, 8 of them witnessed" in text
    assert "0.00 n=4" in text
    assert "[0.51, 1.00] r=1.00" in text
    assert "8 witnessed" in text
    names = {path.name for path in (folder / "out").iterdir()}
    assert {"plan.yaml", "results.sqlite", "traces", "summary.json", "report.html"} <= names


def test_a_threshold_decides_the_exit_code(folder: Path, capsys: Captured) -> None:
    again = [
        "campaign",
        str(folder / "plan.yaml"),
        "--out",
        str(folder / "out"),
        "--resume",
        "--format",
        "json",
    ]
    assert json.loads(printed(capsys, *again, "--fail-under", "0"))["complete"] is True
    printed(capsys, *again, "--fail-under", "0.5", code=1)


def test_no_runs_are_never_a_success(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    text = (folder / "plan.yaml").read_text().replace(':TASKS"', ':TASKS", filter: {id: wrong}}')
    text = text.replace("tasks: ", "tasks: {source: ")
    (tmp_path / "plan.yaml").write_text(text)
    out = printed(
        capsys,
        "campaign",
        str(tmp_path / "plan.yaml"),
        "--out",
        str(tmp_path / "out"),
        "--format",
        "json",
        code=3,
    )
    assert json.loads(out)["runs"] == 0


def test_a_run_of_a_campaign_happens_again(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    summary = json.loads((folder / "out" / "summary.json").read_text())
    cell = next(cell for cell in summary["cells"] if cell["system"] == "once")
    arguments = [
        "run", str(folder / "out" / "plan.yaml"), "--system", "once", "--task", "two",
        "--fault", "hallucination@reader", "--seed", "1", "--out", str(tmp_path / "again.jsonl"),
    ]  # fmt: skip
    found = json.loads(printed(capsys, *arguments, "--format", "json", code=1))
    assert found["id"] in cell["runs"]
    assert (found["state"], found["success"]) == ("witnessed", False)
    old = printed(capsys, "show", str(folder / "out" / "traces" / f"{found['id']}.jsonl")).splitlines()
    new = printed(capsys, "show", str(tmp_path / "again.jsonl")).splitlines()
    assert old[:-1] == new[:-1]
    text = printed(capsys, *arguments, code=1)
    assert "hallucination@reader: witnessed at agent reader" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--system": "onc"}, "Did you mean 'once'?"),
        ({"--task": "to"}, "Did you mean 'two'?"),
        ({"--fault": "halucination"}, "Did you mean 'hallucination'?"),
    ],
)
def test_a_run_of_something_unknown(
    folder: Path, capsys: Captured, change: dict[str, str], message: str
) -> None:
    options = {"--system": "once", "--task": "two", "--fault": "", **change}
    flat = [part for pair in options.items() for part in pair]
    assert execute(["run", str(folder / "plan.yaml"), *flat]) == 2
    assert message in capsys.readouterr().err


def test_a_fault_that_never_strikes_is_inconclusive(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    text = printed(
        capsys, "run", str(folder / "plan.yaml"), "--system", "once", "--task", "two",
        "--fault", "hallucination@nobody", "--out", str(tmp_path / "t.jsonl"), code=3,
    )  # fmt: skip
    assert "not_exposed" in text
    assert "agents seen" in text


def test_truth_is_shown_only_when_asked_for(folder: Path, capsys: Captured) -> None:
    summary = json.loads((folder / "out" / "summary.json").read_text())
    trace = str(folder / "out" / "traces" / f"{summary['cells'][0]['runs'][0]}.jsonl")
    assert "hallucination" not in printed(capsys, "show", trace)
    assert "hallucination" not in printed(capsys, "show", trace, "--format", "json")
    assert "! hallucination@reader witnessed" in printed(capsys, "show", trace, "--truth")
    found = json.loads(printed(capsys, "show", trace, "--truth", "--format", "json"))
    assert [mark["body"]["state"] for mark in found["injections"]] == ["injected", "witnessed"]
    assert found["report"]["agents"] == ["reader", "adder"]


def hostile(path: Path) -> Path:
    recorder = Recorder(Header("r\x1b]0;owned\x07"), sink=TraceWriter(path, Header("r\x1b]0;owned\x07")))
    text = "\x1b[2J\x1b[31mred\r\u202egnp.exe\u2028\x00\x9b5n"
    recorder.submit("agent\x1b[1A", Message(("b\x08\x08",), pack(text)))
    recorder.finish("error", error=f"bang {text}")
    return path


def test_a_trace_cannot_act_on_the_terminal(tmp_path: Path, capsys: Captured) -> None:
    trace = str(hostile(tmp_path / "t.jsonl"))
    for form in ("text", "json"):
        text = printed(capsys, "show", trace, "--truth", "--format", form)
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "red" in text
    printed(capsys, "doctor", trace, code=3)


def test_a_damaged_trace_is_shown_as_far_as_it_is_good(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "t.jsonl"
    with TraceWriter(path, Header("r")) as writer:
        recorder = Recorder(Header("r"), sink=writer)
        for n in range(3):
            recorder.submit("a", Message(("b",), pack(f"message {n}")))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(b"message 2", b"message X")]))
    assert execute(["show", str(path)]) == 3
    shown = capsys.readouterr()
    assert "message 1" in shown.out
    assert "message X" not in shown.out
    assert "line 4" in shown.err


def test_doctor_looks_at_machine_plan_and_trace(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    found = json.loads(printed(capsys, "doctor", "--format", "json"))
    assert {finding["what"].split()[0] for finding in found["findings"]} >= {"Python", "openai", "langgraph"}
    assert "MISSING" not in printed(capsys, "doctor", str(folder / "plan.yaml"))
    summary = json.loads((folder / "out" / "summary.json").read_text())
    trace = folder / "out" / "traces" / f"{summary['cells'][0]['runs'][0]}.jsonl"
    assert "genealogy" in printed(capsys, "doctor", str(trace))
    broken = (folder / "plan.yaml").read_text().replace("adders:run_twice", "adders:run_thrice")
    (tmp_path / "plan.yaml").write_text(broken)
    assert "'run_thrice'" in printed(capsys, "doctor", str(tmp_path / "plan.yaml"), code=3)
    TraceWriter(tmp_path / "empty.jsonl", Header("r")).close()
    assert "MISSING  messages between agents" in printed(
        capsys, "doctor", str(tmp_path / "empty.jsonl"), code=3
    )


def test_a_trace_of_functions_that_only_talk_lacks_nothing_needed(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "t.jsonl"
    recorder = Recorder(Header("r"), sink=TraceWriter(path, Header("r")))
    recorder.submit("user", Message(("a",), pack("go")))
    recorder.submit("a", Message(("b",), pack("gone")), parents=(0,))
    recorder.submit("b", Message(("user",), pack("done")), parents=(1,))
    recorder.finish("completed")
    text = printed(capsys, "doctor", str(path))
    assert "absent   actions: 0 of 3 steps" in text
    assert "contracts on messages judge them all the same" in text
    assert "MISSING" not in text
    TraceWriter(tmp_path / "none.jsonl", Header("r")).close()
    assert "MISSING  actions" in printed(capsys, "doctor", str(tmp_path / "none.jsonl"), code=3)
