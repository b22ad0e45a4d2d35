"""Event logs: what a line becomes, where it stood, which lines are refused, and in how much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.adapters.events import EventLog
from masfire.errors import TraceError, UnknownName, UsageError


def log(tmp_path: Path, content: str | bytes, **options: Any) -> EventLog:
    path = tmp_path / "log"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return EventLog(path, **options)


def rows(found: EventLog) -> list[tuple[Any, ...]]:
    return [(step.body.name, *step.value["args"]) for step in found]


def test_names_arguments_and_numbers(tmp_path: Path) -> None:
    found = log(tmp_path, "open,f1,r\nbid,7,-2.50,007,1e3,+1,.5\nping\n")
    assert rows(found) == [("open", "f1", "r"), ("bid", 7, -2.5, "007", "1e3", "+1", ".5"), ("ping",)]
    assert [step.step for step in found] == [0, 1, 2]
    assert {step.kind for step in found} == {"event"}


def test_quotes_spaces_crlf_bom_and_a_last_line_without_end(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbfopen, f1 ,"a, ""b"""\r\nsay,"7"," x ",\xc3\xa9'
    assert rows(log(tmp_path, content)) == [("open", "f1", 'a, "b"'), ("say", 7, " x ", "é")]


def test_lines_are_counted_from_one_blank_ones_too(tmp_path: Path) -> None:
    found = log(tmp_path, "\n\na\nb\n\n  \nc\nd\n")
    assert [found.line(step.step) for step in found] == [3, 4, 7, 8]
    assert [found.line(step) for step in range(4)] == [3, 4, 7, 8]
    list(found)
    assert [found.line(step) for step in range(4)] == [3, 4, 7, 8]


def test_numbers_too_long_for_a_number_stay_text(tmp_path: Path) -> None:
    long, fine = "1" * 1_000_000, "1" * 250
    found = log(tmp_path, f"a,{long[:5000]},{fine}\n")
    assert rows(found) == [("a", long[:5000], int(fine))]
    with pytest.raises(TraceError, match=r"longer than 1,048,576 bytes \(line 2, byte 2\)"):
        rows(log(tmp_path, f"a\nb,{long}{long}\n"))


@pytest.mark.parametrize(
    ("column", "line"),
    [(-1, "open,f,1577836800"), (2, "open,f,2020-01-01T00:00:00Z"), (0, "2020-01-01 01:00+01:00,open,f"),
     (1, "open,1.5778368e9,f"), (-2, "open,2020-01-01,f")],
)  # fmt: skip
def test_a_time_column_is_taken_out_of_the_arguments(tmp_path: Path, column: int, line: str) -> None:
    found = log(tmp_path, line, time_column=column)
    (step,) = found
    assert (step.time, step.body.name, step.value) == (1577836800.0, "open", {"args": ["f"]})
    assert found.timed


@pytest.mark.parametrize(
    ("column", "said"),
    [(1, "Column 1 holds 'f', which is no time"), (3, "There is no column 3: the line has 3"),
     (-4, "There is no column -4"), (0, "Column 0 holds 'open'")],
)  # fmt: skip
def test_a_column_that_holds_no_time_is_a_mistake_of_the_caller(
    tmp_path: Path, column: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        rows(log(tmp_path, "\nopen,f,5", time_column=column))
    assert "counted from 0" in str(caught.value)
    assert f"{tmp_path / 'log'}:2" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [(b"a\n\xff\xfe\n", 2, "no UTF-8"), (b"a\n\n,x\n", 3, "no name"), (b'a,"open\nb"\n', 1, "quoting"),
     (b'a,"x"y\n', 1, "quoting")],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, line: int, said: str) -> None:
    with pytest.raises(TraceError, match=said) as caught:
        rows(log(tmp_path, content))
    assert caught.value.line == line
    assert caught.value.exit_code == 3


def test_objects_by_a_field_map(tmp_path: Path) -> None:
    lines = [
        {"type": "pay", "meta": {"who": "anna", "ts": "2020-01-01T00:00:00Z"}, "payload": {"amount": 3}},
        {"type": "ship", "meta": {"ts": 5}},
    ]
    fields = {"name": "type", "agent": "meta.who", "time": "meta.ts", "args": "payload"}
    found = log(tmp_path, "\n".join(map(json.dumps, lines)), form="jsonl", fields=fields)
    first, second = found
    assert (first.body.name, first.agent, first.time) == ("pay", "anna", 1577836800.0)
    assert first.value == {"args": {"amount": 3}}
    assert (second.agent, second.time, second.value) == ("", 5.0, {"args": None})


def test_without_a_field_for_arguments_they_are_the_rest_of_the_object(tmp_path: Path) -> None:
    found = log(tmp_path, '{"type": "pay", "amount": 3, "to": ["x"]}', form="jsonl", fields={"name": "type"})
    assert [step.value for step in found] == [{"args": {"amount": 3, "to": ["x"]}}]


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [("[1]", TraceError, "no JSON object"), ("{", TraceError, "cannot be decoded"),
     ('{"name": 7}', UsageError, "is no text"), ('{"type": "x"}', UsageError, "--map name=FIELD"),
     ('{"name": "a", "x": ' + "[" * 5000 + "]" * 5000 + "}", TraceError, "nests deeper"),
     ('{"name": "a", "x": ' + "9" * 100_000 + "}", TraceError, "cannot be decoded")],
)  # fmt: skip
def test_an_object_that_cannot_be_read(tmp_path: Path, line: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list(log(tmp_path, line, form="jsonl"))


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="events"):
        log(tmp_path, "", form="event")
    with pytest.raises(UnknownName, match="Did you mean 'agent'"):
        log(tmp_path, "", form="jsonl", fields={"agnt": "x"})
    with pytest.raises(UsageError, match="--map time=FIELD"):
        log(tmp_path, "", form="jsonl", time_column=1)
    with pytest.raises(UsageError, match="JSON Lines"):
        log(tmp_path, "", fields={"name": "x"})


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=8),
            max_size=4,
        ),
        max_size=6,
    )
)
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[list[str]]
) -> None:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([["e", *row] for row in written])
    path = tmp_path_factory.mktemp("csv") / "log"
    path.write_bytes(text.getvalue().encode())
    read = [["e", *map(str, step.value["args"])] for step in EventLog(path)]
    wanted = [["e", *(_canonical(field) for field in row)] for row in written]
    assert read == wanted


def _canonical(field: str) -> str:
    from masfire.adapters.events import is_number

    return str(json.loads(field)) if is_number(field) else field


MEASURE = """
import sys
from masfire.adapters.events import EventLog
log = EventLog(sys.argv[1], time_column=-1)
counted = sum(1 for _ in log)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(counted, log.line(counted - 1), peak)
"""


def test_a_long_log_is_read_in_bounded_memory(tmp_path: Path) -> None:
    peaks = []
    for events in (1_000, 200_000):
        path = tmp_path / "log"
        path.write_text("".join(f"access,user{n % 50},file{n % 20},{n * 0.5}\n\n" for n in range(events)))
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True
        )
        counted, line, peak = map(int, run.stdout.split())
        assert (counted, line) == (events, 2 * events - 1)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 12_000  # kilobytes; the steps alone would be 100,000
