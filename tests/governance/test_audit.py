"""The audit log shows any line that was altered, removed, added, moved or cut off."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.errors import RecordingError
from masfire.governance import AgentRules, AuditError, AuditLog, Capability, Governor, Policy, verify
from masfire.governance.audit import read
from masfire.governance.ruling import Outcome, Proposal, Ruling
from masfire.trace.payload import pack

POLICY = Policy(agents={"a": AgentRules(tools={"x": Capability()})})


def written(path: Path, count: int = 5, **more: Any) -> tuple[int, str]:
    with AuditLog(path, **more) as log:
        governor = Governor(POLICY, audit=log, clock=lambda: 1.0)
        for index in range(count):
            name = "x" if index % 2 else "y"
            args = {"args": {"n": index}}
            governor.decide(governor.propose("tool_call", name, args, agent="a", run="r", identity="ann"))
        return log.head()


def test_every_decision_is_in_the_log(tmp_path: Path) -> None:
    head = written(tmp_path / "log")
    assert verify(tmp_path / "log") == head
    entries = [entry for entry, _ in read(tmp_path / "log")][1:]
    assert [entry.outcome for entry in entries] == ["block", "allow", "block", "allow", "block"]
    assert all((entry.executed == "") == (entry.outcome == "block") for entry in entries)
    assert {(entry.run, entry.agent, entry.identity) for entry in entries} == {("r", "a", "ann")}


def test_any_change_of_any_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, 3)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(AuditError):
            verify(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_lines_cannot_be_removed_repeated_or_moved(tmp_path_factory: Any, data: Any) -> None:
    path = tmp_path_factory.mktemp("audit") / "log"
    head = written(path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    order = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=7))
    path.write_bytes(b"".join(lines[index] for index in order))
    if order == list(range(len(lines))):
        assert verify(path, head=head) == head
    else:
        with pytest.raises(AuditError):
            verify(path, head=head)


def test_a_cut_end_is_noticed_by_the_head_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    head = written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    assert verify(path)[0] == len(lines) - 2  # a chain alone cannot know
    with pytest.raises(AuditError, match="cut off"):
        verify(path, head=head)


def test_a_forged_chain_needs_the_key(tmp_path: Path) -> None:
    genuine, forged = tmp_path / "a", tmp_path / "b"
    written(genuine, key=b"secret")
    written(forged, key=b"guess")
    verify(genuine, key=b"secret")
    for path, key in ((forged, b"secret"), (genuine, None)):
        with pytest.raises(AuditError, match=r"line 1|altered"):
            verify(path, key=key)


def test_a_log_is_continued_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path)
    assert written(path)[0] == 11
    path.write_bytes(path.read_bytes() + b"torn")
    with pytest.raises(AuditError, match="not complete"):
        AuditLog(path)


def test_two_writers_exclude_each_other(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log"), pytest.raises(RecordingError, match="This process"):
        AuditLog(tmp_path / "log")


def test_threads_share_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AuditLog(path) as log:
        workers = [
            threading.Thread(target=lambda: [log.append("note", 0.0, reason="x" * 5000) for _ in range(50)])
            for _ in range(8)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert verify(path)[0] == 401


def test_no_secret_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    secret = "sk-ant-abcdefgh12345678"
    with AuditLog(path) as log:
        governor = Governor(POLICY, audit=log)
        governor.decide(
            governor.propose(
                "tool_call", secret, {"args": {"k": secret}}, agent="a", run="r", identity=secret
            )
        )
        governor.quarantine("a", f"it printed {secret}")
    verify(path)
    assert secret not in path.read_text()
    assert "[redacted:" in path.read_text()


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\n", "\u2028", "\x1b]0;x\x07", "x" * 100_000])
def test_hostile_text_stays_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log"
    with AuditLog(path) as log:
        governor = Governor(POLICY, audit=log)
        governor.decide(governor.propose("tool_call", text, {"args": {}}, agent=text, run="r", identity=text))
    assert verify(path)[0] == 2


@given(
    reason=st.text(max_size=30) | st.just("x" * 3_000) | st.just("key sk-ant-abcdefghijklmnop"),
    named=st.text(max_size=8) | st.just("ghp_abcdefghijklmnopqrst"),
    evidence=st.sampled_from([(), ("step 3",), ("password: hunter2hunter2",)]),
    time=st.floats(0, 1e11),
)
@settings(max_examples=80, deadline=None)
def test_a_decision_is_logged_alike_the_first_time_and_again(
    tmp_path_factory: Any, reason: str, named: str, evidence: tuple[str, ...], time: float
) -> None:
    path = tmp_path_factory.mktemp("audit") / "log"
    proposal = Proposal("r", "a", "tool_call", "x", pack({"args": {}}), id=named)
    ruling = Ruling(Outcome.BLOCK, "check:own", reason, proposal, evidence=evidence, proposed="ab", ticket=3)
    with AuditLog(path) as log:
        for _ in range(3):
            log.decision(ruling, time)
    (_, first, *others) = (msgspec.structs.replace(entry, seq=0, prev="") for entry, _ in read(path))
    assert others == [first, first]
    assert first.time == time
    assert b"sk-ant-a" not in path.read_bytes()
    assert b"ghp_a" not in path.read_bytes()


def test_a_wrong_key_is_not_called_tampering(tmp_path: Path) -> None:
    keyed, plain = tmp_path / "keyed", tmp_path / "plain"
    written(keyed, key=b"k")
    written(plain)
    for path, key, said in (
        (keyed, None, "No hash fits with no key"),
        (keyed, b"other", "No hash fits with this key: the log has another key, or it was altered from its"),
        (plain, b"k", "This log has no key: its hashes fit without one, so nothing shows who wrote it."),
    ):
        with pytest.raises(AuditError, match=re.escape(said)) as caught:
            verify(path, key=key)
        assert caught.value.line == 1
        with pytest.raises(AuditError, match=re.escape(said)):
            AuditLog(path, key=key)
    lines = keyed.read_bytes().splitlines(keepends=True)
    keyed.write_bytes(lines[0].replace(b"masfire", b"nasfire") + b"".join(lines[1:]))
    with pytest.raises(AuditError, match="The line was altered: its hash does not fit"):
        verify(keyed, key=b"k")
    keyed.write_bytes(lines[0])
    with pytest.raises(AuditError, match="No hash fits with this key"):
        verify(keyed, key=b"other")


def test_a_second_log_of_the_same_file_in_one_process_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AuditLog(path), pytest.raises(RecordingError, match=r"This process writes the audit log .* already"):
        AuditLog(tmp_path / "." / "log")
    code = (
        f"import masfire.governance as g\ntry:\n  g.AuditLog({str(path)!r})\nexcept Exception as e: print(e)"
    )
    with AuditLog(path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Another process writes the audit log" in done.stdout
    AuditLog(path).close()
    assert verify(path)[0] == 1


@pytest.mark.parametrize("field", ["name", "agent", "run", "id", "identity", "role"])
def test_no_text_of_a_model_makes_a_line_that_cannot_be_read(tmp_path: Path, field: str) -> None:
    path = tmp_path / "audit.log"
    texts = {"agent": "a", "run": "r", "id": "1", "identity": "me", "role": "", "name": "x"}
    texts[field] = "y" * 1_200_000
    with AuditLog(path) as log:
        governor = Governor(POLICY, audit=log)
        governor.decide(governor.propose("tool_call", texts.pop("name"), {"args": {}}, **texts))
    assert path.stat().st_size < 100_000
    verify(path)
    AuditLog(path).close()
