"""Every command that takes a trace says the same of a file that is none, that is damaged, or that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.recorder import Recorder
from masfire.trace.io import TraceWriter
from masfire.trace.model import Header, Message
from masfire.trace.payload import pack

POLICY = "masfire: policy/v1\n"
COMMANDS = {
    "check": ["check", "TRACE", "--contracts", "termination"],
    "show": ["show", "TRACE"],
    "show json": ["show", "TRACE", "--format", "json"],
    "replay": ["replay", "TRACE"],
    "genealogy": ["genealogy", "TRACE"],
    "genealogy --against": ["genealogy", "GOOD", "--against", "TRACE"],
    "risk": ["risk", "TRACE"],
    "diagnose": ["diagnose", "TRACE"],
    "diagnose --clean": ["diagnose", "GOOD", "--clean", "TRACE"],
    "doctor": ["doctor", "TRACE"],
    "dry-run": ["govern", "dry-run", "TRACE", "--policy", "POLICY"],
    "lint": ["contracts", "lint", "termination", "--trace", "TRACE"],
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.jsonl"
    with TraceWriter(path, Header("r")) as writer:
        recorder = Recorder(Header("r"), sink=writer)
        for n in range(3):
            recorder.submit("a", Message(("b",), pack(f"message {n}")))
        recorder.finish("completed")
    return path


def ends_with(command: str, trace: Path, good: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    (good.parent / "policy.yaml").write_text(POLICY)
    names = {"TRACE": str(trace), "GOOD": str(good), "POLICY": str(good.parent / "policy.yaml")}
    code = execute([names.get(word, word) for word in COMMANDS[command]])
    out, err = capsys.readouterr()
    return code, out + err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "content",
    [b"GET /index 200\n", b'{"a": 1}\n{"a": 2}\n', b"\x00\x01\xff" * 100, b"\nnext\n", b"x" * 200_000],
)
def test_what_never_was_a_trace_is_a_wrong_file(
    command: str, content: bytes, tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "access.jsonl"
    path.write_bytes(content)
    code, told = ends_with(command, path, good, capsys)
    assert code == 2, told
    assert str(path) in told


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", ["torn", "altered", "header", "headless", "emptied", "begun"])
def test_a_damaged_trace_is_inconclusive_and_says_where(
    command: str, damage: str, tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = good.read_bytes()
    path = tmp_path / "bad.jsonl"
    path.write_bytes(
        {
            "torn": whole[: whole.rindex(b"message 2")],
            "altered": whole.replace(b"message 1", b"message 7"),
            "header": whole.replace(b'"run":"r"', b'"run":"s"'),
            "headless": whole.partition(b"\n")[2],
            "emptied": b"",
            "begun": whole[:5],
        }[damage]
    )
    code, told = ends_with(command, path, good, capsys)
    assert code == 3, told
    line = {"torn": 4, "altered": 3}.get(damage, 1)
    assert f"{path}: " in told
    assert f"(line {line}, byte " in told


def test_check_says_how_the_log_of_another_program_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content, form in (("login,u1,3\n", "events"), ('{"type": "login"}\n', "jsonl")):
        (tmp_path / "access.log").write_text(content)
        assert execute(["check", str(tmp_path / "access.log"), "--contracts", "termination"]) == 2
        assert f"--format-in {form}" in capsys.readouterr().err


def test_a_torn_trace_is_shown_as_far_as_it_goes(
    tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = good.read_bytes()
    path = tmp_path / "torn.jsonl"
    path.write_bytes(whole[: whole.rindex(b"message 2")])
    assert execute(["show", str(path)]) == 3
    out, err = capsys.readouterr()
    assert "message 0" in out
    assert "message 1" in out
    assert "message 2" not in out
    start = whole.rindex(b"\n", 0, whole.rindex(b"message 2")) + 1
    assert (
        f"the last line is unfinished: its writer was stopped or the file was cut (line 4, byte {start})"
        in err
    )
