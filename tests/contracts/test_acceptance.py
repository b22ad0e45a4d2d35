"""Published properties on random logs through `masfire check`: every violating line is the definition's."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from masfire.cli import execute
from masfire.contracts.engine import Engine
from masfire.contracts.loader import parse_contracts
from masfire.trace.model import Action, Step
from masfire.trace.payload import pack
from tests.support.classics import CLASSICS
from tests.support.eventlogs import Log, Property, Style, random_log, random_style, written

LOGS = 12


def check(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    out = folder / "told.json"
    code = execute(["check", *arguments, "--format", "json", "--out", str(out)])
    return code, json.loads(out.read_text(encoding="utf-8"))


def options(style: Style) -> list[str]:
    return [] if style.time is None else ["--time-column", str(style.time)]


def expected(wanted: Property, log: Log, lines: list[int]) -> list[int]:
    return [lines[event.at] for event in log if wanted.bad(log[: event.at + 1], event)]


@pytest.mark.parametrize("name", CLASSICS)
def test_violating_lines_are_those_of_the_definition(name: str, tmp_path: Path) -> None:
    wanted, rng = CLASSICS[name], random.Random(name)
    contract = tmp_path / "contract.yaml"
    contract.write_text(wanted.contract, encoding="utf-8")
    violations = clean = 0
    for number in range(LOGS):
        log = random_log(wanted.alphabet, rng.choice([1, 5, 30, 60]), rng)
        style = random_style(rng, timed=wanted.timed or rng.random() < 0.3)
        raw, lines = written(log, style)
        path = tmp_path / f"{number}.csv"
        path.write_bytes(raw)
        code, told = check(
            tmp_path, str(path), "--contracts", str(contract), "--format-in", "events", *options(style)
        )
        (trace,) = told["traces"]
        (verdict,) = trace["contracts"]
        assert trace["steps"] == len(log)
        assert verdict["violating_lines"] == expected(wanted, log, lines), (raw.decode(), style)
        assert code == 1 if verdict["violating_lines"] else code in (0, 3)
        assert verdict["status"] in ("violated", "satisfied", "vacuous")
        violations += len(verdict["violating_lines"])
        clean += verdict["applied"] - len(verdict["violating_lines"])
    assert violations, "the logs violate nothing"
    assert clean, "the logs fulfil nothing"


def test_peek_says_what_commit_says_in_the_same_order() -> None:
    contracts = parse_contracts(
        "masfire: contract/v1\ncontracts:\n"
        "- {id: late, pattern: responded_within, when: {kind: event, name: ask},"
        " response: {kind: event, name: answer}, within: 1 steps}\n"
        "- {id: never, formula: \"not event('tick')\"}\n"
    )
    engine = Engine(contracts)
    for index, name in enumerate(["ask", "wait", "tick"]):
        step = Step(index, float(index), "", Action("event", name, pack({"args": []})))
        peeked = engine.peek(step)
        assert peeked == engine.commit(step)
    assert {verdict.contract for verdict in peeked} == {"late", "never"}
