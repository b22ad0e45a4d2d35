"""The lint of contracts: what it finds, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.contracts.lint import RULES, lint
from masfire.contracts.loader import load_contracts, pack_names, parse_contracts
from masfire.trace.io import TraceWriter
from masfire.trace.model import Action, End, Header, Step, Trace
from masfire.trace.payload import pack

HEAD = "masfire: contract/v1\ncontracts:\n"


def found(*lines: str, described: bool = True) -> list[tuple[str, str]]:
    said = "description: why, " if described else ""
    text = HEAD + "".join(f"  - {{id: c{i}, {said}{line}}}\n" for i, line in enumerate(lines))
    return [(each.rule, each.contract) for each in lint(parse_contracts(text))]


def test_every_rule_is_explained() -> None:
    assert all(RULES.values())
    assert len(RULES) == 10


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("formula: \"tool('a') and message -> failed\"", "never-fires"),
        ('formula: "args.n > 3 and args.n < 2 -> failed"', "never-fires"),
        ('formula: "args.n == 3 and args.n > 3 -> failed"', "never-fires"),
        ("formula: \"agent == 'a' and agent == 'b' -> failed\"", "never-fires"),
        ("formula: \"agent == 'a' and agent in ['b', 'c'] -> failed\"", "never-fires"),
        ("formula: \"ok and not ok -> tool('a')\"", "never-fires"),
        ("formula: \"tool('a') and tool('b') -> once ok\"", "never-fires"),
        ("formula: \"event('a') and false -> once ok\"", "never-fires"),
        ('pattern: responded_by_end, when: "message and step > 3 and step < 2", response: ok', "never-fires"),
        ('schema: {}, path: content, when: "message and step > 3 and step < 2"', "never-fires"),
        ("formula: \"tool('a') -> once(ok) or true\"", "always-passes"),
        ("formula: \"tool('a') -> 1 < 2\"", "always-passes"),
        ("formula: \"tool('a') -> once(ok) and false\"", "always-fails"),
        ("formula: \"tool('a') -> once (tool('b') and message)\"", "always-fails"),
    ],
)
def test_one_contract_alone(line: str, rule: str) -> None:
    assert (rule, "c0") in found(line)


@pytest.mark.parametrize(
    "line",
    [
        "formula: \"tool('a') -> args.n <= 3\"",
        'formula: "args.n > 2 and args.n < 3 -> once ok"',
        'formula: "args.n >= 3 and args.n <= 3 -> once ok"',
        "formula: \"agent == 'a' and args.x == 'b' -> once ok\"",
        "formula: \"tool('a*') and tool('*b') -> once ok\"",
        "formula: \"once tool('a') and once tool('b') -> ok\"",
        "formula: \"not (tool('a') and failed)\"",
        "pattern: never, when: \"tool('a')\"",
        "pattern: at_most, when: \"tool('a')\", n: 0",
    ],
)
def test_sensible_contracts_are_left_alone(line: str) -> None:
    assert found(line) == []


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("formula: \"tool('a') -> args.n < 3\"", "formula: \"tool('a') -> args.n > 5\"", ("conflict", "c1")),
        ("formula: \"tool('a') -> once tool('b')\"", "formula: \"tool('a') -> not once tool('b')\"",
         ("conflict", "c0")),
        ("formula: \"tool('*') -> agent == 'x'\"", "formula: \"tool('*')[args.n > 1] -> agent == 'y'\"",
         ("conflict", "c1")),
        ("formula: \"tool('a') -> args.n < 3\"", "formula: \"tool('a') -> args.n < 5\"", ("shadowed", "c1")),
        ("formula: \"tool('a') -> args.n < 5\"", "formula: \"tool('a') -> args.n < 3\"", ("shadowed", "c0")),
        ("formula: \"tool('a') -> args.n < 5\"", "formula: \"tool('a')  -> (args.n < 5)\"",
         ("shadowed", "c1")),
        ("pattern: never, when: \"tool('a')\"", "formula: \"tool('a') -> args.n < 5\"", ("shadowed", "c1")),
        ("pattern: never, when: {tool: a}", "pattern: never, when: {tool: a, agent: b}", ("shadowed", "c1")),
        ("pattern: never, when: {tool: login}",
         "pattern: requires_before, when: {tool: refund}, before: {tool: login}", ("forbidden-need", "c1")),
        ("pattern: never, when: {kind: message}",
         "pattern: responded_by_end, when: {tool: ask}, response: message('b')", ("forbidden-need", "c1")),
    ],
)  # fmt: skip
def test_two_contracts(first: str, second: str, wanted: tuple[str, str]) -> None:
    assert wanted in found(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("formula: \"tool('a') -> args.n < 3\"", "formula: \"tool('b') -> args.n > 5\""),
        ("formula: \"tool('a') -> args.n < 3\"", "formula: \"tool('a') -> args.m > 5\""),
        ("formula: \"tool('a') -> args.n < 3\"", "key: agent, formula: \"tool('a') -> args.n > 5\""),
        ("formula: \"tool('a') -> args.n < 3\"", "formula: \"tool('a') -> args.n > 1\""),
        ("severity: info, pattern: never, when: {tool: a}", "pattern: never, when: {tool: a, agent: b}"),
    ],
)
def test_two_contracts_that_get_along(first: str, second: str) -> None:
    assert found(first, second) == []


def test_missing_descriptions_are_notes() -> None:
    assert found("formula: ok or failed or message", described=False) == [("no-description", "c0")]


def _trace() -> Trace:
    body = Action("tool_call", "refund", pack({"args": {"amount": 3}}))
    return Trace(Header("r"), (Step(0, 0.0, "a", body),), end=End("completed", steps=1))


def test_samples_show_misspelt_names_and_contracts_that_sleep() -> None:
    contracts = parse_contracts(
        HEAD
        + "  - {id: a, description: d, pattern: never, when: {tool: refnd}}\n"
        + "  - {id: b, description: d, formula: \"tool('refund') -> args.amount < 5\"}\n"
        + "  - {id: c, description: d, formula: \"tool('re*')[args.amount > 7] -> once ok\"}\n"
    )
    findings = lint(contracts, traces=[_trace()])
    assert [(each.rule, each.contract, each.level) for each in findings] == [
        ("unknown-name", "a", "warning"), ("never-applied", "c", "note"),
    ]  # fmt: skip
    assert "Did you mean 'refund'?" in findings[0].message


def test_the_packs_and_the_example_are_clean() -> None:
    contracts = load_contracts(*pack_names(), "examples/order_desk/contracts.yaml")
    assert len(contracts) > 30
    assert lint(contracts) == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "desk.yaml"
    file.write_text(
        HEAD + "  - {id: a, description: d, pattern: never, when: {tool: refnd}}\n", encoding="utf-8"
    )
    assert execute(["contracts", "lint", str(file)]) == 0
    assert "1 contracts, 0 warnings, 1 notes" in capsys.readouterr().out
    sample = tmp_path / "t.jsonl"
    with TraceWriter(sample, Header("r")) as writer:
        for step in _trace().steps:
            writer.write(step)
        writer.close(End("completed", steps=1))
    assert execute(["contracts", "lint", str(file), "--trace", str(sample), "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["contracts"], told["warnings"]) == (1, 1)
    assert told["findings"][0]["rule"] == "unknown-name"
    file.write_text("x: 3\n", encoding="utf-8")
    assert execute(["contracts", "lint", str(file)]) == 2
    assert "masfire: contract/v1" in capsys.readouterr().err


def test_the_schema_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["contracts", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "masfire contracts"
