"""A marked test is recorded, broken as asked, and reported; one whose fault never struck fails."""

from pathlib import Path

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


def test_fixtures_see_the_run_at_teardown_but_never_another_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from office import Office
        from masfire.errors import UsageError

        @pytest.fixture
        def checked(masfire):
            with pytest.raises(UsageError):
                masfire.trace
            yield
            assert len(masfire.trace) == 3

        def test_one(checked):
            Office().work()

        def test_two(checked):
            Office().work()
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_specs_are_as_good_as_addresses(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_desk="""
        import pytest
        from masfire import FaultSpec
        from office import Office

        STORM = FaultSpec("message_storm", "planner", parameters={"copies": "2"})

        @pytest.mark.masfire([STORM])
        def test_marked(masfire):
            assert len(Office().work()["clerk"]) == 2
            assert masfire.faults == ("message_storm@planner?copies=2",)

        def test_run(masfire):
            with masfire.run([STORM]):
                assert len(Office().work()["clerk"]) == 2
        """
    )
    result = pytester.runpytest_subprocess("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_marked[[]message_storm@planner?copies=2-seed0[]] PASSED*"])


def test_an_interrupted_test_leaves_a_readable_trace(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from office import Office

        def test_it(masfire):
            Office().work()
            raise KeyboardInterrupt
        """
    )
    assert pytester.runpytest_subprocess().ret == pytest.ExitCode.INTERRUPTED
    [path] = traces(pytester)
    trace = read_trace(path)
    assert len(trace) == 3
    assert trace.end is not None
    assert trace.end.status == "interrupted"


def test_what_the_test_says_of_the_answer_reaches_the_trace(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from office import Office

        def test_it(masfire):
            masfire.conclude(Office().work()["user"][0], success=False)
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    [path] = traces(pytester)
    end = read_trace(path).end
    assert end is not None
    assert end.success is False
    assert bytes(end.answer).startswith(b'"Done: ')
