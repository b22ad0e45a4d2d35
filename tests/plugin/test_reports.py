"""What a user reads: failure sections, the summary, JUnit properties; the same under xdist."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.office import OFFICE
from tests.support.project import configure, load_installed_plugins

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(pytester, monkeypatch)
    pytester.makepyfile(office=OFFICE)


def traces(pytester: pytest.Pytester) -> list[Path]:
    return sorted((pytester.path / ".masfire" / "traces").glob("*.jsonl"))


def test_a_marked_test_is_run_under_each_fault_and_the_summary_counts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk="""
        import pytest
        from office import Office

        @pytest.mark.masfire(
            faults=["message_storm@planner?copies=7", "message_cycle@planner"], seeds=[0, 1], control=True
        )
        def test_one_dispatch(masfire):
            office = Office()
            office.work()
            assert len(office.inbox["clerk"]) == 1
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2, failed=4)
    result.stdout.re_match_lines(
        [
            r"fault +runs +injected +witnessed +survived",
            r"clean +2 +- +- +2 of 2",
            r"message_cycle@planner +2 +2 +2 +0 of 2",
            r"message_storm@planner\?copies=7 +2 +2 +2 +0 of 2",
        ]
    )
    assert len(traces(pytester)) == 6


def test_the_replay_command_of_a_failure_reproduces_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk="""
        import pytest
        from office import Office

        @pytest.mark.masfire(faults=["message_storm@planner?copies=3", "message_cycle@planner"], seeds=[5])
        def test_one_dispatch():
            office = Office()
            office.work()
            assert len(office.inbox["clerk"]) == 1
        """
    )
    first = pytester.runpytest_subprocess()
    commands = [
        line.partition("replay: ")[2] for line in first.outlines if line.lstrip().startswith("replay: ")
    ]
    assert len(commands) == 2
    command = next(line for line in commands if "message_storm" in line)
    import shlex
    import sys

    again = pytester.run(sys.executable, "-m", *shlex.split(command))
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(
        ["fault    message_storm@planner?copies=3: witnessed at agent planner, step 1*"]
    )


def test_the_failure_section_shows_fault_state_place_trace_and_the_steps_around(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_desk=r"""
        import pytest
        from office import Office

        @pytest.mark.masfire(faults=["message_storm@planner?copies=3"])
        def test_one_dispatch():
            office = Office()
            office.work("Ring \x1b[31mthe\u202e bell \ud800 now.")
            assert len(office.inbox["clerk"]) == 1
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*-- masfire --*",
            "seed     0",
            "fault    message_storm@planner?copies=3: witnessed at agent planner, step 1*",
            "run      completed, * steps",
            "trace    .masfire/traces/test_desk.py-test_one_dispatch-*.jsonl",
            "replay   pytest 'test_desk.py::test_one_dispatch[[]message_storm@planner?copies=3-seed0[]]'",
            ">    1 planner: message → clerk  *Ring *",
        ]
    )
    section = str(result.stdout).partition("-- masfire --")[2]
    assert not any(char in section for char in "\x1b\u202e\ud800")


def test_xdist_gives_the_same_table_and_survives_odd_text(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_installed_plugins(pytester, monkeypatch)
    pytester.makepyfile(
        test_desk=r"""
        import pytest
        from office import Office

        @pytest.mark.masfire(faults=["message_storm@planner?copies=3"], seeds=[0, 1, 2], control=True)
        def test_one_dispatch(masfire):
            office = Office()
            office.work("Ring the bell \ud800\x00 now.")
            assert len(office.inbox["clerk"]) == 1
        """
    )

    def table(*args: str) -> list[str]:
        result = pytester.runpytest_subprocess(*args)
        result.assert_outcomes(passed=3, failed=3)
        start = next(i for i, line in enumerate(result.outlines) if line.split()[:2] == ["fault", "runs"])
        return result.outlines[start : start + 3]

    assert table() == table("-n", "2")


def test_xdist_reports_bad_markers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    load_installed_plugins(pytester, monkeypatch)
    pytester.makepyfile(
        test_unknown="""
        import pytest

        @pytest.mark.masfire(faults=["chaos"])
        def test_it():
            pass
        """,
        test_unexpandable="""
        import unittest
        import pytest

        class TestDesk(unittest.TestCase):
            @pytest.mark.masfire(seeds=[0, 1])
            def test_it(self):
                pass
        """,
    )
    result = pytester.runpytest_subprocess("-n", "1")
    assert result.ret != 0
    text = str(result.stdout)
    assert "INTERNALERROR" not in text
    assert "Unknown fault 'chaos'" in text
    assert "'test_it' cannot be run under 2 cells" in text


def test_junit_properties(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        r"""
        import pytest
        from office import Office

        @pytest.mark.masfire(faults=["message_storm@planner?copies=3"], seeds=[6])
        def test_it():
            Office().work("\x00 \ud800")
        """
    )
    pytester.runpytest_subprocess("--junitxml=out.xml").assert_outcomes(passed=1)
    tree = ElementTree.parse(pytester.path / "out.xml")  # noqa: S314 - pytest's own file
    found = {item.get("name"): item.get("value") for item in tree.iter("property")}
    assert found["masfire.seed"] == "6"
    assert found["masfire.fault"] == "message_storm@planner?copies=3"
    assert found["masfire.state"] == "witnessed"
    assert found["masfire.agent"] == "planner"
    assert found["masfire.step"] == "1"
    assert (pytester.path / str(found["masfire.trace"])).exists()


def test_report_options(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from office import Office

        def test_it(masfire):
            Office().work()
        """
    )
    assert "== masfire ==" not in str(pytester.runpytest_subprocess("--masfire-report=none").stdout)
    quiet = str(pytester.runpytest_subprocess("--masfire-dir=here").stdout)
    assert "== masfire ==" in quiet
    assert "::test_it" not in quiet
    full = pytester.runpytest_subprocess("--masfire-report=all", "--masfire-dir=here")
    full.stdout.fnmatch_lines(["*::test_it: clean, seed 0, survived", "  trace:  here/*.jsonl"])
    assert len(list((pytester.path / "here").glob("*.jsonl"))) == 1  # the second run replaces the first


def test_reports_hold_only_what_json_can_carry(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import json
        import pathlib

        def pytest_runtest_logreport(report):
            if report.when == "call":
                pathlib.Path("report.json").write_text(json.dumps(report.masfire_runs), "ascii")
        """
    )
    pytester.makepyfile(
        r"""
        import pytest
        from office import Office

        @pytest.mark.masfire(faults=["message_storm@planner?copies=3"])
        def test_it():
            Office().work("\ud800")
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    [run] = json.loads((pytester.path / "report.json").read_text())
    assert run["faults"][0]["state"] == "witnessed"


def test_subtests_are_not_counted_as_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest
        from office import Office

        class TestDesk(unittest.TestCase):
            @pytest.mark.masfire(faults=["message_storm@planner?copies=3"])
            def test_it(self):
                office = Office()
                office.work()
                for reader in ("planner", "clerk"):
                    with self.subTest(reader=reader):
                        self.assertEqual(len(office.inbox[reader]), 1)
        """
    )
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines([r"message_storm@planner\?copies=3 +1 +1 +1 +0 of 1"])


def test_a_failure_inside_one_run_leaves_the_other_runs_of_the_test_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk="""
        from office import Office

        def work(masfire, fault):
            with masfire.run([fault]):
                return len(Office().work()["clerk"])

        def test_inside(masfire):
            work(masfire, "message_storm@planner?copies=2")
            with masfire.run(["message_storm@planner?copies=3"]):
                assert len(Office().work()["clerk"]) == 1

        def test_outside(masfire):
            work(masfire, "message_storm@planner?copies=4")
            assert work(masfire, "message_storm@planner?copies=5") == 1
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=2)
    result.stdout.re_match_lines(
        [
            r"message_storm@planner\?copies=2 +1 +1 +1 +1 of 1",
            r"message_storm@planner\?copies=3 +1 +1 +1 +0 of 1",
            r"message_storm@planner\?copies=4 +1 +1 +1 +0 of 1",
            r"message_storm@planner\?copies=5 +1 +1 +1 +0 of 1",
        ]
    )
    result.stdout.no_re_match_line(r".*copies=2 witnessed, seed 0, failed")
