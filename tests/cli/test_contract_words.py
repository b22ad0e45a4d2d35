"""`masfire contracts explain` and `masfire contracts test`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from masfire.cli import execute
from masfire.cli.contracts import command

GOOD = """
masfire: contract/v1
contracts:
  - id: no-rm
    description: Nothing is removed.
    pattern: never
    when: tool('rm')
    examples:
      clean: [{tool_call: ls}]
      violating: [{tool_call: rm}]
      at: 0
  - id: bare
    formula: "tool('a') -> once(tool('b'))"
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    path = tmp_path / "desk.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_explain_a_pack_or_one_contract() -> None:
    whole, one = run("explain", "messages"), run("explain", "messages", "no-message-storm")
    assert whole.exit_code == one.exit_code == 0
    assert whole.output.count("Severity") > 1
    assert one.output.startswith("no-message-storm: ")
    assert "never 3 times with the same agent, to, content within 6 steps" in one.output


def test_explain_as_json(desk: Path) -> None:
    [first, second] = json.loads(run("explain", desk, "--format", "json").output)
    assert first["id"] == "no-rm"
    assert first["rules"] == ["Never: a call of 'rm'."]
    assert second["where"].endswith("desk.yaml:12")


@pytest.mark.parametrize("words", [("explain", "mesages"), ("explain", "messages", "no-message-strom")])
def test_unknown_names_get_the_nearest_match(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["contracts", *words]) == 2
    assert "Did you mean" in capsys.readouterr().err


def test_examples_that_agree(desk: Path) -> None:
    found = run("test", desk)
    assert found.exit_code == 0
    assert found.output == "Without examples: bare\n2 examples of 2 contracts, 0 not as promised\n"


def test_an_example_that_disagrees_ends_with_1_and_says_where(desk: Path) -> None:
    desk.write_text(GOOD.replace("violating: [{tool_call: rm}]", "violating: [{tool_call: rmdir}]"))
    found = run("test", desk)
    assert found.exit_code == 1
    assert "desk.yaml:4: no-rm: the violating example is satisfied, not violated" in found.output
    rows = json.loads(run("test", desk, "--format", "json").output)
    assert rows["failed"] == 1
    assert rows["without"] == ["bare"]


def test_the_step_of_a_violation_is_checked(desk: Path) -> None:
    desk.write_text(GOOD.replace("at: 0", "at: 1"))
    assert "is violated at step 0, not 1" in run("test", desk).output


def test_nothing_to_test_is_never_a_pass(desk: Path) -> None:
    desk.write_text("masfire: contract/v1\ncontracts:\n  - {id: bare, formula: \"not tool('rm')\"}\n")
    found = run("test", desk)
    assert found.exit_code == 3
    assert "nothing was tested" in found.output


def test_the_shipped_packs_pass_their_own_test() -> None:
    assert run("test", "contracts").exit_code == 0


def test_help_has_examples() -> None:
    for name in ("explain", "test"):
        assert "Examples:" in run(name, "--help").output
