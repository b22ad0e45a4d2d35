"""The report says what a trace shows, and nothing that only the truth knows."""

from masfire.analysis import Edge, ToolError, analyze
from masfire.recorder import Recorder
from masfire.trace.model import Action, Draw, Header, Injection, Message, Observation, Step, Trace
from masfire.trace.payload import pack


def recorded() -> Trace:
    recorder = Recorder(Header("r1", system="desk", faults=("hallucination",), launch={"plan": "p"}))
    recorder.submit("user", Message(("planner",), pack("task"), via="graph"))
    (call,) = recorder.submit("planner", Action("model_call", "m", pack({"model": "m", "messages": []})))
    draw = Draw("hash", source="cache", seconds=0.5, tokens_in=10, tokens_out=4)
    recorder.submit(
        "planner",
        Observation("model_reply", "m", call.step, pack({"content": "plan"}), draw=draw),
        parents=(call.step,),
    )
    recorder.submit("planner", Message(("clerk", "user"), pack("plan"), via="graph"))
    (tool,) = recorder.submit("clerk", Action("tool_call", "reserve", pack({"args": {}})))
    error = {"error": {"type": "KeyError", "message": "no such item"}}
    recorder.submit(
        "clerk", Observation("tool_result", "reserve", tool.step, pack(error), ok=False), parents=(tool.step,)
    )
    (second,) = recorder.submit("clerk", Action("model_call", "m", pack({"model": "m", "messages": []})))
    recorder.submit(
        "clerk", Observation("model_reply", "m", second.step, pack({"error": {"status": 500}}), ok=False)
    )
    recorder.mark(Step(2, 0.0, "planner", Injection("hallucination", "hallucination", "witnessed")))
    return recorder.finish("completed", success=True)


def test_a_report_counts_what_happened() -> None:
    report = analyze(recorded())
    assert (report.run, report.system, report.status, report.success) == ("r1", "desk", "completed", True)
    assert report.agents == ("planner", "clerk")
    assert report.steps == {"message": 2, "model_call": 2, "model_reply": 2, "tool_call": 1, "tool_result": 1}
    assert report.edges == (
        Edge("user", "planner", 1),
        Edge("planner", "clerk", 1),
        Edge("planner", "user", 1),
    )
    calls = report.calls
    assert (calls.made, calls.failed, calls.tokens_in, calls.tokens_out) == (2, 1, 10, 4)
    assert (calls.seconds, calls.sources) == (0.5, {"cache": 1})
    assert report.tool_calls == {"reserve": 1}
    assert report.tool_errors == (ToolError("clerk", "reserve", 5, "KeyError: no such item"),)
    assert report.linked == 2


def test_a_report_is_blind() -> None:
    trace = recorded()
    assert analyze(trace) == analyze(trace.blind())


def test_a_trace_without_an_end_has_no_status() -> None:
    report = analyze(Recorder(Header("r")).trace())
    assert (report.status, report.success, report.agents, report.edges) == ("", None, (), ())
