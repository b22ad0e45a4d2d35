"""Golden traces: runs of the example systems, with and without faults, come out as they were recorded."""

import re
from pathlib import Path

import msgspec
import pytest

from masfire.campaign.again import repeat_cell
from masfire.cli import execute
from masfire.errors import Divergence
from masfire.recorder.player import Player
from masfire.trace.difference import trace_difference
from masfire.trace.io import read_trace, save_trace
from masfire.trace.model import Observation
from masfire.trace.payload import pack
from tests.support import golden

GOLDEN = sorted(golden.FOLDER.glob("*.jsonl"))
OTHERS = ("message_cycle", "role_ambiguity", "parameter_filling_error", "context_length_violation")


def test_there_is_a_clean_and_a_broken_run_of_every_example() -> None:
    wanted = {golden.path_of(system, one) for system, fault in golden.FAULTS.items() for one in ("", fault)}
    assert set(GOLDEN) == wanted


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_trace_is_replayed_step_by_step(path: Path, tmp_path: Path) -> None:
    record = read_trace(path)
    player = Player(record)
    repeated = repeat_cell(path, player, out=tmp_path / "again.jsonl")
    assert repeated.difference is None
    assert repeated.divergence is None
    assert player.answered == sum(step.kind == "model_call" for step in record)
    sources = {step.body.draw.source for step in repeated.trace if step.kind == "model_reply"}
    assert sources == {"replay"}
    states = [(mark.step, mark.body.state, mark.body.address) for mark in record.injections]
    assert [(m.step, m.body.state, m.body.address) for m in repeated.trace.injections] == states


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_trace_is_fit_to_be_read(path: Path) -> None:
    assert path.stat().st_size < 64_000
    text = path.read_text("utf-8")
    assert not re.search(r"/(home|root|tmp|work|opt|Users)/", text)
    record = read_trace(path)
    assert record.end is not None
    assert record.end.status == "completed"
    assert [step.time for step in record] == [float(step.step) for step in record]


@pytest.mark.parametrize("system", golden.FAULTS)
def test_what_is_recorded_now_is_replayed_now(system: str, tmp_path: Path) -> None:
    """The law over further faults, with agents woken in parallel among them."""
    for fault in OTHERS:
        out = tmp_path / f"{fault}.jsonl"
        record = golden.record(system, fault, out, control=golden.path_of(system))
        repeated = repeat_cell(out, Player(record), out=tmp_path / "again.jsonl")
        assert (fault, repeated.divergence, repeated.difference) == (fault, None, None)


def test_an_altered_answer_is_a_divergence_that_says_where(tmp_path: Path) -> None:
    record = read_trace(golden.path_of("linear"))
    index = next(s.step for s in record if s.agent == "reader" and s.kind == "message")
    steps = list(record.steps)
    steps[index] = steps[index].with_payload(pack({**steps[index].value, "booked": [["green chairs", 9]]}))
    path = golden.FOLDER / "plan.yaml"
    player = Player(msgspec.structs.replace(record, steps=tuple(steps)))
    repeated = repeat_cell(tmp_path / "x.jsonl", player, out=tmp_path / "again.jsonl", plan=path)
    left = repeated.divergence
    assert isinstance(left, Divergence)
    assert (left.step, left.agent, left.path) == (index, "reader", "content.booked")
    assert (left.expected, left.got) == ([["green chairs", 9]], "(nothing)")
    assert left.exit_code == 3
    assert len(repeated.trace) == index + 1


def test_a_missing_and_a_further_step_are_divergences(tmp_path: Path) -> None:
    record = read_trace(golden.path_of("linear"))
    plan = golden.PLAN
    shorter = msgspec.structs.replace(record, steps=record.steps[:-1])
    repeated = repeat_cell(tmp_path / "x", Player(shorter), out=tmp_path / "a.jsonl", plan=plan)
    assert "The record ends with step" in str(repeated.divergence)
    one_more = msgspec.structs.replace(record.steps[-1], step=len(record))
    longer = msgspec.structs.replace(record, steps=(*record.steps, one_more))
    repeated = repeat_cell(tmp_path / "x", Player(longer), out=tmp_path / "b.jsonl", plan=plan)
    assert "the record goes on with a message" in str(repeated.divergence)


def test_a_record_that_breaks_off_is_repeated_up_to_there(tmp_path: Path) -> None:
    record = read_trace(golden.path_of("star"))
    for cut in (5, 6, 7):  # after a reply, a message, a request
        part = msgspec.structs.replace(record, steps=record.steps[:cut], end=None)
        player = Player(part)
        repeated = repeat_cell(tmp_path / "x", player, out=tmp_path / "a.jsonl", plan=golden.PLAN)
        assert repeated.divergence is None
        assert repeated.stopped.startswith("The record breaks off")
        assert (
            trace_difference(part, msgspec.structs.replace(repeated.trace, steps=repeated.trace.steps[:cut]))
            is None
        )


def test_without_its_fault_a_run_goes_its_own_way_until_the_record_has_no_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = str(golden.path_of("linear", golden.FAULTS["linear"]))
    assert execute(["replay", broken, "--without-faults"]) == 3
    assert "The record has no answer to the model request of clerk" in capsys.readouterr().out
    assert execute(["replay", broken, "--without-faults", "--live"]) == 0
    said = capsys.readouterr().out
    assert "First differs at step" in said
    assert "asked live" in said
    storm = str(golden.path_of("dialogue", golden.FAULTS["dialogue"]))
    assert execute(["replay", storm, "--without-faults"]) in (0, 3)


def test_the_command_tells_same_stopped_and_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(golden.path_of("mesh"))
    assert execute(["replay", path]) == 0
    assert capsys.readouterr().out.startswith("Same as recorded: ")
    assert execute(["replay", path, "--until", "3", "--format", "json"]) == 0
    assert '"same": false' in capsys.readouterr().out
    assert execute(["replay", path, "--until", "3000"]) == 2
    assert "There is no step 3000" in capsys.readouterr().err
    assert execute(["replay", path, "--live"]) == 2
    assert execute(["replay", path, "--without-faults", "--faults", "message_storm"]) == 2
    record = read_trace(path)
    lost = tmp_path / "lost.jsonl"
    save_trace(record, lost)
    capsys.readouterr()
    assert execute(["replay", str(lost)]) == 2
    assert "Say where it is by --plan" in capsys.readouterr().err
    assert execute(["replay", str(lost), "--plan", str(golden.PLAN)]) == 0
    save_trace(msgspec.structs.replace(record, header=record.blind().header), lost)
    assert execute(["replay", str(lost)]) == 2
    assert "does not say how it was started" in capsys.readouterr().err


def test_a_saved_trace_is_the_trace(tmp_path: Path) -> None:
    for path in GOLDEN:
        record = read_trace(path)
        save_trace(record, tmp_path / "copy.jsonl")
        assert (tmp_path / "copy.jsonl").read_bytes() == path.read_bytes()
        assert any(isinstance(step.body, Observation) for step in record)
