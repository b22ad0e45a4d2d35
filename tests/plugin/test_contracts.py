"""Contracts in pytest: by marker, option, ini file and `masfire.check`; what the reader of a failure sees."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tests.support.office import OFFICE
from tests.support.project import configure, load_installed_plugins

pytest_plugins = ["pytester"]

RULES = """\
masfire: contract/v1
contracts:
  - id: one-dispatch
    description: The clerk gets one dispatch.
    formula: "message('planner') -> count(message('planner')) <= 1"
  - id: signed
    formula: "message('planner') -> content.signature == 'yes'"
  - id: no-teleport
    formula: "tool('teleport') -> false"
"""

ONE = """\
masfire: contract/v1
contracts:
  - id: one-dispatch
    description: The clerk gets one dispatch.
    formula: "message('planner') -> count(message('planner')) <= 1"
  - id: no-teleport
    formula: "tool('teleport') -> false"
"""


@pytest.fixture(autouse=True)
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(pytester, monkeypatch)
    monkeypatch.setenv("COLUMNS", "250")  # the short summary cuts its lines at the terminal's width
    pytester.makepyfile(office=OFFICE)
    (pytester.path / "rules.yaml").write_text(RULES)
    (pytester.path / "one.yaml").write_text(ONE)


STORM = """
import pytest
from office import Office

@pytest.mark.masfire(
    faults=["message_storm@planner?copies=3"], seeds=[5], control=True, contracts=["one.yaml"]
)
def test_desk():
    Office().work()
"""


def test_a_violated_contract_fails_the_test_and_says_all(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_desk=STORM)
    result = pytester.runpytest_subprocess("--junitxml=junit.xml")
    result.assert_outcomes(passed=1, failed=1)
    text = result.stdout.str()
    wanted = [
        "one-dispatch violated, first at step 2",
        "one-dispatch  one.yaml:3",
        "The clerk gets one dispatch.",
        "at       #2",
        "agent    planner",
        "false    count(message(",
        "> #2 ",
        "replay   pytest 'test_desk.py::test_desk",
        "2 contracts, 1 trace: 1 violated",
        "never applied: no-teleport",
    ]
    places = [text.find(part) for part in wanted]
    assert -1 not in places, (wanted[places.index(-1)], text)
    assert places == sorted(places)
    assert re.search(r"FAILED test_desk.py::test_desk\[\S+\] - one-dispatch violated, first at step 2", text)
    assert "in recorded" not in text  # no frames of the plugin
    assert "contracts: 2 over 2 runs" in text
    assert "violated: one-dispatch in 1 of 2" in text
    assert "never triggered: no-teleport" in text
    cases = ElementTree.parse(pytester.path / "junit.xml").getroot().iter("testcase")  # noqa: S314
    properties = [
        [item.get("value") for item in case.iter("property") if item.get("name") == "masfire.contract"]
        for case in cases
    ]
    assert sorted(properties) == [["one-dispatch: satisfied"], ["one-dispatch: violated at step 2"]]


def test_inconclusive_is_no_pass_and_the_summary_says_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk=STORM.replace("one.yaml", "rules.yaml").replace("faults=", "faults=[] and ")
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert re.search(r"FAILED \S+ - signed inconclusive", text)
    assert re.search(r"  inconclusive: signed: .*content.signature.* \(1 step\)", text)


def test_the_ini_file_and_the_option_name_contracts_too(pytester: pytest.Pytester) -> None:
    plain = STORM.replace(', contracts=["one.yaml"]', "")
    pytester.makepyfile(test_desk=plain)
    pytester.runpytest_subprocess().assert_outcomes(passed=2)
    result = pytester.runpytest_subprocess("--masfire-contracts=one.yaml")
    result.assert_outcomes(passed=1, failed=1)
    replay = re.search(r"replay: (.*)", result.stdout.str())
    assert replay is not None
    assert "--masfire-contracts=one.yaml" in replay[1]
    pytester.makeini("[pytest]\nmasfire_contracts =\n    one.yaml\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1, failed=1)
    pytester.makepyfile(test_desk=plain.replace("control=True", "control=True, contracts=[]"))
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_check_in_a_test_takes_runs_traces_files_and_defaults(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk="""
        import pytest
        import masfire as mf
        from office import Office

        @pytest.mark.masfire(contracts="one.yaml")
        def test_default(masfire):
            Office().work()
            found = mf.check(masfire)
            assert [verdict.status.value for verdict in found.verdicts] == ["satisfied", "vacuous"]

        def test_all_kinds(masfire, tmp_path):
            with masfire.run([]) as run:
                Office().work()
            for subject in (run, run.trace, run.path, str(run.path)):
                mf.check(subject, contracts="one.yaml")
            with pytest.raises(AssertionError, match="signed inconclusive"):
                mf.check(run, contracts="rules.yaml")

        def test_violated(masfire):
            with masfire.run(["message_storm@planner?copies=3"]) as run:
                Office().work()
            mf.check(run, contracts="one.yaml")

        def test_without_any(masfire):
            with pytest.raises(mf.MasfireError, match="no contracts"):
                mf.check(masfire)
            with pytest.raises(mf.MasfireError, match="no run and no trace"):
                mf.check(7, contracts="one.yaml")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, failed=1)
    text = result.stdout.str()
    assert re.search(
        r"FAILED test_desk.py::test_violated - masfire.ContractViolation: one-dispatch violated", text
    )
    assert 'mf.check(run, contracts="one.yaml")' in text
    assert "never triggered: no-teleport" in text


def test_contract_objects_of_python_in_a_marker(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk="""
        import pytest
        from masfire.contracts.decorators import step_contract
        from office import Office

        @step_contract(id="short", kind="message", agent="planner")
        def short(view):
            return len(str(view.get("content"))) < 3 or "too long"

        @pytest.mark.masfire(contracts=[short])
        def test_desk():
            Office().work()
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    assert re.search(r"FAILED \S+ - short violated", result.stdout.str())
    assert "too long" in result.stdout.str()


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n2"]], ids=["alone", "xdist"])
def test_the_summary_is_the_same_under_xdist(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    if workers:
        load_installed_plugins(pytester, monkeypatch)
        workers = workers[2:]
    pytester.makepyfile(test_desk=STORM.replace("one.yaml", "rules.yaml").replace("[5]", "[1, 2]"))
    text = pytester.runpytest_subprocess(*workers).stdout.str()
    assert "contracts: 3 over 4 runs" in text
    assert "  violated: one-dispatch in 2 of 4" in text
    assert "  never triggered: no-teleport" in text
    assert re.search(r"  inconclusive: signed: .* \(8 steps\)", text)


def test_mistakes_in_contracts_are_told_before_anything_runs(pytester: pytest.Pytester) -> None:
    (pytester.path / "bad.yaml").write_text(
        "masfire: contract/v1\ncontracts:\n  - {id: a, formla: x}\n  - {id: b, severty: y}\n"
    )
    pytester.makepyfile(
        test_desk="""
        import pytest

        @pytest.mark.masfire(contracts=["bad.yaml"])
        def test_one():
            pass

        @pytest.mark.masfire(contracts=["terminaton"])
        def test_two():
            pass

        @pytest.mark.masfire(contracts=[7])
        def test_three():
            pass
        """
    )
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str()
    assert re.search(r"bad.yaml:3\b", text)
    assert re.search(r"bad.yaml:4\b", text)
    assert "Did you mean 'termination'" in text
    assert "7 is no contract" in text


def test_another_failure_keeps_its_place_and_the_contracts_get_a_section(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_desk=STORM + "    assert 1 == 2\n")
    result = pytester.runpytest_subprocess("-k", "storm")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "assert 1 == 2" in text
    assert "masfire contracts" in text
    assert "one-dispatch: violated at #2, #3" in text


def test_an_expected_failure_may_be_a_contract(pytester: pytest.Pytester) -> None:
    expected = STORM.replace("def test", "@pytest.mark.xfail(strict=True)\ndef test")
    pytester.makepyfile(test_desk=expected.replace(", control=True", ""))
    pytester.runpytest_subprocess().assert_outcomes(xfailed=1)


def test_a_skipped_test_is_not_judged(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_desk=STORM.replace("    Office().work()", "    pytest.skip('later')"))
    result = pytester.runpytest_subprocess()
    assert result.parseoutcomes() == {"skipped": 2}
    assert "contracts:" not in result.stdout.str()


def test_verdicts_do_not_know_the_fault(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk="""
        import masfire as mf
        from masfire.contracts.model import Contract, Judge
        from masfire.contracts.language.syntax import Atom
        from office import Office

        def test_blind(masfire):
            seen = []
            def look(view):
                seen.append(view.kind)
                return True
            contract = Contract("look", (Judge(Atom(()), look),))
            with masfire.run(["message_storm@planner?copies=3"]) as run:
                Office().work()
            mf.check(run, contracts=contract)
            assert "injection" not in seen
            assert len(seen) == len(run.trace)
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
