"""A kill at any instant loses at most the step in flight; a full disk is never silent."""

from __future__ import annotations

import mmap
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from masfire.errors import RecordingError, TraceError
from masfire.recorder import Recorder
from masfire.trace.io import TraceWriter, read_trace
from masfire.trace.model import End, Message
from masfire.trace.payload import pack
from tests.support.traces import HEADER, message


def test_every_kill_point_of_a_write(tmp_path: Path) -> None:
    """Kill a writer after k bytes of a line reached the file, for every k."""
    path = tmp_path / "run.jsonl"
    with TraceWriter(path, HEADER) as writer:
        writer.write(message(0))
        before = path.stat().st_size
        writer.write(message(1, "the step in flight"))
    whole = path.read_bytes()
    line = whole[before:]
    for k in range(len(line) + 1):
        path.write_bytes(whole[:before])
        child = os.fork()
        if child == 0:
            os.write(os.open(path, os.O_WRONLY | os.O_APPEND), line[:k])
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        kept = 2 if k == len(line) else 1
        assert len(read_trace(path, tolerate_torn_tail=True)) == kept
        again = TraceWriter.reopen(path)
        assert again.steps == kept
        again.write(message(kept, "after the kill"))
        again.close(End("completed"))
        assert [step.value for step in read_trace(path).steps][kept] == "after the kill"


def test_twenty_random_kills_of_a_live_run(tmp_path: Path) -> None:
    rng = random.Random(11)
    for number in range(20):
        path = tmp_path / f"{number}.jsonl"
        shared = mmap.mmap(-1, 8)
        child = os.fork()
        if child == 0:
            writer = TraceWriter(path, HEADER)
            for index in range(1_000_000):
                writer.write(message(index, "x" * rng.choice((10, 5000, 300_000))))
                shared[:8] = struct.pack("q", index + 1)
        deadline = time.monotonic() + 20
        while struct.unpack("q", shared[:8])[0] < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged = struct.unpack("q", shared[:8])[0]
        kept = len(read_trace(path, tolerate_torn_tail=True))
        assert acknowledged <= kept <= acknowledged + 1
        writer = TraceWriter.reopen(path)
        writer.write(message(writer.steps))
        writer.close(End("completed"))
        assert len(read_trace(path)) == kept + 1


def _limited(tmp_path: Path, code: str) -> str:
    """Run code in a process whose files may grow to 4 KiB only."""
    program = "import resource, warnings; from tests.support.traces import *; from masfire.errors import *\n"
    program += "from masfire.recorder import Recorder; from masfire.trace.io import *\n"
    program += f"path = {str(tmp_path / 'run.jsonl')!r}\n" + textwrap.dedent(code)
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("joined", [False, True])
def test_a_full_disk_is_never_silent(tmp_path: Path, joined: bool) -> None:
    """Steps acknowledged are steps readable; the writer goes on when there is room again."""
    out = _limited(
        tmp_path,
        f"""
        writer = TraceWriter(path, HEADER)
        other = TraceWriter.reopen(path) if {joined} else None
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        good, refused = 0, 0
        for number in range(40):
            try:
                writer.write(message(good, "y" * 150))
                good += 1
            except RecordingError as error:
                refused += 1
                assert "run.jsonl cannot be written" in str(error), error
                if number == 30:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        if other is not None:
            other.write(message(other.steps, "from the other"))
        writer.close(End("completed", steps=good))
        print(good, refused)
        """,
    )
    good, refused = map(int, out.split())
    assert refused > 5
    trace = read_trace(tmp_path / "run.jsonl")
    assert len(trace.of_agent("writer")) == good + joined
    assert trace.end == End("completed", steps=good)


def test_a_recorder_stops_or_warns_by_policy(tmp_path: Path) -> None:
    out = _limited(
        tmp_path,
        """
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        body = message(0, "y" * 200).body
        recorder = Recorder(HEADER, sink=TraceWriter(path, HEADER))
        try:
            while True:
                recorder.submit("a", body)
        except RecordingError:
            print(len(recorder.steps), len(read_trace(path)))
        recorder = Recorder(HEADER, sink=TraceWriter(path, HEADER), on_full="warn")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            steps = [recorder.submit("a", body, parents=(-1, 0))[0] for _ in range(30)]
            recorder.finish("completed")
        print(len(recorder.steps), len(read_trace(path)), recorder.notes["unrecorded"])
        print(len(seen), sum(step.step == -1 for step in steps), "goes on unrecorded" in str(seen[0].message))
        """,
    )
    first, second, third = [row.split() for row in out.splitlines()]
    assert first[0] == first[1] > "1"
    assert second[0] == second[1]
    assert int(second[2]) - (30 - int(second[0])) in (0, 1)  # the end may not have fitted either
    assert third == ["1", str(30 - int(second[0])), "True"]


def test_what_a_failed_step_shared_is_forgotten(tmp_path: Path) -> None:
    """A later request must not point to text that was never written."""
    from masfire.trace.model import Action

    class Flaky:
        def __init__(self, writer: TraceWriter) -> None:
            self.writer, self.full = writer, False

        def write(self, step):  # type: ignore[no-untyped-def]
            if self.full:
                raise RecordingError("full")
            return self.writer.write(step)

        def close(self, end: End | None) -> None:
            self.writer.close(end)

    sink = Flaky(TraceWriter(tmp_path / "t", HEADER))
    recorder = Recorder(HEADER, sink=sink)
    call = Action("model_call", "m", pack({"messages": [{"role": "user", "content": "z" * 80}]}))
    sink.full = True
    with pytest.raises(RecordingError):
        recorder.submit("a", call)
    sink.full = False
    recorder.submit("a", Action("event", "e", pack(None)))
    recorder.submit("a", call)
    recorder.submit("a", call)
    recorder.finish("completed")
    trace = read_trace(tmp_path / "t")
    assert trace.request(1) == trace.request(2) == {"messages": [{"role": "user", "content": "z" * 80}]}
    assert "$ref" in trace.steps[2].value["messages"][0]


def test_a_killed_process_among_several_is_read_with_tolerance(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    writer = TraceWriter(path, HEADER)
    writer.write(message(0))
    child = os.fork()
    if child == 0:
        writer.write(message(1, "from the child"))
        os.write(writer._fd, b'{"crc":"12345678","seq":2,"writer":"x","rec')
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    writer.write(message(1, "after the kill"))
    writer.close(End("completed"))
    with pytest.raises(TraceError, match="checksum"):
        read_trace(path)
    trace = read_trace(path, tolerate_torn_tail=True)
    assert [step.value for step in trace.steps] == ["hello", "from the child", "after the kill"]
    assert all(isinstance(step.body, Message) for step in trace.steps)


def test_limits_of_this_process_are_as_before() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] in (-1, resource.RLIM_INFINITY)
