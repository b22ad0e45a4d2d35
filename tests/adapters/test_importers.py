"""Foreign logs become traces; what is not understood is counted or refused, never dropped."""

from __future__ import annotations

import json

import pytest

from masfire.adapters import agentrx, chatlog, foreign, taubench, whowhen
from masfire.errors import UsageError
from tests.support import logs


def test_a_turn_of_whowhen_is_the_step_of_the_same_index():
    run = whowhen.convert({**logs.whowhen(culprit=3), "surprise": 1})
    assert [step.value for step in run.trace] == [
        turn["content"] for turn in logs.whowhen(culprit=3)["history"]
    ]
    assert (run.label.step, run.label.agent) == (3, "Planner_Expert")
    assert run.ignored == {"field surprise": 1}
    assert run.group == "q1"
    assert run.trace.end.success is False


def test_the_expected_answer_is_not_in_the_trace():
    run = whowhen.convert({**logs.whowhen(), "ground_truth": "SECRET-42"})
    assert run.expected == "SECRET-42"
    assert not any(b"SECRET" in bytes(step.payload) for step in run.trace)
    assert b"SECRET" not in bytes(run.trace.header.task)


def test_parentheses_of_hand_crafted_speakers_become_roles_and_recipients():
    data = logs.whowhen(hand=True)
    data["history"][1]["role"] = "Orchestrator (-> WebSurfer)"
    data["history"][2]["role"] = "human"
    steps = whowhen.convert(data).trace.steps
    assert (steps[1].agent, steps[1].role, steps[1].body.to) == ("Orchestrator", "dispatch", ("WebSurfer",))
    assert steps[2].agent == "user"
    assert (steps[3].agent, steps[3].role) == ("Orchestrator", "thought")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"history": []}, "at least one turn"),
        ({"history": [{"content": 3}]}, r"history\[0\]"),
        ({"mistake_step": "x"}, "must be a number"),
        ({"mistake_step": "17"}, "has 6 turns"),
    ],
)
def test_a_damaged_whowhen_log_says_what_is_wrong(change, complaint):
    with pytest.raises(UsageError, match=complaint):
        whowhen.convert({**logs.whowhen(), **change}, where="log.json")


def test_tau_runs_keep_calls_results_and_expectations():
    (run,) = taubench.convert([tau_with_noise()])
    kinds = [step.kind for step in run.trace]
    expected = "message message tool_call tool_result message message tool_call tool_result message"
    assert kinds == expected.split()
    assert run.begins == tuple(range(9))
    assert run.trace[3].body.of == 2
    assert run.trace[7].body.ok is False
    assert run.trace[2].value == {"args": {"order": "W1"}}
    assert run.expected["outputs"] == ["10"]
    assert run.ignored == {"message field mood": 1}


def tau_with_noise():
    data = logs.tau()
    data["traj"][4]["mood"] = "good"
    return data


def test_a_message_with_words_and_a_call_is_two_steps_and_labels_follow(tmp_path):
    data = logs.tau()
    data["traj"][2]["content"] = "One moment."
    runs = logs.write(tmp_path, "runs.json", [data])
    note = {"trajectory_id": 7, "root_cause": {"failure_id": 1},
            "failures": [{"failure_id": 1, "step_number": 7, "failed_agent": "Assistant"}]}  # fmt: skip
    other = {**note, "trajectory_id": 8}
    (run,) = agentrx.read(runs, logs.write(tmp_path, "notes.json", [note, other]))
    assert run.begins == (0, 1, 2, 4, 5, 6, 7, 8, 9)
    assert (run.label.step, run.label.agent) == (7, "assistant")
    assert run.ignored == {"annotation without its run": 1}
    note["failures"][0]["step_number"] = 99
    with pytest.raises(UsageError, match="blames step 99 of 9"):
        agentrx.read(runs, logs.write(tmp_path, "notes.json", [note]))


def test_chat_lines_are_runs_and_odd_calls_are_counted(tmp_path):
    calls = [{"id": "c"}, {"function": {"name": "f", "arguments": "{"}}]
    odd = {"role": "assistant", "content": None, "tool_calls": calls}
    lines = [{"messages": [{"role": "user", "content": "hi"}, odd]}, [{"role": "user", "content": "ho"}]]
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    first, second = chatlog.read(path)
    assert first.ignored == {"tool call without a function name": 1}
    assert first.trace[1].value == {"args": "{"}
    assert len(second.trace) == 1
    path.write_text('{"messages": "x"}\n')
    with pytest.raises(UsageError, match=r"runs\.jsonl:1: This is no chat log"):
        chatlog.read(path)


def test_shapes_are_recognised_and_unknown_ones_refused(tmp_path):
    assert foreign.read_runs(logs.write(tmp_path, "a.json", logs.whowhen()))[0].label.step == 2
    assert foreign.read_runs(logs.write(tmp_path, "b.json", [logs.tau()]))[0].group == "7"
    assert len(foreign.read_runs(logs.write(tmp_path, "c.json", [{"role": "user", "content": "x"}]))) == 1
    with pytest.raises(UsageError, match=r"d\.json: The shape of this log is not known.*whowhen"):
        foreign.read_runs(logs.write(tmp_path, "d.json", {"what": "ever"}))
    (tmp_path / "e.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="no JSON file"):
        foreign.read_runs(tmp_path / "e.json")


@pytest.mark.parametrize("step", [float("inf"), float("nan"), None, [], "9" * 5_000])
def test_a_step_that_is_no_number_is_said_and_nothing_crashes(step):
    with pytest.raises(UsageError, match="mistake_step"):
        whowhen.convert({**logs.whowhen(), "mistake_step": step})


def test_blanks_in_a_name_are_read_in_linear_time():
    data = logs.whowhen(hand=True)
    blanks = "A" + " " * 1_000_000 + "b"  # took half an hour
    data["history"][1]["role"] = data["mistake_agent"] = blanks
    run = whowhen.convert(data)
    assert (run.trace.steps[1].agent, run.label.agent) == (blanks, blanks)


@pytest.mark.parametrize("calls", [5, "now", {"a": 1}])
def test_tool_calls_of_another_shape_are_counted(calls):
    run = chatlog.convert([{"role": "assistant", "content": "hi", "tool_calls": calls}])
    assert run.ignored == {"tool calls that are no list": 1}


@pytest.mark.parametrize("task", [{"actions": 5}, {"outputs": "x"}, {"actions": ["x"]}, {"actions": [{}]}])
def test_expectations_of_another_shape_are_refused(task):
    with pytest.raises(UsageError, match="run 0"):
        taubench.convert([{"task_id": 1, "reward": 0, "traj": [], "info": {"task": task}}])


@pytest.mark.parametrize(
    "change",
    [
        lambda notes: notes.append({"failures": [], "root_cause": {}}),
        lambda notes: notes[0]["failures"][0].update(step_number=float("inf")),
    ],
)
def test_a_damaged_annotation_says_what_is_wrong(tmp_path, change):
    run = {"task_id": 7, "reward": 0, "traj": [{"role": "user", "content": "Hi"}], "info": {}}
    failure = {"failure_id": "f", "step_number": 1}
    notes = [{"trajectory_id": "7", "failures": [failure], "root_cause": {"failure_id": "f"}}]
    change(notes)
    runs, labels = tmp_path / "runs.json", tmp_path / "labels.json"
    runs.write_text(json.dumps([run]))
    labels.write_text(json.dumps(notes))
    with pytest.raises(UsageError):
        agentrx.read(runs, labels)


def test_runs_are_named_after_their_files(tmp_path):
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    lines = tmp_path / "chat.jsonl"
    lines.write_text(f"{json.dumps(chat)}\n{json.dumps(chat)}\n")
    assert [run.trace.header.run for run in chatlog.read(lines)] == ["chat-1", "chat-2"]
    lines.write_text(json.dumps(chat))
    assert [run.trace.header.run for run in chatlog.read(lines)] == ["chat"]
    mine = logs.write(tmp_path, "mine.json", logs.whowhen())
    theirs = logs.write(tmp_path / "Algorithm-Generated", "7.json", logs.whowhen())
    assert whowhen.read(mine).trace.header.run == "mine"
    assert whowhen.read(theirs).trace.header.run == "algorithm_generated-7"
