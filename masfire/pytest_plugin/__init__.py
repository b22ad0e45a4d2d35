"""The pytest plugin: records marked tests, expands them over faults and seeds, reports on each.

Mark a test with ``@pytest.mark.masfire(faults=[…], seeds=[…])`` or ask for the fixture ``masfire``;
the code under test needs no change. This module imports nothing of masfire's machinery before a test
needs it, so that it costs other test suites next to nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from masfire.pytest_plugin import options

if TYPE_CHECKING:
    from masfire.pytest_plugin.expansion import Ask
    from masfire.pytest_plugin.facade import Masfire

MARKER = "masfire"
CELL = "_masfire_cell"

_ASK = pytest.StashKey["Ask"]()
_PROBLEMS = pytest.StashKey[list[str]]()

_MARKER_HELP = (
    "masfire(faults=(), seeds=None, control=False, require_witnessed=True, budget=None, task=None, "
    "system='', contracts=()): record the test and run it once for each fault address and seed; "
    "control=True adds a fault-free case for each seed; contracts (files, folders, packs or Contract "
    "objects) judge every run."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their ini keys."""
    options.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; prepare the place where problems are gathered."""
    config.addinivalue_line("markers", _MARKER_HELP)
    config.stash[_PROBLEMS] = []
    if any(config.getoption(f"masfire_{name}") is not None for name in options.HELP):
        from masfire.pytest_plugin.settings import read

        read(config)  # a bad option is refused before anything runs


@pytest.fixture(scope="session")
def masfire(request: pytest.FixtureRequest) -> Masfire:
    """Give the recording of the test that is running: `trace`, `injections`, `seed`, `run(...)`.

    Of session scope, so that tests under Hypothesis's `@given` may use it.
    """
    from masfire.pytest_plugin.facade import Masfire

    return Masfire(request.config)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each of its cells."""
    if not _wanted(metafunc.definition, metafunc.fixturenames):
        return
    ask = _ask(metafunc.definition)
    if ask is None or not ask.expands:
        return
    if CELL not in metafunc.fixturenames:
        metafunc.fixturenames.append(CELL)
    metafunc.parametrize(CELL, [pytest.param(cell, id=cell.id) for cell in ask.cells])


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under xdist, refuse wrong markers in the report of their module: only reports reach the user."""
    report = yield
    if not hasattr(collector.config, "workerinput"):
        return report
    for node in report.result:
        if isinstance(node, pytest.Item):
            _attach(node)
    problems = collector.config.stash[_PROBLEMS]
    if problems:
        report.outcome, report.result = "failed", []
        report.longrepr = "\n".join(dict.fromkeys(problems))
        problems.clear()
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Attach to each test what it asks for; refuse all wrong markers at once."""
    for item in items:
        _attach(item)
    problems = config.stash[_PROBLEMS]
    if problems:
        raise pytest.UsageError("\n".join(dict.fromkeys(problems)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget the previous test's runs, so that a fixture cannot mistake them for this test's."""
    if item.stash.get(_ASK, None) is not None:
        from masfire.pytest_plugin.recording import forget_previous

        forget_previous(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Record the call phase of a test that asked for it."""
    ask = item.stash.get(_ASK, None)
    if ask is None:
        return (yield)
    from masfire.pytest_plugin.recording import recorded

    with recorded(item, ask):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report what was injected, and for a failure the trace around it."""
    if call.when == "call" and item.stash.get(_ASK, None) is not None:
        from masfire.pytest_plugin.recording import annotate, properties

        item.user_properties.extend(properties(item))
        report = yield
        annotate(item, call, report)
        return report
    return (yield)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was injected, witnessed and survived, and how to replay each failure."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    results = [
        {**run, "nodeid": report.nodeid, "outcome": report.outcome}
        for report in reports
        for run in getattr(report, "masfire_runs", ())
    ]
    if results:
        from masfire.pytest_plugin.settings import read
        from masfire.pytest_plugin.summary import render

        notes = [note for report in reports for note in getattr(report, "masfire_checks", ())]
        render(terminalreporter, results, read(config), notes)


def _attach(item: pytest.Item) -> None:
    """Attach to the test what it asks for, or note what is wrong with it."""
    if not _wanted(item, getattr(item, "fixturenames", ())):
        return
    ask = _ask(item)
    if ask is None:
        return
    from dataclasses import replace

    params = getattr(getattr(item, "callspec", None), "params", {})
    if CELL in params:
        ask = replace(ask, cells=(params[CELL],))
    elif len(ask.cells) > 1:
        item.config.stash[_PROBLEMS].append(
            f"{ask.where}: {item.name!r} cannot be run under {len(ask.cells)} cells, because pytest does "
            "not parametrize it (a unittest.TestCase?). Give it one fault and one seed, or make it a "
            "plain function or class."
        )
    item.stash[_ASK] = ask


def _wanted(node: pytest.Item, fixtures: Any) -> bool:
    return node.get_closest_marker(MARKER) is not None or "masfire" in fixtures


def _ask(node: pytest.Item) -> Ask | None:
    """Return what the node asks for, or None after noting what is wrong with it."""
    from masfire.errors import MasfireError
    from masfire.pytest_plugin.expansion import read_ask
    from masfire.pytest_plugin.settings import read

    problems = node.config.stash[_PROBLEMS]
    try:
        return read_ask(node, read(node.config), problems)
    except (MasfireError, pytest.UsageError) as error:
        problems.append(str(error))
        return None
