"""The one gate: order of interceptors, what is delivered, what is written, and who is acting."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from masfire.errors import BudgetExceeded, UsageError
from masfire.recorder import ACTOR, Budget, Recorder, activate, agent, current
from masfire.trace.io import MemorySink, TraceWriter, read_trace
from masfire.trace.model import Action, Header, Injection, Message, Observation, Step
from masfire.trace.payload import pack
from masfire.trace.redact import Redactor

HEADER = Header(run="r")


def say(text: str) -> Message:
    return Message(("b",), pack(text))


def call(text: str) -> Action:
    return Action("model_call", "m", pack({"model": "m", "messages": [{"role": "user", "content": text}]}))


def test_without_interceptors_a_step_passes() -> None:
    recorder = Recorder(HEADER)
    (step,) = recorder.submit("a", say("hi"), role="clerk", parents=())
    assert recorder.steps == [step]
    assert (step.step, step.agent, step.role, step.value) == (0, "a", "clerk", "hi")


def test_copies_are_judged_depth_first() -> None:
    """The third copy of a storm is judged knowing the second."""
    seen: list[tuple[str, int]] = []

    def storm(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        return [step.with_payload(pack(f"{step.value}{n}")) for n in range(3)]

    def judge(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        seen.append((step.value, len(history)))
        assert step.step == len(history)
        return () if step.value.endswith("1") else (step,)

    recorder = Recorder(HEADER, interceptors=(storm, judge))
    delivered = recorder.submit("a", say("x"))
    assert seen == [("x0", 0), ("x1", 1), ("x2", 1)]
    assert [(step.step, step.value) for step in delivered] == [(0, "x0"), (1, "x2")]
    assert recorder.steps == list(delivered)


def test_marks_are_recorded_apart_and_shown_to_nobody(tmp_path: Path) -> None:
    shown: list[Step] = []

    def mark(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        return (Step(step.step, step.time, step.agent, Injection("f", "f@a", "injected")), step)

    def look(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        shown.append(step)
        return (step,)

    recorder = Recorder(HEADER, sink=TraceWriter(tmp_path / "t", HEADER), interceptors=(mark, look))
    delivered = [recorder.submit("a", say(text))[0] for text in "xy"]
    trace = recorder.finish("completed")
    assert [step.kind for step in shown] == ["message", "message"]
    assert [step.step for step in delivered] == [0, 1]
    assert [step.step for step in trace.injections] == [0, 1]
    assert read_trace(tmp_path / "t") == trace


def test_what_is_delivered_is_not_redacted_what_is_kept_is() -> None:
    key = "sk-" + "a" * 30
    histories: list[str] = []

    def look(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        histories.extend(old.value for old in history)
        return (step,)

    recorder = Recorder(HEADER, sink=MemorySink(Redactor()), interceptors=(look,))
    assert recorder.submit("a", say(key))[0].value == key
    recorder.submit("a", say("next"))
    assert histories == ["[redacted:openai-key]"]


def test_budgets_stop_a_run() -> None:
    recorder = Recorder(HEADER, budget=Budget(steps=3, calls=1))
    recorder.submit("a", call("x"))
    with pytest.raises(BudgetExceeded, match="1 model calls"):
        recorder.submit("a", call("x"))
    recorder.submit("a", say("x"))
    recorder.submit("a", say("x"))
    with pytest.raises(BudgetExceeded, match="3 steps"):
        recorder.submit("a", say("x"))
    assert recorder.notes["budget"] == "3 steps"
    assert isinstance(BudgetExceeded("x"), PermissionError)


def test_a_finished_run_records_nothing_more() -> None:
    recorder = Recorder(HEADER)
    trace = recorder.finish("completed", answer={1, 2})
    assert trace.end is not None
    assert "$python" in str(trace.end.answer and bytes(trace.end.answer))
    assert recorder.finish("error") == trace
    with pytest.raises(BudgetExceeded, match="is over"):
        recorder.submit("a", say("late"))
    with pytest.raises(UsageError, match="on_full='never'"):
        Recorder(HEADER, on_full="never")


def test_an_interceptor_that_waits_needs_asubmit() -> None:
    async def wait(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        await asyncio.sleep(0)
        return (step,)

    with pytest.raises(TypeError, match="asubmit"):
        Recorder(HEADER, interceptors=(wait,)).submit("a", say("x"))
    recorder = Recorder(HEADER, interceptors=(wait,))
    (step,) = asyncio.run(recorder.asubmit("a", say("x")))
    assert step.value == "x"


def test_a_waiting_interceptor_is_asked_again_when_history_moved() -> None:
    asked: list[int] = []

    async def run() -> list[int]:
        async def slow(step: Step, history: Sequence[Step]) -> Sequence[Step]:
            if step.agent == "slow":
                asked.append(len(history))
                await asyncio.sleep(0.01)
            return (step,)

        recorder = Recorder(HEADER, interceptors=(slow,))
        waiting = asyncio.create_task(recorder.asubmit("slow", say("s")))
        await asyncio.sleep(0.001)
        recorded = await recorder.asubmit("fast", say("f"))
        assert [step.step for step in recorded] == [0]
        return [step.step for step in await waiting]

    assert asyncio.run(run()) == [1]
    assert asked == [0, 1]


def test_threads_get_dense_indices(tmp_path: Path) -> None:
    recorder = Recorder(HEADER, sink=TraceWriter(tmp_path / "t", HEADER, redactor=Redactor()))

    def work(name: str) -> None:
        for _ in range(50):
            (asked,) = recorder.submit(name, call("shared " * 20))
            recorder.submit(
                name, Observation("model_reply", "m", asked.step, pack(name)), parents=(asked.step,)
            )

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace = recorder.finish("completed")
    assert [step.step for step in trace.steps] == list(range(800))
    for step in trace.steps:
        if isinstance(step.body, Observation):
            assert trace[step.body.of].agent == step.agent == step.value
    assert read_trace(tmp_path / "t") == trace


def test_a_fork_while_another_thread_records_does_not_hang(tmp_path: Path) -> None:
    recorder = Recorder(HEADER, sink=TraceWriter(tmp_path / "t", HEADER))
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            recorder.submit("busy", say("x" * 2000))

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                recorder.submit("child", say("from the child"))
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    recorder.finish("completed")
    trace = read_trace(tmp_path / "t")
    assert [step.value for step in trace.of_agent("child")] == ["from the child"] * 5
    assert [step.step for step in trace.steps] == list(range(len(trace)))


def test_a_fork_between_a_steps_line_and_its_place_in_history(tmp_path: Path) -> None:
    """The child does not know the step that was just written, and numbers its own as if it were not there."""

    class Forking(TraceWriter):
        def write(self, step: Step) -> Step:
            stored = super().write(step)
            if step.step == 2 and step.agent == "parent":
                child = os.fork()
                if child == 0:
                    recorder.submit("child", say("from the child"))
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            return stored

    recorder = Recorder(HEADER, sink=Forking(tmp_path / "t", HEADER))
    for number in range(4):
        recorder.submit("parent", say(str(number)))
    recorder.finish("completed")
    trace = read_trace(tmp_path / "t")
    assert [step.value for step in trace.of_agent("parent")] == ["0", "1", "2", "3"]
    assert [step.value for step in trace.of_agent("child")] == ["from the child"]
    assert [step.step for step in trace.steps] == list(range(5))


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "t"
    first = Recorder(HEADER, sink=TraceWriter(path, HEADER))
    first.submit("a", say("one"))
    before = read_trace(path)
    writer = TraceWriter.reopen(path)
    recorder = Recorder(writer.header, sink=writer, prior=before)
    assert recorder.submit("a", say("two"), parents=(0,))[0].step == 1
    recorder.finish("completed")
    assert [step.value for step in read_trace(path).steps] == ["one", "two"]


def test_who_acts_and_which_run_is_current() -> None:
    assert current() is None
    one, two = Recorder(HEADER), Recorder(HEADER)
    with activate(one), agent("planner", role="plans"):
        actor = ACTOR.get()
        assert actor is not None
        assert (actor.agent, actor.role) == ("planner", "plans")
        seen: list[object] = []
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        assert seen == [one]
        with activate(two):
            assert current() is two
            thread = threading.Thread(target=lambda: seen.append(current()))
            thread.start()
            thread.join()
            assert seen[1] is None  # two runs are active and this thread belongs to neither
        assert current() is one
    assert ACTOR.get() is None
    assert current() is None
