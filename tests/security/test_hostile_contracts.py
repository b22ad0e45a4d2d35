"""Contract files by somebody who means harm: a clear error in bounded time and memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from masfire.cli import execute
from masfire.contracts.language.formula import FormulaError, parse_formula
from masfire.contracts.loader import ContractErrors, parse_contracts
from masfire.errors import UsageError

HEAD = "masfire: contract/v1\ncontracts:\n"
ONE = HEAD + "  - id: a\n    formula: "
SECONDS = 10.0
"""Each takes a fraction of a second on an idle machine."""

FILES = {
    "deep flow": (ONE + "[" * 100_000, "too deeply"),
    "deep blocks": (HEAD + "".join(" " * i + "- \n" for i in range(2_000)), "too deeply"),
    "aliases": (
        "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}]\n" for i in range(20)),
        "aliases",
    ),
    "many nodes": (ONE + "[" + "x," * 200_000 + "]", "too large"),
    "a long formula": (ONE + "ok and " * 140_000 + "ok", "too long"),
    "a long quoted formula": (ONE + "'" + "(" * 1_000_000 + "'", "too long"),
    "deep brackets": (ONE + "(" * 9_000 + "ok" + ")" * 9_000, "deep"),
    "open brackets": (ONE + "(" * 19_000, "not closed"),
    "deep not": (ONE + "not " * 4_900 + "ok", "deep"),
    "deep arrows": (ONE + "ok -> " * 3_000 + "ok", "deep"),
    "a long sum": (ONE + "args.x" + " + 1" * 4_000 + " == 3", "deep"),
    "a wide and": (ONE + " and ".join(["ok"] * 1_000), None),
    "too wide an and": (ONE + " or ".join(["ok"] * 3_000), "more than"),
    "a long integer": (ONE + "step == " + "9" * 1_000_000, "too long"),
    "a long integer in range": (ONE + "step == " + "9" * 19_000, "too long"),
    "an infinite number": (ONE + "step == 1e999", "too large"),
    "a long YAML integer": (
        HEAD + "  - {id: a, pattern: at_most, when: ok, n: " + "9" * 1_000_000 + "}",
        "n: unable to parse",
    ),
    "look-around": (ONE + "text matches '(?=(a+)+)b'", "look-around"),
    "a back reference": (ONE + "text matches '(a+)\\1'", "back references"),
    "a huge automaton": (ONE + "text matches '((a{0,100}){0,100}){0,100}'", "refused"),
    "a bad pattern": (ONE + "text matches '('", "refused"),
    "a catastrophic schema": (
        HEAD + "  - {id: a, when: {kind: tool_call}, schema: {pattern: '(a+)+\\1'}}",
        "linear time",
    ),
    "a remote reference": (
        HEAD + "  - {id: a, when: {kind: tool_call}, schema: {$ref: 'http://127.0.0.1:9/x'}}",
        "outside",
    ),
    "a null": (ONE + '"a\\0b"', "null character"),
    "a lone surrogate": (ONE + '"\\ud800"', "half a character"),
    "a control character": (ONE + "\x1b[31m", "no YAML"),
    "a python tag": (ONE + "!!python/object/apply:os.getpid []", "valid"),
    "a binary tag": (ONE + "!!binary aGk=", "valid"),
    "a duplicate key": (ONE + "ok\n    formula: failed", "already given"),
    "many mistakes": (
        HEAD + "".join(f"  - {{id: a{i}, formula: okay}}\n" for i in range(3_000)),
        "at least 50",
    ),
    "many unknown keys": (ONE + "ok\n" + "".join(f"    k{i}: 1\n" for i in range(5_000)), "at least 50"),
    "nested definitions": (
        "masfire: contract/v1\ndefine:\n"
        + "".join(f"  a{i}: a{i + 1} and a{i + 1}\n" for i in range(15))
        + "  a15: ok\ncontracts: [{id: a, formula: a0}]",
        "expands to) more than",
    ),
    "a long chain of definitions": (
        "masfire: contract/v1\ndefine:\n"
        + "".join(f"  a{i}: a{i + 1}\n" for i in range(500))
        + "  a500: ok\ncontracts: [{id: a, formula: a0}]",
        "deep",
    ),
    "a ring of definitions": (
        "masfire: contract/v1\ndefine:\n"
        + "".join(f"  a{i}: a{(i + 1) % 800}\n" for i in range(800))
        + "contracts: [{id: a, formula: a0}]",
        "use itself",
    ),
    "doubled equivalences": (ONE + "(" * 12 + "ok" + " <-> ok)" * 12, "expands to) more than"),
    "many variables": (
        ONE + "event('e', " + ", ".join(f"v{i}" for i in range(2_000)) + ") -> v0 == 1",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_soon_in_few_words(name: str) -> None:
    text, why = FILES[name]
    start = time.process_time()
    with contextlib.nullcontext() if why is None else pytest.raises(ContractErrors) as caught:
        parse_contracts(text)
    if why is not None:
        assert why in str(caught.value)
        assert len(str(caught.value)) < 40_000
    assert time.process_time() - start < SECONDS


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """All of them in one process that may not take more than 400 MB of address space above its start."""
    program = """
import resource, sys
from masfire.contracts.loader import parse_contracts
from masfire.errors import UsageError
sys.path.insert(0, sys.argv[1])
parse_contracts("masfire: contract/v1\\ncontracts: [{id: a, formula: text matches 'x'}]")
from tests.security.test_hostile_contracts import FILES
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)
for name, (text, why) in FILES.items():
    try:
        parse_contracts(text)
    except UsageError:
        pass
print('done')
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", program, str(root)], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.stdout == "done\n", ran.stderr[-2_000:]


def test_a_surrogate_handed_over_in_python_is_refused() -> None:
    with pytest.raises(FormulaError, match="half a character"):
        parse_formula("text == '\ud800'")


def test_the_command_line_escapes_what_it_quotes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(ONE + '"te\\e[31mxt == 3"\n', encoding="utf-8")
    assert execute(["contracts", "lint", str(file)]) == 2
    shown = capsys.readouterr()
    assert "\x1b" not in shown.err + shown.out
    assert "unexpected" in shown.err


def test_a_file_that_is_too_large_or_endless(tmp_path: Path) -> None:
    from masfire.contracts.loader import load_contracts

    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="larger than"):
        load_contracts(large)
    with pytest.raises(UsageError, match="larger than"):
        load_contracts("/dev/zero")
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        load_contracts(tmp_path / "latin.yaml")
