"""Replies kept whole for a replay: stored beside the steps, redacted like them, checked when read."""

import os
from pathlib import Path
from typing import Any

import pytest

from masfire.errors import TraceError
from masfire.trace.io import TraceWriter, read_trace
from masfire.trace.model import Action, Drawn, Header, Original, Step
from masfire.trace.payload import pack, unpack
from masfire.trace.redact import Redactor


def call(index: int) -> Step:
    return Step(index, 1.0, "a", Action("model_call", "m", pack({"model": "m"})))


def write(path: Path, **options: Any) -> TraceWriter:
    return TraceWriter(path, Header(run="r"), **options)


def test_what_is_kept_is_read_again_without_its_secrets(tmp_path: Path) -> None:
    secret = "sk-abcdefghijklmnopqrstuvwxyz012345"
    body = {"output": [{"token": "word", "text": f"key {secret}", "args": '{"password": "hunter2"}'}]}
    with write(tmp_path / "t.jsonl", redactor=Redactor()) as writer:
        writer.write(call(0))
        stored = writer.keep(Original(0, pack(body)))
        writer.keep(Drawn("time", "a", pack(1.5)))
    trace = read_trace(tmp_path / "t.jsonl")
    assert trace.originals == (stored,)
    assert trace.draws == (Drawn("time", "a", pack(1.5)),)
    text = (tmp_path / "t.jsonl").read_text()
    assert secret not in text
    assert "hunter2" not in text
    assert unpack(stored.body)["output"][0]["token"] == "word"
    assert (trace.blind().originals, trace.blind().draws) == ((), ())


def test_a_reply_to_a_step_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with write(tmp_path / "t.jsonl") as writer:
        writer.keep(Original(0, pack({})))
        writer.write(call(0))
    with pytest.raises(TraceError, match="stands before that step"):
        read_trace(tmp_path / "t.jsonl")


def test_a_forked_process_keeps_replies_under_the_places_of_its_own_steps(tmp_path: Path) -> None:
    with write(tmp_path / "t.jsonl") as writer:
        writer.write(call(0))
        child = os.fork()
        if child == 0:
            writer.write(call(1))
            writer.keep(Original(1, pack({"by": "child"})))
            os._exit(0)
        os.waitpid(child, 0)
        writer.write(call(1))
        writer.keep(Original(1, pack({"by": "parent"})))
    trace = read_trace(tmp_path / "t.jsonl")
    assert [(kept.call, unpack(kept.body)["by"]) for kept in trace.originals] == [(1, "child"), (2, "parent")]
