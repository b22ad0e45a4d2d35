"""The runs of one test: recorded around its call phase, and what its report says of them."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from masfire import session
from masfire.errors import Divergence, InvalidInjection, UsageError
from masfire.pytest_plugin import cassettes, contracts, settings
from masfire.pytest_plugin.excerpt import excerpt, shown
from masfire.pytest_plugin.expansion import Ask, addresses
from masfire.recorder import Budget, paused

if TYPE_CHECKING:
    from masfire.faults.base import FaultSpec
    from masfire.reporting.checked import Check

SECTION_RUNS = 3
"""How many of a failed test's runs its report section shows (the last ones)."""


@dataclass
class Recorded:
    """One run of a test; `ok` says whether its block ended without an exception."""

    run: session.Run
    explicit: bool
    require_witnessed: bool
    ok: bool = False


@dataclass
class Recording:
    """All runs of one test's call phase, the automatic one first.

    `raised` is the exception that ended the latest run which the test itself started: when the test
    fails by that very exception, its other runs are not to blame. `checks` are those of
    `masfire.check` in its body, `judged` what the contracts of its marker say of all runs.
    """

    item: pytest.Item
    ask: Ask
    runs: list[Recorded] = field(default_factory=list)
    concluded: bool = False
    over: bool = False
    subtest_failed: bool = False
    raised: BaseException | None = None
    checks: list[Check] = field(default_factory=list)
    judged: Check | None = None

    @property
    def settings(self) -> settings.Settings:
        """Return the session's options."""
        return settings.read(self.item.config)

    @property
    def latest(self) -> Recorded:
        """Return the run that `masfire.trace` and the others refer to."""
        return self.runs[-1]

    @property
    def diverged(self) -> bool:
        """Return whether a run left the record it was to repeat: contracts then judge nothing."""
        players = [recorded.run.recorder.replay for recorded in self.runs]
        return any(player is not None and player.divergence is not None for player in players)

    def conclude(self, success: bool | None) -> None:
        """Write into the automatic run what the test made of it, unless the test already said."""
        run = self.runs[0].run
        if not self.concluded:
            run.conclude(success=success)

    @contextlib.contextmanager
    def record(
        self,
        faults: Sequence[str | FaultSpec] | None = None,
        *,
        explicit: bool,
        seed: int | None = None,
        require_witnessed: bool | None = None,
        save: bool = True,
        **more: Any,
    ) -> Iterator[session.Run]:
        """Record one run; what is not said is taken from the test's cell, marker and options."""
        cell, given = self.ask.cell, self.settings
        plan = cell.faults if faults is None else [one for plan in addresses(list(faults)) for one in plan]
        limits = given.budget if explicit and self.ask.budget == given.budget else self.ask.budget
        more.setdefault("budget", Budget(int(limits["steps"]), int(limits["calls"]), limits["seconds"]))
        more.setdefault("task", self.ask.task)
        more.setdefault("system", self.ask.system)
        tape = cassettes.playing(self.item, given, len(self.runs))
        with (
            tape.kept(),
            session.run(
                list(plan if tape.faults is None else tape.faults),
                seed=cell.seed if seed is None else seed,
                path=tape.out or (self._path() if save else None),
                launch=self._launch(),
                privacy=given.privacy,
                redact=given.redact,
                replay=tape.player,
                draws=given.draws,
                **more,
            ) as run,
        ):
            tape.run = run
            needs = self.ask.require_witnessed if require_witnessed is None else require_witnessed
            recorded = Recorded(run, explicit, needs)
            self.runs.append(recorded)
            try:
                yield run
            except BaseException as error:
                if explicit:
                    self.raised = error
                raise
            recorded.ok = True
        if explicit and needs:
            run.require_witnessed()

    def _launch(self) -> dict[str, Any]:
        """Return how to start this run again."""
        options = self.settings.replay_arguments()
        launch: dict[str, Any] = {"pytest": self.item.nodeid}
        if self.runs:
            launch["run"] = len(self.runs)
        return {**launch, "options": options} if options else launch

    def _path(self) -> Path:
        directory = self.settings.directory
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            ignore = directory / ".gitignore"
            if not ignore.exists():
                ignore.write_text("# Written by masfire.\n*\n", encoding="ascii")
        nodeid = self.item.nodeid
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", nodeid).strip("-")[-120:]
        digest = hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        count = f"-{len(self.runs)}" if self.runs else ""
        path = directory / f"{slug}-{digest}{count}.jsonl"
        path.unlink(missing_ok=True)
        return path


RECORDING = pytest.StashKey[Recording]()
CURRENT = pytest.StashKey[Recording]()


@contextlib.contextmanager
def recorded(item: pytest.Item, ask: Ask) -> Iterator[None]:
    """Record the block as the call phase of `item`; raise InvalidInjection when a fault never struck."""
    recording = item.stash[RECORDING] = item.config.stash[CURRENT] = Recording(item, ask)
    verdict: BaseException | None = None
    try:
        asked = contracts.asking(ask.contracts, recording.checks)
        with asked, recording.record(explicit=False) as run:
            success: bool | None = False
            try:
                yield
            except (AssertionError, pytest.fail.Exception) as failure:
                verdict = failure  # the test's judgement: the system itself came to its end
            except pytest.skip.Exception as skipped:
                verdict, success = skipped, None
            else:
                success = not getattr(item, "_excinfo", None)  # unittest keeps its failures there
            recording.conclude(success)
        recording.runs[0].ok = verdict is None
        if verdict is not None:
            raise verdict
    finally:
        item.config.stash[CURRENT] = recording
        _forget_unused(recording)
        recording.over = True
        unjudged = recording.diverged or isinstance(verdict, pytest.skip.Exception)
        if ask.contracts and not unjudged:
            recording.judged = _judged(recording)
    if ask.require_witnessed and not recording.runs[0].explicit:
        run.require_witnessed()
    if recording.judged is not None:
        from masfire.checking import require

        require(recording.judged)


@contextlib.contextmanager
def explicit_run(config: pytest.Config, **arguments: Any) -> Iterator[session.Run]:
    """Record a run inside a test; the test's automatic recording pauses meanwhile."""
    recording = current(config)
    with paused(recording.runs[0].run.recorder), recording.record(explicit=True, **arguments) as run:
        yield run


def current(config: pytest.Config) -> Recording:
    """Return the recording of the test that runs; raise UsageError outside a call phase."""
    recording = config.stash.get(CURRENT, None)
    if recording is None or not recording.runs:
        raise UsageError(
            "No test is being recorded.",
            hint="Use the fixture masfire in the body of a test, not in a fixture.",
        )
    return recording


def forget_previous(item: pytest.Item) -> None:
    """Remove what an earlier test, or an earlier attempt of this one, left behind."""
    for stash, key in ((item.config.stash, CURRENT), (item.stash, RECORDING)):
        if key in stash:
            del stash[key]


def properties(item: pytest.Item) -> list[tuple[str, object]]:
    """Return what JUnit files and other reporters get: ASCII-safe strings and numbers only."""
    recording = item.stash.get(RECORDING, None)
    if recording is None or not recording.over:
        return []
    found: list[tuple[str, object]] = []
    for recorded in recording.runs[-SECTION_RUNS:]:
        found.append(("masfire.seed", recorded.run.recorder.header.seed))
        for outcome in recorded.run.injections:
            found.append(("masfire.fault", shown(outcome.address)))
            found.append(("masfire.state", shown(outcome.state)))
            if outcome.agent:
                found.append(("masfire.agent", shown(outcome.agent)))
                found.append(("masfire.step", int(outcome.step)))
        if recorded.run.path is not None:
            found.append(("masfire.trace", shown(_relative(recorded.run.path, item.config))))
    return [*found, *contracts.as_properties(_all_checks(recording))]


def annotate(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Put the runs on the report, and for a failure a section about each of the last ones."""
    recording = item.stash.get(RECORDING, None)
    if recording is None:
        return
    if call.excinfo is not None and call.excinfo.errisinstance((InvalidInjection, Divergence)):
        report.outcome = "failed"  # an expected failure must hide neither
        report.__dict__.pop("wasxfail", None)
        report.longrepr = shown(str(call.excinfo.value), 4_000)
    command = replay(item)
    if not recording.over:  # this is the report of a subtest
        recording.subtest_failed |= report.outcome == "failed"
    else:
        runs = [_summary(recorded, item.config, command) for recorded in recording.runs]
        runs[-1]["ok"] &= not recording.subtest_failed
        raised = call.excinfo.value if call.excinfo is not None else None
        by_contract = contracts.clear(runs, recording.judged, raised)
        blamed = by_contract or (raised is not None and raised is recording.raised)
        for run in runs:
            run["cleared"] = blamed and run["ok"]
        report.masfire_runs = runs  # type: ignore[attr-defined]
        report.masfire_checks = contracts.as_notes(_all_checks(recording))  # type: ignore[attr-defined]
    if recording.over and recording.judged is not None:
        contracts.tell(report, call, recording.judged)
    if report.outcome == "failed":
        for recorded in recording.runs[-SECTION_RUNS:]:
            report.sections.append(("masfire", _section(recorded, item.config, command)))


def replay(item: pytest.Item) -> str:
    """Return the command that runs this test alone, in this cell, from the current directory."""
    nodeid: Any = item.nodeid
    nodeid = str(item.config.cwd_relative_nodeid(nodeid))
    return " ".join(
        filter(None, ("pytest", shlex.quote(nodeid), settings.read(item.config).replay_options()))
    )


def _judged(recording: Recording) -> Check:
    config = recording.item.config
    runs = [
        (recorded.run, _relative(recorded.run.path, config) if recorded.run.path is not None else "")
        for recorded in recording.runs
    ]
    return contracts.judge_runs(recording.ask.contracts, runs, replay(recording.item))


def _all_checks(recording: Recording) -> list[Check]:
    return [*recording.checks, *([recording.judged] if recording.judged is not None else ())]


def _forget_unused(recording: Recording) -> None:
    """Drop the automatic run when the test recorded its own runs and nothing happened outside them."""
    automatic = recording.runs[0] if recording.runs else None
    if automatic is None or automatic.explicit or len(recording.runs) == 1 or len(automatic.run.trace):
        return
    if automatic.run.path is not None:
        automatic.run.path.unlink(missing_ok=True)
    del recording.runs[0]


def _summary(recorded: Recorded, config: pytest.Config, command: str) -> dict[str, Any]:
    run = recorded.run
    end = run.trace.end
    return {
        "seed": run.recorder.header.seed,
        "ok": recorded.ok,
        "status": end.status if end is not None else "",
        "steps": len(run.trace),
        "trace": shown(_relative(run.path, config)) if run.path is not None else "",
        "replay": shown(command, 4_000),
        "faults": [
            {
                "fault": shown(outcome.fault),
                "address": shown(outcome.address),
                "state": shown(outcome.state),
                "reason": shown(outcome.reason),
                "agent": shown(outcome.agent),
                "step": int(outcome.step),
            }
            for outcome in run.injections
        ],
    }


def _section(recorded: Recorded, config: pytest.Config, command: str) -> str:
    run = recorded.run
    lines = [f"seed     {run.recorder.header.seed}"]
    for outcome in run.injections:
        place = f" at agent {shown(outcome.agent)}, step {outcome.step}" if outcome.agent else ""
        reason = f" ({shown(outcome.reason)})" if outcome.reason else ""
        lines.append(f"fault    {shown(outcome.address)}: {shown(outcome.state)}{place}{reason}")
    end = run.trace.end
    if end is not None:
        error = f": {shown(_first(end.error))}" if end.error else ""
        lines.append(f"run      {end.status}, {len(run.trace)} steps{error}")
    if run.path is not None:
        lines.append(f"trace    {shown(_relative(run.path, config))}")
    lines.append(f"replay   {shown(command, 4_000)}")
    return "\n".join([*lines, *excerpt(run.trace)])


def _first(text: str) -> str:
    return text.strip().partition("\n")[0]


def _relative(path: Path, config: pytest.Config) -> str:
    directory = config.invocation_params.dir
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)
