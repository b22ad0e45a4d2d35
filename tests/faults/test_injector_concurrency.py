"""Injection while threads and coroutines record at the same time."""

from __future__ import annotations

import asyncio
import threading

from masfire.faults.base import FaultSpec
from masfire.faults.injector import Injector
from masfire.recorder import Recorder
from masfire.trace.model import Header, Message
from masfire.trace.payload import pack


def test_marks_and_receipts_name_the_step_that_was_changed():
    specs = [FaultSpec.parse(f"hallucination@{name}?times=every") for name in ("t0", "t1", "c0", "c1")]
    specs.append(FaultSpec.parse("message_storm@c1?times=every&copies=3"))
    injector = Injector(specs)
    recorder = Recorder(Header("x"), interceptors=[injector], witnesses=[injector])

    def thread(name: str) -> None:
        for n in range(50):
            for step in recorder.submit(name, Message(("r",), pack(f"{name} has {n + 100} lamps"))):
                recorder.received(step.step, step.value, by="r")

    async def coroutine(name: str) -> None:
        for n in range(50):
            for step in await recorder.asubmit(name, Message(("r",), pack(f"{name} has {n + 100} lamps"))):
                recorder.received(step.step, step.value, by="r")
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(coroutine("c0"), coroutine("c1"))

    threads = [threading.Thread(target=thread, args=(f"t{n}",)) for n in range(2)]
    threads += [threading.Thread(target=lambda: asyncio.run(both()))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [step.step for step in recorder.steps] == list(range(50 * 6))
    for mark in recorder.injections:
        step = recorder.steps[mark.step]
        assert step.agent == mark.agent
        if mark.body.state == "injected" and mark.body.fault == "hallucination":
            assert bytes(mark.body.after) == bytes(step.payload)
    states = [mark.body.state for mark in recorder.injections]
    assert states.count("injected") == states.count("witnessed") == 50 * 5


def test_a_waiting_interceptor_after_the_injector_is_asked_again_when_the_run_went_on():
    injector = Injector([FaultSpec.parse("message_storm@a?copies=2")])
    rounds: list[int] = []

    async def verify(step, history):
        rounds.append(step.step)
        await asyncio.sleep(0)
        if len(rounds) == 1:
            recorder.submit("b", Message(("a",), pack("meanwhile")))
        return (step,)

    def verifier(step, history):
        return verify(step, history) if step.agent == "a" else (step,)

    recorder = Recorder(Header("x"), interceptors=[injector, verifier], witnesses=[injector])
    steps = asyncio.run(recorder.asubmit("a", Message(("b",), pack("hello there"))))
    assert rounds == [0, 1, 2]
    assert [step.step for step in steps] == [1, 2]
    assert [step.agent for step in recorder.steps] == ["b", "a", "a"]
