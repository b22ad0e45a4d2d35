"""What a check becomes: text in the order one reads it, SARIF, JUnit, annotations, JSON."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest

from masfire.contracts.model import Status, Verdict
from masfire.reporting.checked import Check
from masfire.reporting.github import github
from masfire.reporting.junit import junit
from masfire.reporting.sarif import sarif
from masfire.reporting.verdicts import as_json, json_lines
from masfire.reporting.violations import check_lines, marked
from tests.support.verdicts import HOSTILE, limit_check, steps

REGION = {"type": "object", "properties": {"startLine": {"type": "integer", "minimum": 1},
          "startColumn": {"type": "integer", "minimum": 1}}, "additionalProperties": False}  # fmt: skip
ARTIFACT = {"required": ["uri"], "properties": {"uri": {"type": "string", "format": "uri-reference"}}}
PLACE = {"required": ["physicalLocation"], "properties": {"physicalLocation": {
    "required": ["artifactLocation"],
    "properties": {"artifactLocation": ARTIFACT, "region": REGION}}}}  # fmt: skip
MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
SARIF = {  # what SARIF 2.1.0 (OASIS, §3.13-3.58) asks of the parts that masfire writes
    "required": ["version", "runs"],
    "properties": {"version": {"const": "2.1.0"}, "runs": {"items": {
        "required": ["tool"],
        "properties": {
            "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            "tool": {"required": ["driver"], "properties": {"driver": {
                "required": ["name"], "properties": {
                    "semanticVersion": {"type": "string"},
                    "rules": {"uniqueItems": True, "items": {
                        "required": ["id"], "properties": {"shortDescription": MESSAGE,
                        "defaultConfiguration": {"properties": {"level": LEVEL}}}}}}}}},
            "invocations": {"items": {"required": ["executionSuccessful"], "properties": {
                "exitCode": {"type": "integer"},
                "toolExecutionNotifications": {"items": {"required": ["message"]}}}}},
            "results": {"items": {
                "required": ["message", "ruleId", "ruleIndex", "locations"],
                "properties": {
                    "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
                    "level": LEVEL, "message": MESSAGE, "ruleIndex": {"type": "integer", "minimum": 0},
                    "locations": {"items": PLACE, "minItems": 1},
                    "relatedLocations": {"items": {**PLACE, "required": ["message", "physicalLocation"]}},
                    "partialFingerprints": {"additionalProperties": {"type": "string"}}},
                "if": {"properties": {"kind": {"not": {"const": "fail"}}}, "required": ["kind"]},
                "then": {"properties": {"level": {"const": "none"}}}}}}}}},
}  # fmt: skip


def hostile() -> Check:
    return limit_check(source=HOSTILE, name=HOSTILE)


@pytest.mark.parametrize("check", [limit_check(), hostile()], ids=["plain", "hostile"])
def test_sarif_is_as_the_standard_asks(check: Check) -> None:
    log = json.loads(json.dumps(sarif(check)))
    validator = jsonschema.Draft202012Validator(SARIF, format_checker=jsonschema.FormatChecker())
    assert [error.message for error in validator.iter_errors(log)] == []
    (run,) = log["runs"]
    kinds = [(result["kind"], result["level"]) for result in run["results"]]
    assert kinds == [("fail", "error"), ("review", "none"), ("open", "none")]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert re.fullmatch(
            r"[\w/.%~-]+", result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        )


def test_sarif_places_a_violation_in_the_trace_and_in_the_contract() -> None:
    result = sarif(limit_check())["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "runs/one.jsonl"},
        "region": {"startLine": 5},
    }
    contract, witness = result["relatedLocations"]
    assert contract["physicalLocation"] == {
        "artifactLocation": {"uri": "contracts/desk.yaml"},
        "region": {"startLine": 4, "startColumn": 5},
    }
    assert witness["physicalLocation"]["region"] == {"startLine": 4}
    again = sarif(limit_check())["runs"][0]["results"][0]["partialFingerprints"]
    assert result["partialFingerprints"] == again


@pytest.mark.parametrize("check", [limit_check(), hostile()], ids=["plain", "hostile"])
def test_junit_is_well_formed_and_counts(check: Check) -> None:
    root = ET.fromstring(junit(check))  # noqa: S314 - we wrote it
    counts = [root.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["4", "1", "2", "1"]
    children = [[child.tag for child in case] for case in root.iter("testcase")]
    assert children == [["failure"], ["error"], ["error"], ["skipped"]]
    assert "args.amount <= 10000" in "".join(root.itertext())


@pytest.mark.parametrize("check", [limit_check(), hostile()], ids=["plain", "hostile"])
def test_an_annotation_is_one_line_and_holds_no_other_command(check: Check) -> None:
    lines = list(github(check))
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning"]
    for line in lines:
        head, _, text = line.partition("::")[2].partition("::")
        assert "\n" not in line
        assert line.isprintable()
        fields = dict(part.split("=", 1) for part in head.split(" ", 1)[1].split(","))
        assert set(fields) == {"file", "line", "col", "title"}
        assert fields["file"] == "contracts/desk.yaml"
        assert "::" not in "".join(fields.values())
        assert "%0A" not in text.replace("%250A", "")


def test_the_report_tells_in_the_order_in_which_one_reads() -> None:
    lines = list(check_lines(limit_check()))
    text = "\n".join(lines)
    wanted = [
        "runs/one.jsonl: violated",
        "wire-under-limit: violated at #2",
        "needs-field: inconclusive (args.user is absent)",
        "answers: pending (an obligation is open)",
        "wire-under-limit  contracts/desk.yaml:4:5",
        "25000 is greater than the maximum",
        "at       #2",
        "agent    payer   role cashier",
        'for      args.order = "o7"',
        "false    args.amount <= 10000",
        "saw      args.amount = 25000",
        "witness  #1 the model asked for it",
        "path     args.amount",
        "lineage  #0 user message → #1 payer model_reply m → #2 payer tool_call wire",
        '"amount":',
        "replay   masfire replay runs/one.jsonl --until 2",
        "4 contracts, 1 trace: 1 violated",
        "never applied: never-fires",
        "inconclusive: needs-field at 1 step: args.user is absent",
    ]
    places = [text.find(part) for part in wanted]
    assert -1 not in places, wanted[places.index(-1)]
    assert places == sorted(places)
    guilty = next(line for line in lines if line.startswith("  >"))
    assert "»25000«" in guilty
    assert len(guilty) < 180


def test_nothing_recorded_acts_on_a_terminal() -> None:
    for check in (limit_check(), hostile()):
        for line in check_lines(check):
            assert line.isprintable(), line


@pytest.mark.parametrize(
    ("index", "path", "shown"),
    [
        (0, ("content",), "»"),
        (1, ("outcome", "value", "tool_calls", 0, "name"), '»"wire"«'),
        (1, ("result", "finish_reason"), '»"tool_calls"«'),
        (1, ("tool_calls", 0, "id"), '»"c"«'),
        (2, ("args", "amount"), "»25000«"),
    ],
)
def test_the_guilty_value_is_marked_wherever_it_lies(index: int, path: Any, shown: str) -> None:
    line = marked(steps()[index], path)
    assert shown in line
    assert len(line) <= 104


def test_a_path_that_leads_nowhere_marks_nothing() -> None:
    assert "»" not in marked(steps()[2], ("args", "amont"))
    assert "»" not in marked(steps()[2], ("agent",))


def test_json_lists_every_violating_step_and_survives_json() -> None:
    for check in (limit_check(), hostile()):
        found = json.loads(json.dumps(as_json(check)))
        (trace,) = found["traces"]
        verdict = trace["contracts"][0]
        assert (verdict["status"], verdict["violating_steps"]) == ("violated", [2])
        assert verdict["violations"][0]["saw"] == [["args.amount", 25000]]
        assert verdict["violations"][0]["line"] == 5
        assert found["never_applied"] == ["never-fires"]
        assert found["exit_code"] == 1
        text = "\n".join(json_lines(check))
        assert text.isascii()
        assert json.loads(text) == found


def test_json_of_nothing_is_json() -> None:
    assert json.loads("\n".join(json_lines(Check((), ())))) == as_json(Check((), ()))


def checks_of(*statuses: Status, severity: str = "error", damage: str = "") -> Check:
    check = limit_check()
    verdicts = tuple(Verdict(f"c{n}", status, severity=severity) for n, status in enumerate(statuses))
    one = msgspec.structs.replace(check.checked[0], verdicts=verdicts, told=(), damage=damage)
    return Check(check.contracts, (one,))


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (checks_of(Status.SATISFIED, Status.VACUOUS), 0),
        (checks_of(Status.SATISFIED, Status.VIOLATED, Status.INCONCLUSIVE), 1),
        (checks_of(Status.SATISFIED, Status.INCONCLUSIVE), 3),
        (checks_of(Status.SATISFIED, Status.PENDING), 3),
        (checks_of(Status.VACUOUS), 3),
        (checks_of(), 3),
        (checks_of(Status.SATISFIED, damage="torn"), 3),
        (checks_of(Status.VIOLATED, damage="torn"), 1),
        (checks_of(Status.VIOLATED, severity="warning"), 0),
        (checks_of(Status.VACUOUS, severity="warning"), 3),
        (Check((), ()), 3),
    ],
)
def test_only_what_applied_and_passed_is_a_pass(check: Check, code: int) -> None:
    assert check.exit_code == code
