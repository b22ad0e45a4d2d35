"""A marked test is recorded, broken as asked, and reported; one whose fault never struck fails."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from masfire.trace.io import read_trace
from tests.support.office import OFFICE
from tests.support.project import configure, load_installed_plugins

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(pytester, monkeypatch)
    pytester.makepyfile(office=OFFICE)


def traces(pytester: pytest.Pytester) -> list[Path]:
    return sorted((pytester.path / ".masfire" / "traces").glob("*.jsonl"))


def test_a_test_with_the_fixture_is_recorded_without_any_change_to_the_system(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        from office import Office

        def test_it(masfire):
            assert Office().work()["user"]
            assert [step.agent for step in masfire.trace] == ["user", "planner", "clerk"]
            assert masfire.injections == [] and masfire.seed == 0
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    [path] = traces(pytester)
    trace = read_trace(path)
    assert len(trace) == 3
    assert trace.end is not None
    assert trace.end.status == "completed"
    assert trace.end.success is True
    assert str(trace.header.launch["pytest"]).endswith(".py::test_it")
    assert (path.parent / ".gitignore").read_text() == "# Written by masfire.\n*\n"


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


def test_a_fault_that_never_struck_fails_a_passing_test_and_says_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from office import Office

        @pytest.mark.masfire(faults=["message_storm@nobody"])
        def test_missed():
            Office().work()

        @pytest.mark.masfire(faults=["message_storm@nobody"], require_witnessed=False)
        def test_allowed():
            Office().work()

        @pytest.mark.xfail(reason="the system cannot take a storm", strict=False)
        @pytest.mark.masfire(faults=["message_storm@nobody"])
        def test_expected_failure_hides_nothing():
            Office().work()

        @pytest.mark.masfire(faults=["message_storm@nobody"])
        def test_skipped():
            pytest.skip("not today")
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=2, passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*Fault 'message_storm@nobody' never struck: not_exposed (*nobody*"])
    result.stdout.re_match_lines([r"message_storm@nobody +4 +0 +0 +0 of 0 +\(4 not_exposed\)"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_explicit_runs_each_have_a_trace_and_the_cell_as_default(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from office import Office
        from masfire.errors import InvalidInjection

        def test_two_runs(masfire):
            with masfire.run() as clean:
                calm = Office().work()
            assert masfire.injections == []
            with masfire.run(["message_storm@planner?copies=4"], seed=3) as storm:
                wild = Office().work()
            assert [len(calm["clerk"]), len(wild["clerk"])] == [1, 4]
            assert masfire.seed == 3 and masfire.trace is not clean.trace
            assert masfire.injections[0].state == "witnessed"
            assert storm.path != clean.path and storm.path.exists()

        def test_missed(masfire):
            with pytest.raises(InvalidInjection, match="never struck"):
                with masfire.run(["message_storm@nobody"]):
                    Office().work()
            with masfire.run(["message_storm@nobody"], require_witnessed=False, save=False):
                Office().work()
            assert masfire.path is None

        @pytest.mark.masfire(faults=["message_storm@planner?copies=2"], seeds=[4])
        def test_cell(masfire):
            with masfire.run() as run:
                assert run.recorder.header.seed == 4
                assert len(Office().work()["clerk"]) == 2
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=3)
    assert len(traces(pytester)) == 4  # two, one and one: empty automatic runs leave no file


def test_given_with_the_fixture_raises_no_health_check(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from hypothesis import given, settings, strategies as st
        from office import Office

        @settings(max_examples=12, deadline=None, database=None)
        @given(copies=st.integers(1, 5))
        def test_it(masfire, copies):
            with masfire.run([f"message_storm@planner?copies={copies + 1}"], seed=copies):
                assert len(Office().work()["clerk"]) == copies + 1
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_async_tests_are_recorded(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, plugin: str
) -> None:
    load_installed_plugins(pytester, monkeypatch)
    pytester.makepyfile(
        f"""
        import asyncio
        import pytest
        from office import Office

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.{plugin}
        @pytest.mark.masfire(faults=["message_storm@planner?copies=2"])
        async def test_it(masfire):
            office = Office()
            await asyncio.gather(asyncio.to_thread(office.work), asyncio.sleep(0))
            assert len(office.inbox["clerk"]) == 2
            assert len(masfire.trace) == 4
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


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


def test_xdist_reports_a_bad_marker(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    load_installed_plugins(pytester, monkeypatch)
    pytester.makepyfile("import pytest\n@pytest.mark.masfire(faults=['chaos'])\ndef test_it(): pass\n")
    result = pytester.runpytest_subprocess("-n", "1")
    assert result.ret != 0
    assert "Unknown fault 'chaos'" in str(result.stdout) + str(result.stderr)


def test_unittest_and_plain_classes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest
        from office import Office

        class TestOld(unittest.TestCase):
            @pytest.mark.masfire(faults=["message_storm@planner?copies=3"])
            def test_broken(self):
                self.assertEqual(len(Office().work()["clerk"]), 1)

            @pytest.mark.masfire(faults=["message_storm@planner?copies=3"], seeds=[2])
            def test_fine(self):
                self.assertEqual(len(Office().work()["clerk"]), 3)

            @pytest.mark.masfire(faults=["message_storm@nobody"])
            def test_missed(self):
                Office().work()

        @pytest.mark.masfire(faults=["message_storm@planner?copies=3"], seeds=[0, 1])
        class TestPlain:
            def test_inherited(self):
                assert len(Office().work()["clerk"]) == 3

            @pytest.mark.masfire(seeds=[8])
            def test_own_seeds(self, masfire):
                assert len(Office().work()["clerk"]) == 3
                assert masfire.seed == 8
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(["*never struck: not_exposed*"])


def test_a_budget_stops_a_livelock(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from office import Office

        @pytest.mark.masfire(budget={"steps": 9})
        def test_it():
            while True:
                Office().work()
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*BudgetExceeded*used up its budget of 9 steps*", "run      budget, 9 steps*"]
    )
    assert [read_trace(path).end.status for path in traces(pytester)] == ["budget"]  # type: ignore[union-attr]


def test_secrets_of_the_user_never_reach_the_trace(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(pytester, monkeypatch, "masfire_redact =\n    CUST-[0-9]+\n")
    pytester.makepyfile(
        """
        from office import Office

        def test_it(masfire):
            Office().work("Order for CUST-4711 with token hunter22secret.")
        """
    )
    pytester.runpytest_subprocess("--masfire-redact=hunter22[a-z]+").assert_outcomes(passed=1)
    [path] = traces(pytester)
    text = path.read_text()
    assert "CUST-4711" not in text
    assert "hunter22secret" not in text
    assert "Order for" in text


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


def test_the_fixture_outside_a_test_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def system(masfire):
            return masfire.trace

        def test_it(system):
            pass
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*No test is being recorded. Use the fixture masfire in the body of a test*"]
    )


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
