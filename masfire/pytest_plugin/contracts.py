"""Contracts of a test: those it asks for, what they say of its runs, what the session's summary tells."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from masfire.pytest_plugin.excerpt import shown

if TYPE_CHECKING:
    from masfire.contracts.model import Contract
    from masfire.reporting.checked import Check
    from masfire.session import Run

_LOADED = pytest.StashKey[dict[Any, "tuple[Contract, ...]"]]()

_TOLD = 100
"""Contracts of one test that JUnit files list."""

_CAUSES = 20
"""Causes that the summary lists."""


def load(named: Any, node: pytest.Item, where: str) -> tuple[Contract, ...]:
    """Return the contracts that a marker, option or ini key names; raise MasfireError for mistakes.

    Paths are looked for beside the test, then in the root directory.
    """
    if named is None or named == () or named == []:
        return ()
    from masfire.checking import resolve
    from masfire.errors import UsageError

    items = list(named) if isinstance(named, (list, tuple)) else [named]
    folders = [Path(node.path).parent, node.config.rootpath]
    texts = tuple(map(str, items)) if all(isinstance(item, (str, Path)) for item in items) else None
    known = node.config.stash.setdefault(_LOADED, {})
    key = (texts, folders[0])
    if texts is None or key not in known:
        try:
            found = resolve(items, folders=folders)
        except UsageError as error:
            error.where = error.where or where
            raise
        if texts is None:
            return found
        known[key] = found
    return known[key]


@contextlib.contextmanager
def asking(contracts: tuple[Contract, ...], notes: list[Check]) -> Iterator[None]:
    """Make `masfire.check` use these contracts by default inside the block, and gather what it says."""
    from masfire import checking

    defaults, noted = checking.defaults.set(contracts), checking.noted.set(notes)
    try:
        yield
    finally:
        checking.defaults.reset(defaults)
        checking.noted.reset(noted)


def judge_runs(contracts: tuple[Contract, ...], runs: Sequence[tuple[Run, str]], replay: str) -> Check:
    """Return what the contracts say of a test's runs, each given with what it is called."""
    from masfire.checking import check_trace
    from masfire.reporting.checked import Check

    return Check(
        contracts,
        tuple(check_trace(run.trace, contracts, source=name, replay=replay) for run, name in runs),
    )


def clear(runs: Sequence[dict[str, Any]], judged: Check | None, raised: BaseException | None) -> bool:
    """Mark the runs that violated a contract as not ok; return whether that is why the test failed."""
    if judged is None:
        return False
    for run, one in zip(runs, judged.checked, strict=True):
        run["ok"] &= msgspec.structs.replace(judged, checked=(one,)).exit_code == 0
    return getattr(raised, "check", None) is judged


def tell(report: pytest.TestReport, call: pytest.CallInfo[None], judged: Check) -> None:
    """Make the contracts' report the failure's text; beside another failure, a section of its own."""
    excinfo = call.excinfo
    if excinfo is not None and getattr(excinfo.value, "check", None) is judged:
        if report.outcome == "failed":
            told = excinfo.getrepr(style="value")  # our own frames are nobody's business
            if told.reprcrash is not None:  # the short summary's line begins with the contract
                told.reprcrash.message = str(excinfo.value).partition("\n")[0]
            report.longrepr = told
    elif report.outcome == "failed" and judged.exit_code:
        from masfire.reporting.violations import check_lines

        report.sections.append(("masfire contracts", "\n".join(check_lines(judged))))


def as_notes(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return checks as simple values that reports carry between processes: one for each run judged."""
    return [
        {
            "status": {shown(verdict.contract, 200): verdict.status.value for verdict in one.verdicts},
            "causes": [
                [shown(verdict.contract, 200), shown(cause, 300), int(steps)]
                for verdict in one.verdicts
                for cause, steps in verdict.causes
            ],
        }
        for check in checks
        for one in check.checked
    ]


def as_properties(checks: Sequence[Check]) -> list[tuple[str, object]]:
    """Return what JUnit files get: each contract that applied, and where it was violated first."""
    found: list[tuple[str, object]] = []
    for check in checks:
        for one in check.checked:
            for verdict in one.verdicts:
                if verdict.status.value == "vacuous":
                    continue
                at = f" at step {verdict.first.violated_at}" if verdict.first is not None else ""
                found.append(
                    ("masfire.contract", f"{shown(verdict.contract, 200)}: {verdict.status.value}{at}")
                )
    return found[:_TOLD]


def summary(notes: Sequence[dict[str, Any]]) -> list[str]:
    """Return what the session's summary tells of its contracts, all runs of all processes together."""
    runs: Counter[str] = Counter()
    statuses: dict[str, Counter[str]] = {}
    causes: Counter[tuple[str, str]] = Counter()
    for note in notes:
        for contract, status in note["status"].items():
            runs[contract] += 1
            statuses.setdefault(contract, Counter())[status] += 1
        for contract, cause, steps in note["causes"]:
            causes[contract, cause] += steps
    if not runs:
        return []
    judged = f"{len(notes)} run{'' if len(notes) == 1 else 's'}"
    lines = [f"contracts: {len(runs)} over {judged}"]
    for status in ("violated", "pending"):
        lines += [
            f"  {status}: {contract} in {counts[status]} of {runs[contract]}"
            for contract, counts in statuses.items()
            if counts[status]
        ]
    never = [contract for contract, counts in statuses.items() if set(counts) == {"vacuous"}]
    if never:
        lines.append(f"  never triggered: {', '.join(never)}")
    lines += [
        f"  inconclusive: {contract}: {cause} ({steps} step{'' if steps == 1 else 's'})"
        for (contract, cause), steps in causes.most_common(_CAUSES)
    ]
    if len(causes) > _CAUSES:
        lines.append(f"  and {len(causes) - _CAUSES} more causes")
    return lines
