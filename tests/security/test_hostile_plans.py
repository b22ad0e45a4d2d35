"""Plans and tasks by somebody who means harm or slipped on a key: one message, soon, with exit code 2."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from masfire.campaign.executors.local import LocalPool, WorkerFailed
from masfire.campaign.orders import Order, Setting
from masfire.campaign.planfile import MAX_MISTAKES, PlanError, parse_plan
from masfire.cli import execute
from masfire.errors import UsageError
from masfire.faults.base import FaultSpec
from tests.support.plans import GOOD

NINES = "9" * 5_000
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("lines", "line", "why"),
    [
        (f"seeds: [{'9' * 30}]", 8, "less than or equal to"),
        ("seeds: [9223372036854775807]", 8, "less than or equal to"),
        (f"seeds: [{NINES}]", 8, "valid integer"),
        (f"seeds: [0x{'f' * 100_000}]", 8, "valid integer"),
        ("controls: 1000000000000", 8, "less than or equal to"),
        (f"budget: {{steps: {'9' * 30}}}", 8, "less than or equal to"),
        ("budget: {seconds: 1.0e+308}", 8, "less than or equal to"),
        ('seeds: [!!int ""]', 8, "valid integer"),
        ('seeds: [!!float ""]', 8, "valid integer"),
        ("seeds: [!!bool foo]", 8, "valid integer"),
        ("seeds: [!!timestamp foo]", 8, "valid integer"),
        ("seeds: [!!python/object/apply:os.getpid []]", 8, "valid integer"),
        (r'root: "a\0b"', 8, "null character"),
        (r'root: "\ud800"', 8, "half a character"),
        (f"faults: hallucination#{NINES}", 8, "cannot be read"),
        (f"faults: hallucination?times={NINES}", 8, "is no count"),
        ("faults: hallucination?times=²", 8, "is no count"),
        ("model: {endpoint: 'http://[bad'}", 8, "invalid IPv6"),
        ("model: {endpoint: 'https:///v1'}", 8, "no address"),
        (f"model: {{endpoint: '{'x' * 900_000}'}}", 8, "should match"),
        ("x: " + "[" * 1_000 + "]" * 1_000, 8, "too deeply"),
        ("x: &a [1]\ny: *a", 9, "aliases"),
    ],
)
def test_a_bad_value_is_a_mistake_with_its_line(lines: str, line: int, why: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(f"{GOOD}{lines}\n")
    assert [mistake.line for mistake in caught.value.mistakes] == [line]
    assert why in str(caught.value)
    assert len(str(caught.value)) < 2_000


def test_many_mistakes_are_told_as_some() -> None:
    many = "".join(f"k{i}: 1\n" for i in range(3_000))
    with pytest.raises(PlanError) as caught:
        parse_plan(f"{GOOD}seeds: [{', '.join(['x'] * 3_000)}]\n{many}")
    assert len(caught.value.mistakes) == MAX_MISTAKES
    assert f"at least {MAX_MISTAKES} mistakes" in str(caught.value)


def test_many_seeds_are_compared_in_one_pass() -> None:
    assert len(parse_plan(f"{GOOD}seeds: [{', '.join(map(str, range(20_000)))}]\n").seeds) == 20_000


def test_a_password_in_the_endpoint_is_refused_and_not_repeated_to_the_report() -> None:
    with pytest.raises(PlanError, match="must hold no user and no password; key_from") as caught:
        parse_plan(f"{GOOD}model: {{endpoint: 'https://me:hunter2@example.org/v1'}}\n")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", [f"hallucination#{NINES}", f"hallucination?times={NINES}"])
def test_a_number_in_an_address_is_short(address: str) -> None:
    with pytest.raises(UsageError):
        FaultSpec.parse(address)
    assert FaultSpec.parse("hallucination#999999999?times=999999999").n == 999_999_999


def test_what_cannot_be_told_to_a_worker_ends_the_campaign(tmp_path: Path) -> None:
    pool = LocalPool(
        Setting({"half": "\ud800"}, ""), workers=1, limit=None, log=tmp_path / "log", environments=[{}]
    )
    with pool, pytest.raises(WorkerFailed, match="cannot be handed"):
        list(pool.run([Order("a", "s", "s", stub=False, task={}, seed=0, path="")]))


def test_an_endless_plan_is_not_read_to_its_end(capsys: Captured) -> None:
    assert execute(["campaign", "/dev/zero", "--out", "nowhere"]) == 2
    assert "larger than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "code", "why"),
    [
        ("broken_one", "1 / 0", "ZeroDivisionError: division by zero"),
        ("broken_two", "import sys\nsys.exit(0)", "SystemExit: 0"),
        ("broken_three", "def TASKS():\n    raise KeyError('x')", "KeyError: 'x'"),
        ("broken_four", "def TASKS():\n    yield {'id': 'a'}\n    raise OSError('gone')", "OSError: gone"),
    ],
)
def test_a_module_that_fails_is_named_with_its_reason(
    tmp_path: Path, capsys: Captured, module: str, code: str, why: str
) -> None:
    (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
    plan = tmp_path / "plan.yaml"
    plan.write_text(GOOD.replace("tasks.jsonl", f"'{module}:TASKS'"), encoding="utf-8")
    assert execute(["campaign", str(plan), "--out", str(tmp_path / "out")]) == 2
    assert why in capsys.readouterr().err
    assert execute(["doctor", str(plan)]) == 3
    assert why in capsys.readouterr().out


def test_one_endless_task_is_refused_and_many_are_compared_in_one_pass(
    tmp_path: Path, capsys: Captured
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(textwrap.dedent(GOOD).replace("tasks.jsonl", "/dev/zero"), encoding="utf-8")
    assert execute(["campaign", str(plan), "--out", str(tmp_path / "out")]) == 2
    assert "/dev/zero:1: a task is larger than" in capsys.readouterr().err
    plan.write_text(GOOD, encoding="utf-8")
    lines = [f'{{"id": "{number % 29_999}"}}\n' for number in range(30_000)]
    (tmp_path / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")
    assert execute(["campaign", str(plan), "--out", str(tmp_path / "out")]) == 2
    assert "share an id: 0." in capsys.readouterr().err
