"""The published schema is current, and what is written satisfies it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from masfire.trace.io import TraceWriter
from masfire.trace.model import Decision, Step
from masfire.trace.schema import SCHEMA_FILE, schema_text, trace_schema
from tests.support.traces import message, write_story


def test_the_published_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_every_written_line_validates(tmp_path: Path) -> None:
    write_story(tmp_path / "a", ended=False)
    writer = TraceWriter.reopen(tmp_path / "a")
    writer.write(Step(5, 1.0, "g", Decision("block", "rule", "why", 3)))
    child = os.fork()
    if child == 0:
        writer.write(message(6))
        os._exit(0)
    os.waitpid(child, 0)
    write_story(tmp_path / "b")
    validator = jsonschema.Draft202012Validator(trace_schema())
    validator.check_schema(trace_schema())
    rows = [
        json.loads(line) for name in "ab" for line in (tmp_path / name).read_text("utf-8").split("\n") if line
    ]
    assert {row["record"] for row in rows} == {"header", "step", "join", "end"}
    for row in rows:
        validator.validate(row)


@pytest.mark.parametrize(
    "change", [{"crc": "xyz"}, {"step": "0"}, {"body": {"type": "sermon"}}, {"record": "poem"}]
)
def test_a_wrong_line_does_not(tmp_path: Path, change: dict[str, object]) -> None:
    write_story(tmp_path / "a")
    row = json.loads((tmp_path / "a").read_text("utf-8").split("\n")[1])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(row | change, trace_schema())
