"""Options, ini keys and markers are read, and mistakes in them are refused at collection, all at once."""

import pytest

from tests.support.project import configure, load_installed_plugins

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(pytester, monkeypatch)


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*args)


def test_unknown_faults_are_refused_at_collection_with_the_nearest_match_and_all_at_once(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.masfire(faults=["mesage_storm@planner", "halucination"])
        def test_one():
            pass

        @pytest.mark.masfire(fauls=["hallucination"])
        def test_two():
            pass
        """
    )
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*test_*.py:3: Unknown fault 'mesage_storm'. Did you mean 'message_storm'? Known: *",
            "*test_*.py:3: Unknown fault 'halucination'. Did you mean 'hallucination'? Known: *",
            "*test_*.py:7: Unknown marker argument 'fauls'. Did you mean 'faults'? Known: *",
        ]
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--masfire-seeds=1,x",
            "*--masfire-seeds='1,x' cannot be read. Write numbers such as 0,1,2 or 0-4.*",
        ),
        ("--masfire-seed=x", "*--masfire-seed='x' cannot be read*"),
        ("--masfire-report=some", "*--masfire-report='some' is unknown. Choose from: all, failures, none.*"),
        ("--masfire-budget-steps=-1", "*--masfire-budget-steps='-1' is negative*"),
        ("--masfire-faults=chaos", "*Unknown fault 'chaos'*"),
    ],
)
def test_a_bad_option_is_refused(pytester: pytest.Pytester, option: str, message: str) -> None:
    pytester.makepyfile("def test_it(masfire): pass")
    result = run(pytester, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_the_marker_expands_a_test_over_faults_and_seeds_with_readable_ids(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_m="""
        import pytest

        @pytest.mark.masfire(
            faults=["hallucination@planner", ["message_storm", "memory_loss@b"]], seeds=[0, 3], control=True
        )
        @pytest.mark.parametrize("x", ["left", "right"])
        def test_it(x):
            pass
        """
    )
    result = run(pytester, "--collect-only", "-q")
    ids = [line.partition("::")[2] for line in result.outlines if "::" in line]
    cells = [
        f"{faults}-seed{seed}"
        for faults in ("clean", "hallucination@planner", "message_storm+memory_loss@b")
        for seed in (0, 3)
    ]
    assert sorted(ids) == sorted(f"test_it[{x}-{cell}]" for x in ("left", "right") for cell in cells)


def test_the_command_line_wins_over_the_marker_and_the_marker_over_the_ini_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = "masfire_faults =\n    memory_loss\n    hallucination\nmasfire_seeds = 0-1\n"
    configure(pytester, monkeypatch, ini)
    pytester.makepyfile(
        test_m="""
        import pytest

        def test_plain(): pass

        def test_fixture(masfire): pass

        @pytest.mark.masfire(faults=["message_cycle"])
        def test_marked(): pass
        """
    )

    def ids(*args: str) -> list[str]:
        lines = run(pytester, "--collect-only", "-q", *args).outlines
        return [line.partition("::")[2] for line in lines if "::" in line]

    assert ids() == [
        "test_plain",
        *(
            f"test_fixture[{fault}-seed{seed}]"
            for fault in ("memory_loss", "hallucination")
            for seed in (0, 1)
        ),
        *(f"test_marked[message_cycle-seed{seed}]" for seed in (0, 1)),
    ]
    assert ids("--masfire-faults=message_storm,inexecutable_plan@p#1", "--masfire-seeds=7") == [
        "test_plain",
        "test_fixture[message_storm-seed7]",
        "test_fixture[inexecutable_plan@p#1-seed7]",
        "test_marked[message_storm-seed7]",
        "test_marked[inexecutable_plan@p#1-seed7]",
    ]


def test_the_word_all_stands_for_the_fifteen(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(masfire): pass")
    result = run(pytester, "--collect-only", "-q", "--masfire-faults=all")
    ids = [line for line in result.outlines if "::" in line]
    assert len(ids) == len(set(ids)) == 15


def test_a_testcase_takes_one_cell_and_says_so_when_asked_for_more(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest

        class TestDesk(unittest.TestCase):
            @pytest.mark.masfire(faults=["hallucination", "memory_loss"])
            def test_it(self):
                pass
        """
    )
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'test_it' cannot be run under 2 cells*unittest.TestCase*"])


def test_without_the_plugin_pytest_is_as_before(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_installed_plugins(pytester, monkeypatch)
    pytester.makepyfile("def test_it(): pass")
    result = run(pytester, "-p", "no:masfire")
    result.assert_outcomes(passed=1)


def test_the_marker_and_options_are_documented(pytester: pytest.Pytester) -> None:
    assert "@pytest.mark.masfire(faults=(), seeds=None" in str(run(pytester, "--markers").stdout)
    text = str(run(pytester, "--help").stdout)
    for name in ("faults", "seeds", "seed", "dir", "report", "redact", "budget-steps"):
        assert f"--masfire-{name}" in text
        assert f"masfire_{name.replace('-', '_')}" in text
