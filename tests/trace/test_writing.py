"""What was written is read back, from one writer, from several, and after an interruption."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from masfire.errors import RecordingError, TraceError
from masfire.trace.io import MemorySink, TraceWriter, iter_records, read_trace, scan
from masfire.trace.model import Action, End, Header, Message, Observation, Step
from masfire.trace.payload import pack
from masfire.trace.redact import Redactor
from tests.support.traces import HEADER, message, same, story, write_story


def test_dump_then_load_is_the_identity(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    written = write_story(path)
    assert same(read_trace(path), written)


def test_records_stream_in_file_order(tmp_path: Path) -> None:
    trace = write_story(tmp_path / "run.jsonl")
    records = list(iter_records(tmp_path / "run.jsonl"))
    assert records == [trace.header, *story(), trace.end]


def test_scan_sees_the_visible_steps_without_their_payloads(tmp_path: Path) -> None:
    trace = write_story(tmp_path / "run.jsonl")
    seen = [(one.step, one.agent, one.kind) for one in scan(tmp_path / "run.jsonl")]
    assert seen == [(step.step, step.agent, step.kind) for step in trace.steps]
    with (tmp_path / "run.jsonl").open("ab") as file:
        file.write(b"hello\n")
    with pytest.raises(TraceError, match=r"line 9"):
        list(scan(tmp_path / "run.jsonl"))


def test_scan_decodes_odd_names(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t", HEADER) as writer:
        writer.write(Step(0, 1.0, 'a "b"\\\n é', Action('k"1', "n", pack(1))))
    assert [(one.agent, one.kind) for one in scan(tmp_path / "t")] == [('a "b"\\\n é', 'k"1')]


def test_a_new_run_replaces_an_old_file_and_old_readers_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_story(path)
    with path.open("rb") as old:
        TraceWriter(path, Header(run="new")).close()
        assert read_trace(path).header.run == "new"
        assert b'"r-1"' in old.read()
    assert not stat.S_IMODE(path.stat().st_mode) & 0o111


@pytest.mark.parametrize("torn", [b"", b'{"crc":"0000', b'{"crc":"00000000","seq":7,"rec', b"\xff\x00"])
def test_an_interrupted_file_is_healed_and_goes_on(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "run.jsonl"
    before = write_story(path, ended=False)
    with path.open("ab") as file:
        file.write(torn)
    writer = TraceWriter.reopen(path)
    assert writer.steps == 5
    assert writer.header == before.header
    writer.write(message(5, parents=(4,)))
    writer.close(End("completed", steps=6))
    trace = read_trace(path)
    assert trace.steps == (*before.steps, message(5, parents=(4,)))
    assert trace.end == End("completed", steps=6)
    assert b"writer" not in path.read_bytes().splitlines()[-1]


def test_an_ended_or_damaged_file_is_not_reopened(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_story(path)
    with pytest.raises(RecordingError, match="has ended"):
        TraceWriter.reopen(path)
    path.write_bytes(path.read_bytes().replace(b"pen", b"pan", 1))
    with pytest.raises(TraceError):
        TraceWriter.reopen(path)
    with pytest.raises(RecordingError, match=r"none\.jsonl cannot be written: No such file"):
        TraceWriter.reopen(tmp_path / "none.jsonl")
    with pytest.raises(RecordingError, match="cannot be written"):
        TraceWriter(tmp_path / "no" / "folder.jsonl", HEADER)


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "run.jsonl", HEADER)
    writer.close()
    writer.close()
    with pytest.raises(RecordingError, match="is closed; step 0 was not recorded"):
        writer.write(message(0))


def test_a_joining_writer_is_numbered_behind_what_it_knew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    first = TraceWriter(path, HEADER)
    first.write(message(0, "a"))
    second = TraceWriter.reopen(path)
    assert second.steps == 1
    first.write(message(1, "b", parents=(0,)))
    second.write(message(1, "c", parents=(0,)))
    second.write(Step(2, 1.0, "x", Observation("tool_result", "t", 1, pack(1)), parents=(0, 1)))
    first.write(message(2, "d", parents=(1,)))
    second.close(End("completed"))
    first.close(End("completed"))
    trace = read_trace(path)
    assert [step.step for step in trace.steps] == [0, 1, 2, 3, 4]
    assert [step.parents for step in trace.steps] == [(), (0,), (0,), (0, 2), (1,)]
    assert isinstance(body := trace.steps[3].body, Observation)
    assert body.of == 2
    assert [one.step for one in scan(path)] == [0, 1, 2, 3, 4]


def test_a_fork_goes_on_as_a_writer_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = TraceWriter(path, HEADER, redactor=Redactor())
    request = {"messages": [{"role": "user", "content": "x" * 60}]}
    writer.write(Step(0, 1.0, "a", Action("model_call", "m", pack(request))))
    child = os.fork()
    if child == 0:
        writer.write(Step(1, 1.0, "child", Message(("a",), pack("one"))))
        again = {"messages": [{"$ref": [0, "messages", 0]}, {"$ref": [1, "messages", 0]}]}
        writer.write(Step(2, 1.0, "child", Action("model_call", "m", pack(again)), parents=(1,)))
        writer.close(End("completed"))
        os._exit(0)
    writer.write(message(1, "parent"))
    assert os.waitpid(child, 0)[1] == 0
    writer.write(message(2, "parent again", parents=(0, 1)))
    writer.close(End("completed", steps=3))
    trace = read_trace(path)
    assert [step.step for step in trace.steps] == list(range(5))
    mine = [step.step for step in trace.steps if step.agent == "child"]
    call = trace.steps[mine[1]]
    assert call.parents == (mine[0],)
    assert [item["$ref"][0] for item in call.value["messages"]] == [0, mine[0]]
    assert trace.end == End("completed", steps=3)


def _join_and_write(path: Path, name: str, count: int, size: int) -> None:
    writer = TraceWriter.reopen(path)
    base, lock = writer.steps, threading.Lock()
    given = iter(range(base, base + count))

    def work() -> None:
        while True:
            with lock:
                index = next(given, None)
                if index is None:
                    return
                writer.write(
                    Step(index, 1.0, name, Message(("z",), pack({"n": index - base, "pad": "p" * size})))
                )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()


def test_four_processes_of_four_threads_tear_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "run.jsonl", 24
    main = TraceWriter(path, HEADER)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                _join_and_write(path, f"w{number}", count, 100_000)
            finally:
                os._exit(0)
        children.append(child)
    for index in range(count):
        main.write(message(index))
    for child in children:
        os.waitpid(child, 0)
    main.close(End("completed", steps=count))
    trace = read_trace(path)
    assert len(trace) == 5 * count
    assert [step.step for step in trace.steps] == list(range(5 * count))
    for number in range(4):
        told = [step.value["n"] for step in trace.of_agent(f"w{number}")]
        assert told == list(range(count))


def test_fsync_happens_before_the_step_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("write", "fdatasync", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _r=real: (calls.append(_n), _r(*a))[1])
    writer = TraceWriter(tmp_path / "run.jsonl", HEADER, fsync=True)
    assert calls == ["write", "fdatasync", "fsync"]  # the folder once, after the file exists
    writer.write(message(0))
    assert calls[3:] == ["write", "fdatasync"]


def test_unreadable_payloads_and_names_are_stored_readably(tmp_path: Path) -> None:
    from msgspec import Raw

    odd = [
        Step(0, 1.0, "bad \ud800 name", Message(("r\udfff",), pack(1))),
        Step(1, float("nan"), "a", Message(("r",), Raw(b'{\n  "pretty": [1,\n 2]}'))),
    ]
    with TraceWriter(tmp_path / "t", HEADER) as writer:
        stored = [writer.write(step) for step in odd]
    trace = read_trace(tmp_path / "t")
    assert list(trace.steps) == stored
    assert trace.steps[0].agent == "bad \\ud800 name"
    assert trace.steps[1].value == {"pretty": [1, 2]}


def test_memory_keeps_what_a_file_would() -> None:
    sink = MemorySink(Redactor())
    assert sink.write(message(0, "key sk-" + "a" * 20)).value == "key [redacted:openai-key]"
    sink.close(None)
