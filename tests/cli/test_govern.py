"""`masfire govern`: dry runs on recorded traces, and audit logs verified."""

import json
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.governance import AuditLog
from masfire.governance.audit import NoAuditLog
from masfire.recorder import Recorder
from masfire.trace.io import TraceWriter
from masfire.trace.model import Action, Header
from masfire.trace.payload import pack

POLICY = """\
masfire: policy/v1
agents:
  clerk:
    tools: {pay: {arguments: {amount: {maximum: 10}}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, amounts, faults in (("clean", (5, 50), ()), ("hit", (5000,), ("blind_trust@clerk",))):
        header = Header(run=name, faults=faults)
        recorder = Recorder(header, sink=TraceWriter(tmp_path / f"{name}.jsonl", header))
        for amount in amounts:
            recorder.submit("clerk", Action("tool_call", "pay", pack({"args": {"amount": amount}})))
        recorder.finish("completed", success=True)
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def test_dry_run_counts_outcomes_and_false_blocks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["govern", "dry-run", str(folder), "--policy", str(folder / "policy.yaml")]
    assert execute([*arguments, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == 2
    assert found["outcomes"] == [
        {"agent": "clerk", "capability": "tool_call:pay", "allow": 1, "rewrite": 0, "block": 2}
    ]
    clean = found["clean"]
    assert (clean["runs"], clean["runs_with_blocks"], clean["false_block_rate"]) == (1, 1, 0.5)
    assert execute(arguments) == 0
    assert "1 of 2 decisions blocked (50.00%)" in capsys.readouterr().out
    assert execute([*arguments, "--max-false-blocks", "0.01"]) == 1
    assert "50.00% of the decisions on clean runs are blocks, above" in capsys.readouterr().err
    (folder / "clean.jsonl").unlink()
    assert execute([*arguments, "--max-false-blocks", "0.01"]) == 3
    assert "cannot be judged" in capsys.readouterr().err


def test_dry_run_of_nothing_or_of_damage_is_no_pass(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    policy = ["--policy", str(folder / "policy.yaml")]
    assert execute(["govern", "dry-run", str(empty), *policy]) == 3
    hit = folder / "hit.jsonl"
    hit.write_bytes(hit.read_bytes()[:-20])
    assert execute(["govern", "dry-run", str(folder), *policy]) == 3
    hit.write_text("no trace\n")
    assert execute(["govern", "dry-run", str(folder), *policy]) == 2
    (folder / "bad.yaml").write_text("masfire: policy/v9")
    assert execute(["govern", "dry-run", str(folder), "--policy", str(folder / "bad.yaml")]) == 2


def test_audit_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "audit.log"
    with AuditLog(path) as log:
        log.append("note", 1.0, reason="a")
        log.append("note", 2.0, reason="b")
    assert execute(["govern", "audit", "verify", str(path)]) == 0
    head = capsys.readouterr().out.split()[-1]
    assert execute(["govern", "audit", "verify", str(path), "--head", head]) == 0
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert execute(["govern", "audit", "verify", str(path), "--head", head]) == 1
    assert execute(["govern", "audit", "verify", str(path), "--head", "x"]) == 2
    path.write_bytes(path.read_bytes().replace(b'"reason":"a"', b'"reason":"z"'))
    assert execute(["govern", "audit", "verify", str(path), "--format", "json"]) == 1
    assert '"line": 2' in capsys.readouterr().out


def test_a_file_that_never_was_an_audit_log_was_not_tampered_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "audit.log"
    for content in (b"GET /index 200\nGET / 404\n", b"\x00\xff" * 300, b'{"masfire":"trace/v1"}\n'):
        path.write_bytes(content)
        assert execute(["govern", "audit", "verify", str(path), "--format", "json"]) == 2
        assert "This is no audit log" in capsys.readouterr().err
        with pytest.raises(NoAuditLog):
            AuditLog(path)
        assert path.read_bytes() == content


def test_an_audit_log_that_lost_its_beginning_was_tampered_with(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with AuditLog(path) as log:
        log.append("note", 1.0, reason="a")
    first, second = path.read_bytes().splitlines(keepends=True)
    for content in (b"x" + first + second, b"forged\n" + second, second, first[:90], b""):
        path.write_bytes(content)
        assert execute(["govern", "audit", "verify", str(path)]) == 1


def test_dry_run_tells_rules_that_nothing_met(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy.yaml").write_text(
        "masfire: policy/v1\nagents:\n  clerk: {tools: {payy: {}, 'p*': {}}}\n  clrek: {tools: {pay: {}}}\n"
        "  role:boss: {}\n"
    )
    arguments = ["govern", "dry-run", str(folder), "--policy", str(folder / "policy.yaml")]
    assert execute(arguments) == 0
    out = capsys.readouterr().out
    assert "unused: clerk/tools/payy: No tool call of it fits. Did you mean 'pay'? Recorded: pay." in out
    assert "unused: clrek: No agent fits. Did you mean 'clerk'? Recorded: clerk." in out
    assert "unused: role:boss: No role fits. Recorded: none." in out
    assert "clerk/tools/p*" not in out
    assert execute([*arguments, "--format", "json"]) == 0
    unused = json.loads(capsys.readouterr().out)["unused"]
    assert [one["rule"] for one in unused] == ["clerk/tools/payy", "clrek", "role:boss"]


def test_dry_run_counts_false_rewrites(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace("maximum: 10", "maximum: 10, otherwise: clamp"))
    arguments = ["govern", "dry-run", str(folder), "--policy", str(folder / "policy.yaml")]
    assert execute([*arguments, "--max-false-blocks", "0"]) == 0
    out = capsys.readouterr().out
    assert "0 of 2 decisions blocked (0.00%), 1 rewritten (50.00%)" in out
    assert "clean.jsonl #1 clerk: brought within bounds" in out
    assert execute([*arguments, "--max-false-rewrites", "0.1"]) == 1
    assert "50.00% of the decisions on clean runs are rewrites, above" in capsys.readouterr().err
    assert execute([*arguments, "--max-false-rewrites", "0.5"]) == 0


def test_dry_run_of_an_empty_folder_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    assert execute(["govern", "dry-run", str(folder / "empty"), "--policy", str(folder / "policy.yaml")]) == 3
    assert "No trace (*.jsonl) in" in capsys.readouterr().err


def test_dry_run_tells_what_never_takes_effect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy.yaml").write_text(POLICY + "    budget: {money: 2}\n")
    arguments = ["govern", "dry-run", str(folder), "--policy", str(folder / "policy.yaml")]
    assert execute(arguments) == 0
    assert "warning: clerk/budget/money: No tool has a `cost`" in capsys.readouterr().out
    assert execute([*arguments, "--format", "json"]) == 0
    assert [one["rule"] for one in json.loads(capsys.readouterr().out)["warnings"]] == ["clerk/budget/money"]
