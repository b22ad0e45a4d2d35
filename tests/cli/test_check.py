"""`masfire check` on real files: what it says, in which form, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from masfire.cli import execute
from masfire.trace.io import TraceWriter
from masfire.trace.model import Action, End, Header, Injection, Message, Observation, Step
from masfire.trace.payload import pack

CONTRACTS = """\
masfire: contract/v1
contracts:
  - id: wire-under-limit
    description: Nobody wires more than 10,000.
    when: {kind: tool_call, tool: wire}
    schema: {properties: {amount: {maximum: 10000}}}
  - id: wire-after-login
    formula: "tool('wire', user=u) -> [tool('login', user=u), tool('logout', user=u))"
  - id: never-fires
    formula: "tool('teleport') -> false"
"""


def steps() -> list[Step]:
    def call(index: int, agent: str, tool: str, parents: tuple[int, ...] = (), **args: Any) -> Step:
        return Step(
            index, 100.0 + index, agent, Action("tool_call", tool, pack({"args": args})), "teller", parents
        )

    return [
        Step(0, 100.0, "user", Message(("bank",), pack("wire 25000 to DE12"))),
        Step(0, 100.0, "user", Injection("semantic", "semantic@bank", "injected")),
        call(1, "bank", "login", user="u7"),
        call(2, "bank", "wire", (0,), user="u7", amount=25000, to="DE12\x1b[2J"),
        Step(3, 103.0, "bank", Observation("tool_result", "wire", 2, pack({"value": "done"}))),
        call(4, "bank", "logout", user="u7"),
        call(5, "clerk", "wire", (3,), user="u7", amount=5),
    ]


def record(path: Path, *, good: bool = False, ended: bool = True, only: int | None = None) -> Path:
    writer = TraceWriter(path, Header("r-1", seed=7, faults=("semantic@bank",)))
    for step in steps()[:only]:
        if good and step.kind == "tool_call" and step.step == 2:
            step = step.with_payload(pack({"args": {"user": "u7", "amount": 25, "to": "DE12"}}))
        if good and step.step > 3:
            continue
        writer.write(step)
    writer.close(End("completed", success=True) if ended else None)
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(CONTRACTS)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = execute(["check", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_text_tells_which_step_why_and_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path
) -> None:
    trace = record(tmp_path / "one.jsonl")
    code, out, _ = run(capsys, trace, "--contracts", rules)
    assert code == 1
    wanted = [
        f"{trace}: violated",
        "wire-under-limit: violated at #2",
        "wire-after-login: violated at #5",
        f"wire-under-limit  {rules}:3",
        "Nobody wires more than 10,000.",
        "25000 is greater than the maximum of 10000",
        "at       #2",
        "agent    bank   role teller",
        "path     args.amount",
        "lineage  #0 user message → #2 bank tool_call wire",
        "»25000«",
        f"replay   masfire replay {trace} --until 2",
        "at       #5",
        "agent    clerk   role teller",
        'for      u = "u7"',
        "witness  #4",
        f"replay   masfire replay {trace} --until 5",
        "3 contracts, 1 trace: 1 violated",
        "never applied: never-fires",
    ]
    places = [out.find(part) for part in wanted]
    assert -1 not in places, (wanted[places.index(-1)], out)
    assert places == sorted(places)
    assert "\x1b" not in out
    assert "semantic" not in out  # the fault is nobody's business here


def test_json_lists_every_violating_step_with_what_it_saw(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path
) -> None:
    code, out, _ = run(capsys, record(tmp_path / "one.jsonl"), "--contracts", rules, "--format", "json")
    found = json.loads(out)
    limit, login, never = found["traces"][0]["contracts"]
    assert code == found["exit_code"] == 1
    assert (limit["status"], limit["violating_steps"]) == ("violated", [2])
    (violation,) = limit["violations"]
    assert (violation["step"], violation["blame"], violation["agent"]) == (2, 2, "bank")
    assert violation["line"] == 5  # header, message, hidden mark, login, wire
    assert (violation["path"], violation["saw"]) == (["args", "amount"], [["args.amount", 25000]])
    assert (login["violating_steps"], login["violations"][0]["binding"]) == ([5], {"u": "u7"})
    assert never["status"] == "vacuous"
    assert found["never_applied"] == ["never-fires"]


def test_a_clean_run_passes_and_out_writes_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path
) -> None:
    out = tmp_path / "result.sarif"
    arguments = [record(tmp_path / "one.jsonl", good=True), "--contracts", rules]
    assert run(capsys, *arguments)[0] == 0
    code, printed, _ = run(capsys, *arguments, "--format", "sarif", "--out", out)
    assert (code, printed) == (0, "")
    assert json.loads(out.read_text())["runs"][0]["results"] == []
    assert list(tmp_path.glob(".*")) == []


def test_a_folder_of_traces_and_a_count_over_all(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path
) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    for name, good in (("a", True), ("b", False), ("c", True)):
        record(folder / f"{name}.jsonl", good=good)
    code, out, _ = run(capsys, folder, "--contracts", rules)
    assert code == 1
    assert "3 contracts, 3 traces: 1 violated, 2 satisfied" in out
    assert "a.jsonl" not in out
    code, out, _ = run(capsys, folder, "--contracts", rules, "--format", "junit")
    root = ET.fromstring(out)  # noqa: S314 - we wrote it
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("9", "2", "3")
    code, out, _ = run(capsys, folder, "--contracts", rules, "--format", "github")
    assert [line.split(",")[0] for line in out.splitlines()] == [f"::error file={rules}"] * 2


def test_nothing_applied_is_no_pass(capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path) -> None:
    code, out, _ = run(capsys, record(tmp_path / "one.jsonl", only=2), "--contracts", rules)
    assert code == 3
    assert "a check of nothing is not a pass" in out


def test_what_could_not_be_judged_is_no_pass(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "masfire: contract/v1\ncontracts:\n"
        "  - {id: signed, formula: \"tool('wire') -> args.signature == 'yes'\"}\n"
        "  - {id: told, pattern: responded_by_end, when: {kind: tool_call, tool: wire}, "
        "response: {kind: message, agent: bank}}\n"
    )
    code, out, _ = run(capsys, record(tmp_path / "a.jsonl", ended=False), "--contracts", rules)
    assert code == 3
    assert "signed: inconclusive" in out
    assert "args.signature" in out
    assert "told: pending (an obligation is open, and the run has no end)" in out
    code, out, _ = run(capsys, record(tmp_path / "b.jsonl"), "--contracts", rules)
    assert code == 1
    assert "told: violated at the end" in out


def test_a_damaged_trace_is_judged_as_far_as_it_goes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path
) -> None:
    trace = record(tmp_path / "one.jsonl", good=True)
    lines = trace.read_bytes().splitlines(keepends=True)
    trace.write_bytes(b"".join(lines[:5]) + b'{"crc":"00000000"}\n')
    code, out, _ = run(capsys, trace, "--contracts", rules)
    assert code == 3
    assert "damaged: " in out
    assert "line 6" in out


def test_what_is_judged_does_not_depend_on_the_truth(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path
) -> None:
    trace = record(tmp_path / "one.jsonl")
    blind = tmp_path / "blind" / "one.jsonl"
    blind.parent.mkdir()
    writer = TraceWriter(blind, Header("r-1", seed=7))
    for step in steps():
        if step.kind != "injection":
            writer.write(step)
    writer.close(End("completed", success=True))

    def told(path: Path) -> Any:
        found = json.loads(run(capsys, path, "--contracts", rules, "--format", "json")[1])["traces"]
        text = json.dumps(found).replace(str(path), "")
        lines = json.loads(text)
        for violation in (v for c in lines[0]["contracts"] for v in c["violations"]):
            for part in (violation, *violation["witnesses"]):
                part.pop("line", None)  # a hidden mark takes a line of the file
                part.pop("blame_line", None)
        return lines

    assert told(trace) == told(blind)


ACCESS = """\
masfire: contract/v1
contracts:
  - id: access
    formula: "event('access', u, f) -> [event('login', u), event('logout', u)) and [event('open', f), event('close', f))"
  - id: answered
    pattern: responded_within
    when: {kind: event, name: request}
    response: {kind: event, name: answer}
    within: 5 seconds
"""  # noqa: E501

LOG = """\
login,anna,0

open,f1,1
access,anna,f1,2
access,bert,f1,3
request,10
answer,12
logout,anna,13
access,anna,f1,14
request,20
ping,30
"""


def test_an_event_log_is_judged_by_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rules, log = tmp_path / "rules.yaml", tmp_path / "log"
    rules.write_text(ACCESS)
    log.write_text(LOG)
    arguments = [log, "--contracts", rules, "--format-in", "events", "--time-column", "-1"]
    code, out, _ = run(capsys, *arguments, "--format", "json")
    access, answered = json.loads(out)["traces"][0]["contracts"]
    assert code == 1
    assert (access["violating_lines"], access["violating_steps"]) == ([5, 9], [3, 7])
    assert access["violations"][0]["binding"] == {"u": "bert", "f": "f1"}
    assert answered["violating_lines"] == [11]
    assert answered["violations"][0]["blame_line"] == 10
    code, out, _ = run(capsys, *arguments)
    assert "access: violated at line 5, line 9" in out
    assert '> line 5                event access  ["bert","f1"]' in out
    assert "at       line 11, blame line 10" in out


def test_mistakes_about_the_log_are_the_callers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rules, log = tmp_path / "rules.yaml", tmp_path / "log"
    rules.write_text(ACCESS)
    log.write_text(LOG)
    code, _, err = run(capsys, log, "--contracts", rules, "--format-in", "events")
    assert (code, "answered speaks of seconds" in err, "--time-column" in err) == (2, True, True)
    code, _, err = run(capsys, log, "--contracts", rules, "--format-in", "events", "--time-column", "0")
    assert (code, "counted from 0" in err) == (2, True)
    code, _, err = run(capsys, log, "--contracts", rules, "--time-column", "0")
    assert (code, "--format-in events" in err) == (2, True)
    code, _, err = run(capsys, log, "--contracts", rules)
    assert (code, "no trace of masfire" in err, "--format-in events" in err) == (2, True, True)
    code, _, err = run(capsys, log, "--contracts", rules, "--format-in", "jsonl", "--map", "nme=type")
    assert (code, "Did you mean 'name'" in err) == (2, True)


def test_json_lines_by_a_field_map(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rules, log = tmp_path / "rules.yaml", tmp_path / "log"
    rules.write_text(
        "masfire: contract/v1\ncontracts:\n"
        "  - {id: limit, when: {kind: event, name: pay}, schema: {properties: {sum: {maximum: 9}}}}\n"
    )
    log.write_text(
        "\n".join(
            json.dumps({"type": "pay", "who": "anna", "data": {"sum": amount}}) for amount in (3, 30, 4, 40)
        )
    )
    fields = "name=type,agent=who,args=data"
    code, out, _ = run(
        capsys, log, "--contracts", rules, "--format-in", "jsonl", "--map", fields, "--format", "json"
    )
    (verdict,) = json.loads(out)["traces"][0]["contracts"]
    assert (code, verdict["violating_lines"], verdict["applied"]) == (1, [2, 4], 4)
    assert verdict["violations"][0]["agent"] == "anna"


def test_a_log_that_cannot_be_read_to_its_end_is_no_pass(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rules, log = tmp_path / "rules.yaml", tmp_path / "log"
    rules.write_text(ACCESS)
    log.write_bytes(b"login,a,0\nopen,f,1\naccess,a,f,2\n\xff\xfe\n")
    arguments = [log, "--contracts", rules, "--format-in", "events", "--time-column", "-1"]
    code, out, _ = run(capsys, *arguments)
    assert code == 3
    assert "no UTF-8 text" in out


def test_packs_by_name_and_unknown_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rules: Path
) -> None:
    trace = record(tmp_path / "one.jsonl", good=True)
    code, out, _ = run(capsys, trace, "--contracts", "termination", "--contracts", rules)
    assert code in (0, 1, 3)
    assert "wire" not in out.partition("never applied")[0] or "termination" in out
    code, _, err = run(capsys, trace, "--contracts", "terminaton")
    assert (code, "Did you mean 'termination'" in err) == (2, True)
    bad = tmp_path / "bad.yaml"
    bad.write_text("masfire: contract/v1\ncontracts:\n  - {id: a, formla: x}\n  - {id: b, severty: y}\n")
    code, _, err = run(capsys, trace, "--contracts", bad)
    assert code == 2
    assert f"{bad}:3" in err
    assert f"{bad}:4" in err


def test_help_has_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "masfire check results/first/traces --contracts" in out
    assert "Exit codes" in out


def test_a_log_is_judged_in_bounded_memory(tmp_path: Path) -> None:
    import subprocess
    import sys

    rules = tmp_path / "rules.yaml"
    rules.write_text(ACCESS)
    script = (
        "import sys; from masfire.cli import execute; code = execute(sys.argv[1:]);"
        "print(code, next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    peaks = []
    for events in (2_000, 60_000):
        log = tmp_path / "log"
        with log.open("w") as file:
            for n in range(0, events, 4):
                user, name = n % 40, n % 24
                file.write(
                    f"login,u{user},{n}\nopen,f{name},{n}\naccess,u{user},f{name},{n}\nlogout,u{user},{n}\n"
                )
        command = ["check", log, "--contracts", rules, "--format-in", "events", "--time-column", "-1"]
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, command), "--out", str(tmp_path / "told")],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        code, peak = map(int, done.stdout.split())
        assert code == 0
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 8_000  # kilobytes


def test_every_line_of_a_trace_is_found_again(tmp_path: Path) -> None:
    from masfire.checking import check_file, resolve

    trace = record(tmp_path / "one.jsonl")
    rules = tmp_path / "rules.yaml"
    rules.write_text("masfire: contract/v1\ncontracts:\n  - {id: all, formula: 'false'}\n")
    checked = check_file(trace, resolve(rules))
    lines = trace.read_bytes().splitlines()
    for step, line in checked.lines.items():
        assert msgspec.json.decode(lines[line - 1])["step"] == step
        assert b'"injection"' not in lines[line - 1]
    assert sorted(checked.lines) == [0, 1, 2, 3, 4, 5]
