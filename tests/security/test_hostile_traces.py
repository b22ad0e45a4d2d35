"""Traces by somebody who means harm, through every command that reads them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from masfire.cli import execute
from masfire.errors import TraceError
from masfire.trace import context, reader
from masfire.trace.io import read_trace
from masfire.trace.model import Trace
from tests.support.forged import Forger, message, request, step

EVIL = "\x1b]0;owned\x07\x9b2J<script>alert(1)</script>\u2028\u202e"
DEEP = "[" * 100_000 + "]" * 100_000
Captured = pytest.CaptureFixture[str]


def told(path: Path, capsys: Captured, *options: str, code: int = 0) -> str:
    capsys.readouterr()
    assert execute(["show", str(path), *options]) == code
    return "".join(capsys.readouterr())


def test_no_field_of_a_trace_can_act_on_a_terminal(tmp_path: Path, capsys: Captured) -> None:
    header = {"run": EVIL, "system": EVIL, "faults": [EVIL], "models": [EVIL], "task": EVIL}
    forger = Forger(tmp_path / "t", **header, launch={EVIL: EVIL}, privacy=EVIL)
    error = {"error": {"type": EVIL, "message": EVIL}}
    draw = {"request": EVIL, "source": EVIL}
    bodies: list[dict[str, Any]] = [
        message(EVIL, to=[EVIL], via=EVIL),
        {"type": "action", "kind": EVIL, "name": EVIL, "proposed": EVIL, "id": EVIL},
        {"type": "observation", "kind": EVIL, "name": EVIL, "of": 1, "outcome": EVIL, "draw": draw},
        {"type": "observation", "kind": "tool_result", "name": EVIL, "of": 1, "outcome": error, "ok": False},
        {"type": "decision", "outcome": EVIL, "rule": EVIL, "reason": EVIL, "of": 1},
        request({"model": EVIL, "messages": [{"role": EVIL, "content": EVIL}]}),
    ]
    for index, body in enumerate(bodies):
        forger.add(step(index, body, agent=EVIL, role=EVIL))
    mark = {"type": "injection", "fault": EVIL, "address": EVIL, "state": EVIL, "reason": EVIL}
    forger.add(step(2, {**mark, "before": EVIL, "after": EVIL}, agent=EVIL))
    forger.add({"record": "end", "status": EVIL, "error": EVIL, "answer": EVIL})
    for options in ([], ["--truth"], ["--truth", "--format", "json"]):
        said = told(forger.path, capsys, *options)
        assert all(line.isprintable() for line in said.split("\n"))
    execute(["doctor", str(forger.path)])
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


@pytest.mark.parametrize(
    "bad",
    ["9" * 5_000, "[" * 400 + "]" * 400, json.dumps({"$json": DEEP}), '{"$json":"no JSON"}',
     json.dumps({"$json": "9" * 5_000})],
)  # fmt: skip
def test_one_unreadable_payload_does_not_hide_the_rest(tmp_path: Path, capsys: Captured, bad: str) -> None:
    forger = Forger(tmp_path / "t")
    forger.add(step(0, message("before")))
    body = f'{{"type":"message","to":["b"],"content":{bad}}}'
    forger.add_raw(f'"seq":2,"record":"step","step":1,"time":1,"agent":"a","body":{body}}}'.encode())
    wrong = f'{{"type":"observation","kind":"tool_result","name":"t","of":0,"outcome":{bad},"ok":false}}'
    forger.add_raw(f'"seq":3,"record":"step","step":2,"time":1,"agent":"a","body":{wrong}}}'.encode())
    call = f'{{"type":"action","kind":"model_call","name":"m","proposed":{{"messages":[{bad}]}}}}'
    forger.add_raw(f'"seq":4,"record":"step","step":3,"time":1,"agent":"a","body":{call}}}'.encode())
    forger.seq = 5
    forger.add(step(4, message("after")))
    said = told(forger.path, capsys)
    assert "before" in said
    assert "after" in said
    assert "$refused" in said
    steps = json.loads(told(forger.path, capsys, "--format", "json"))["steps"]
    assert "$refused" in steps[1]["body"]["content"]
    assert steps[4]["body"]["content"] == "after"


def test_references_that_no_recorder_wrote_stay_as_they_are(tmp_path: Path, capsys: Captured) -> None:
    odd: list[Any] = [[1, "messages", 0], [9, "messages", 0], [-1, "messages", 0], [0, "messages", -1],
                      [0, "x", 0], ["a", "b", "c"], [0, "messages", 10**30], [], None, 5, [[], {}, {}],
                      [0, "messages", 0, 0], {"a": 1}]  # fmt: skip
    forger = Forger(tmp_path / "t")
    forger.add(step(0, request({"messages": ["first"]})))
    items = [{"$ref": ref} for ref in odd]
    forger.add(
        step(1, request({"messages": [*items, {"$ref": [0, "messages", 0]}], "input": 5, "tools": {}}))
    )
    steps = json.loads(told(forger.path, capsys, "--format", "json"))["steps"]
    assert steps[1]["body"]["proposed"]["messages"] == [*items, "first"]


def test_references_cannot_fan_out_without_bound(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masfire.reporting.story.MAX_TOLD", 3_000_000)
    forger = Forger(tmp_path / "t")
    forger.add(step(0, request({"messages": ["x" * 100_000]})))
    forger.add(step(1, request({"messages": [{"$ref": [0, "messages", 0]}] * 20})))
    many = [{"$ref": [0, "messages", 0]}] * 20_000
    forger.add(step(2, request({"messages": many})))
    said = told(forger.path, capsys, "--format", "json")
    steps = json.loads(said)["steps"]
    assert steps[1]["body"]["proposed"]["messages"] == ["x" * 100_000] * 20
    assert steps[2]["body"]["proposed"]["messages"] == many
    assert len(said) < 10_000_000
    assert context.MAX_EXPANDED <= 1 << 26


@pytest.mark.parametrize("reference", [[], ["x", "messages", 0], [[], 1, 2], 5, None, {"a": 1}])
def test_a_second_writer_may_refer_to_nonsense(tmp_path: Path, reference: Any) -> None:
    forger = Forger(tmp_path / "t")
    forger.add(step(0, message("first")))
    forger.add({"record": "join", "steps": 1}, seq=0, writer="w")
    odd = request({"messages": [{"$ref": reference}], "input": 5, "tools": {"a": 1}})
    forger.add(step(1, odd), seq=1, writer="w")
    forger.add(step(2, request({"$json": '{"$ref":'})), seq=2, writer="w")
    trace = read_trace(forger.path)
    assert trace.request(1)["messages"] == [{"$ref": reference}]


def test_what_looks_like_many_lines_in_one_is_refused_soon(tmp_path: Path) -> None:
    forger = Forger(tmp_path / "t")
    forger.add(step(0, message("good")))
    with forger.path.open("ab") as file:
        file.write(b'{"crc":"' * 1_000_000 + b"\n")
    started = time.monotonic()
    with pytest.raises(TraceError, match="checksum of the line") as caught:
        read_trace(forger.path)
    assert isinstance(caught.value.prefix, Trace)
    assert len(caught.value.prefix) == 1
    assert time.monotonic() - started < 10  # a search at every place takes hours


def test_many_disowned_fragments_are_read_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forger = Forger(tmp_path / "t")
    with forger.path.open("ab") as file:
        file.writelines(b"x" * length + b"\n" for length in range(1, 200))
    for length in range(1, 200):
        forger.add({"record": "torn", "bytes": length})
    forger.add(step(0, message("good")))
    passes: list[int] = []
    batches = reader._Reading._batches
    monkeypatch.setattr(
        reader._Reading, "_batches", lambda self, start: passes.append(start) or batches(self, start)
    )
    assert len(read_trace(forger.path)) == 1
    assert len(passes) == 2
