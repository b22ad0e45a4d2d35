"""Everything that the README shows is executed, and its tables come from where it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from masfire.knowledge.model import ACCEPTED
from masfire.knowledge.store import SqliteStore
from tests.support.fake_openai import FakeOpenAI
from tests.support.lessons import note

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

pytest_plugins = ["pytester"]


class Block(NamedTuple):
    """A fenced block, the comment right before it and the line it starts on."""

    note: str
    language: str
    code: str
    line: int


BLOCKS = [
    Block(match["note"] or "", match["language"], match["code"], TEXT[: match.start()].count("\n") + 1)
    for match in re.finditer(
        r"(?:<!-- (?P<note>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
        TEXT,
        re.DOTALL | re.MULTILINE,
    )
]
PYTHON = [block for block in BLOCKS if block.language == "python"]
TESTS = [block for block in PYTHON if "=" in block.note]


def of(block: Block) -> str:
    return f"line{block.line}"


def test_every_python_block_says_how_it_is_tested() -> None:
    assert len(PYTHON) >= 3
    assert all(block.note.startswith("test: ") for block in PYTHON)


@pytest.mark.parametrize("block", TESTS, ids=of)
def test_test_examples_end_as_the_readme_says(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, block: Block
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "masfire.pytest_plugin")
    pytester.makepyfile(test_desk=block.code)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", block.note)}
    result.assert_outcomes(**counts)
    if "shows" in block.note:
        [printed] = [text.code.splitlines() for text in BLOCKS if "message does not return" in text.code]
        assert [line for line in printed if line not in result.outlines] == []
    if block is TESTS[0]:
        shown = [line for text in BLOCKS if text.language == "text" for line in text.code.splitlines()]
        assert shown
        assert [line for line in shown if line not in result.outlines] == []


@pytest.mark.parametrize("block", [block for block in PYTHON if "script" in block.note], ids=of)
def test_scripts_run_against_any_endpoint(block: Block, tmp_path: Path) -> None:
    with FakeOpenAI() as server:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_KEY": "none",
            "OPENAI_MODEL": "m",
        }
        done = subprocess.run(
            [sys.executable, "-c", block.code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    kinds, state = done.stdout.splitlines()
    assert kinds.count("model_call") == 2
    assert state.startswith("witnessed at step ")
    assert (tmp_path / "run.jsonl").stat().st_size


def test_the_plan_is_valid(tmp_path: Path) -> None:
    from masfire.campaign.planfile import load_plan

    [block] = [block for block in BLOCKS if block.note == "plan"]
    (tmp_path / "plan.yaml").write_text(block.code, encoding="utf-8")
    plan = load_plan(tmp_path / "plan.yaml")
    assert [system.name for system in plan.systems] == ["linear"]
    for name in ("tasks.jsonl", "linear.py", "desk.py"):
        assert (ROOT / "examples" / "order_desk" / name).exists()


def test_the_contracts_are_valid(tmp_path: Path) -> None:
    [block] = [block for block in BLOCKS if block.note == "contracts"]
    (tmp_path / "desk.yaml").write_text(block.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "masfire.cli", "contracts", "lint", "desk.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_policy_governs_the_example(tmp_path: Path) -> None:
    [policy] = [block for block in BLOCKS if block.note == "policy"]
    [block] = [block for block in PYTHON if "guard" in block.note]
    (tmp_path / "policy.yaml").write_text(policy.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", block.code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    booked, blocked = done.stdout.splitlines()
    assert booked == "booked 12"
    assert "quantity" in blocked


def test_the_lessons_are_used(tmp_path: Path) -> None:
    [block] = [block for block in PYTHON if "lessons" in block.note]
    (tmp_path / ".masfire").mkdir()
    with SqliteStore(tmp_path / ".masfire" / "memory.sqlite") as store:
        store.put(note(status=ACCEPTED))
    done = subprocess.run(
        [sys.executable, "-c", block.code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "We booked 12 lamps.\n"


def test_commands_in_the_readme_exist() -> None:
    from masfire.cli import _COMMANDS

    named = set(re.findall(r"(?:\$ |`)masfire ([a-z]+)", TEXT))
    assert len(named) > 10
    assert named <= set(_COMMANDS)


def test_the_table_of_faults_is_the_taxonomy() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "masfire.cli", "faults", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [
        f"| {fault['id']} | `{fault['name']}` | {fault['scope']} | {fault['category']} "
        f"| {', '.join(fault['mechanisms'])} |"
        for fault in json.loads(done.stdout)
    ]
    table = TEXT.partition("<!-- begin:faults -->")[2].partition("<!-- end:faults -->")[0]
    assert table.strip().splitlines()[2:] == rows


def test_targets_and_options_that_the_readme_names_exist(pytester: pytest.Pytester) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:\$ |`)make ([a-z-]+)", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    text = str(pytester.runpytest_subprocess("--help").stdout)
    for option in re.findall(r"--masfire-[a-z-]+", TEXT):
        assert option in text
    for key in re.findall(r"`(masfire_\w+)`", TEXT):
        assert key in text
