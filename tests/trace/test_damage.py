"""Whatever happens to a file: a typed error with line, offset, reason and the good part, never wrong data."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from masfire.errors import TraceError
from masfire.trace import lines
from masfire.trace.io import Limits, TraceWriter, iter_records, read_trace
from masfire.trace.migrations import MIGRATIONS, Upgrade
from masfire.trace.model import End, Header, Step, Trace
from tests.support.traces import HEADER, message, story, write_story


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, bytes, Trace]:
    trace = write_story(tmp_path / "run.jsonl")
    return tmp_path / "run.jsonl", (tmp_path / "run.jsonl").read_bytes(), trace


def good_prefix(error: TraceError, trace: Trace, complete_lines: int) -> None:
    """Check that the prefix holds exactly the records of the complete lines before the damage."""
    if complete_lines == 0:
        assert error.prefix is None
        return
    assert isinstance(error.prefix, Trace)
    expected = [step for step in story()[: complete_lines - 1] if step in trace.steps]
    assert list(error.prefix.steps) == expected
    assert error.prefix.header == trace.header


def test_truncation_at_every_offset(whole: tuple[Path, bytes, Trace]) -> None:
    path, data, trace = whole
    for length in range(len(data)):
        path.write_bytes(data[:length])
        kept = data[:length].count(b"\n")
        at_line_end = length == 0 or data[length - 1 : length] == b"\n"
        if at_line_end and kept > 0:
            assert read_trace(path).end is None
            continue
        began = time.perf_counter()
        with pytest.raises(TraceError) as caught:
            read_trace(path)
        assert time.perf_counter() - began < 1.0
        assert caught.value.line == kept + 1
        assert caught.value.offset == data[:length].rfind(b"\n") + 1
        good_prefix(caught.value, trace, kept)
        if kept:
            tolerated = read_trace(path, tolerate_torn_tail=True)
            assert tolerated.end is None
            assert len(tolerated.steps) + len(tolerated.injections) == kept - 1


def test_a_flipped_bit_at_every_byte(whole: tuple[Path, bytes, Trace]) -> None:
    path, data, trace = whole
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << (position % 8)
        path.write_bytes(broken)
        with pytest.raises(TraceError) as caught:
            read_trace(path)
        line = data[:position].count(b"\n") + 1
        if data[position : position + 1] == b"\n" and position == len(data) - 1:
            assert caught.value.line == line
        else:
            assert caught.value.line == line, (position, str(caught.value))
        good_prefix(caught.value, trace, line - 1)


def _without(rows: list[bytes], index: int) -> list[bytes]:
    return rows[:index] + rows[index + 1 :]


def test_dropped_repeated_moved_and_foreign_lines(whole: tuple[Path, bytes, Trace], tmp_path: Path) -> None:
    path, data, _ = whole
    rows = data.splitlines(keepends=True)
    with TraceWriter(tmp_path / "other.jsonl", Header(run="r-2")) as writer:
        for step in story():
            writer.write(step)
        writer.close(End("completed"))
    foreign = (tmp_path / "other.jsonl").read_bytes().splitlines(keepends=True)
    cases: list[tuple[int, list[bytes]]] = []
    for index in range(1, len(rows)):
        if index < len(rows) - 1:
            cases.append((index + 1, _without(rows, index)))
            cases.append((index + 1, [*rows[:index], rows[index + 1], rows[index], *rows[index + 2 :]]))
        cases.append((index + 2, [*rows[: index + 1], rows[index], *rows[index + 1 :]]))
        cases.append((index + 1, [*rows[:index], foreign[index], *rows[index + 1 :]]))
        cases.append((index + 1, [*rows[:index], b"\n", *rows[index:]]))
        cases.append((index + 1, [*rows[:index], b"{}\n", *rows[index:]]))
    cases.append((1, rows[1:]))
    cases.append((2, [foreign[0], *rows[1:]]))
    cases.append((len(rows) + 1, [*rows, rows[-1]]))
    cases.append((len(rows) + 1, [*rows, *rows]))
    for line, changed in cases:
        path.write_bytes(b"".join(changed))
        with pytest.raises(TraceError) as caught:
            read_trace(path, tolerate_torn_tail=True)
        assert caught.value.line == line, (line, str(caught.value))


def test_records_are_yielded_up_to_the_damage(whole: tuple[Path, bytes, Trace]) -> None:
    path, data, _ = whole
    rows = data.splitlines(keepends=True)
    path.write_bytes(b"".join([*rows[:3], b"???\n", *rows[3:]]))
    seen = []
    with pytest.raises(TraceError, match=r"run\.jsonl: .*\(line 4, byte \d+\)"):
        list(map(seen.append, iter_records(path)))
    assert len(seen) == 3


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"hello\n", b"{}\n", b"\x1f\x8b\x08\n", b"[1]\n", b'{"crc":"']
)
def test_a_file_that_is_no_trace(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(TraceError) as caught:
        read_trace(tmp_path / "x", tolerate_torn_tail=True)
    assert caught.value.line == 1
    assert caught.value.prefix is None


def _forge(path: Path, *payloads: bytes) -> None:
    """Write lines with valid checksums whose content no writer of ours would produce."""
    head = lines.compose(Header, msgspec.json.encode(HEADER), 0)
    seed = lines.checksum_of(head)
    rows = [lines.compose(Step, payload, seq, seed=seed) for seq, payload in enumerate(payloads, 1)]
    path.write_bytes(head + b"".join(rows))


@pytest.mark.parametrize(
    "content",
    [
        b'"\xff\xfe"',
        b"[" * 100_000 + b"]" * 100_000,
        b"{",
        b"nul",
        b'"\\ud800"',
    ],
)
def test_hostile_lines_with_a_good_checksum(tmp_path: Path, content: bytes) -> None:
    step = b'{"step":0,"time":1,"agent":"a","body":{"type":"message","to":["b"],"content":%b}}' % content
    _forge(tmp_path / "x", step)
    with pytest.raises(TraceError) as caught:
        read_trace(tmp_path / "x")
    assert (caught.value.line, caught.value.offset) == (2, (tmp_path / "x").read_bytes().index(b"\n") + 1)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (
            b'{"step":1,"time":1,"agent":"a","body":{"type":"message","to":[],"content":1}}',
            "step 1 stands where",
        ),
        (
            b'{"step":"0","time":1,"agent":"a","body":{"type":"message","to":[],"content":1}}',
            "cannot be decoded",
        ),
        (b'{"step":0,"time":1,"agent":"a","body":{"type":"sermon","to":[],"content":1}}', "sermon"),
        (b'{"step":0,"time":1,"agent":"a"}', "missing required field `body`"),
    ],
)
def test_wrong_types_are_named(tmp_path: Path, record: bytes, reason: str) -> None:
    _forge(tmp_path / "x", record)
    with pytest.raises(TraceError, match=reason):
        read_trace(tmp_path / "x")


def test_limits_hold_before_anything_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with TraceWriter(path, HEADER) as writer:
        for index in range(5):
            writer.write(message(index, "x" * 4000 if index == 3 else [[[1]]]))
    with pytest.raises(TraceError, match="longer than 2,000 bytes") as caught:
        read_trace(path, limits=Limits(line_bytes=2000))
    assert caught.value.line == 5
    with pytest.raises(TraceError, match="more than 3 records"):
        read_trace(path, limits=Limits(steps=3))
    with pytest.raises(TraceError, match="nests deeper than 4 levels"):
        read_trace(path, limits=Limits(depth=4))
    with path.open("ab") as file:
        file.write(b"z" * 3_000_000)
    with pytest.raises(TraceError, match=r"longer than 1,000,000 bytes \(line 7"):
        read_trace(path, limits=Limits(line_bytes=1_000_000))


def test_an_unknown_version_is_named(tmp_path: Path) -> None:
    TraceWriter(tmp_path / "x", Header(run="r", masfire="trace/v99")).close()
    with pytest.raises(TraceError, match=r"version 'trace/v99' cannot be read; .* 'trace/v1'"):
        read_trace(tmp_path / "x")


def test_an_older_version_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(kind: str, fields: dict[str, object]) -> dict[str, object]:
        if kind == "step":
            fields["agent"] = fields.pop("who")
        return fields

    monkeypatch.setitem(MIGRATIONS._entries, "trace/v0", Upgrade("trace/v1", rename))
    head = lines.compose(Header, msgspec.json.encode(Header(run="old", masfire="trace/v0")), 0)
    old = b'{"step":0,"time":1,"who":"a","body":{"type":"message","to":["b"],"content":"hi"}}'
    end = b'{"status":"completed","steps":1}'
    seed = lines.checksum_of(head)
    (tmp_path / "x").write_bytes(
        head + lines.compose(Step, old, 1, seed=seed) + lines.compose(End, end, 2, seed=seed)
    )
    trace = read_trace(tmp_path / "x")
    assert (trace.steps[0].agent, trace.steps[0].value) == ("a", "hi")
    assert trace.end == End("completed", steps=1)


def test_the_stored_sample_of_version_1_reads() -> None:
    trace = read_trace(Path(__file__).parent.parent / "traces" / "v1.jsonl")
    assert trace.header.masfire == "trace/v1"
    assert list(trace.steps) == [step for step in story() if step.kind != "injection"]
    assert trace.end is not None
