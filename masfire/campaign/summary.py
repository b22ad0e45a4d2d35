"""What a campaign came to, computed from its result rows."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from masfire import __version__
from masfire.campaign import cells
from masfire.campaign.plan import Plan
from masfire.campaign.results import Results, RunResult
from masfire.metrics.compliance import Judged, compliance, statuses
from masfire.metrics.rates import WITNESSED, Resilience, Trial, control_rate, resilience, solved_tasks
from masfire.metrics.statistics import Proportion, wilson

SUMMARY_VERSION = "summary/v1"
_REASONS = 3
"""Reasons a cell names."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rate(_Part):
    """A proportion with its 95 % Wilson interval; rate, low and high are null when n is 0."""

    successes: int
    n: int
    rate: float | None
    low: float | None
    high: float | None


class PairCounts(_Part):
    """Injected runs against the control of the same task and seed; `p` is McNemar's exact test."""

    both: int
    lost: int
    won: int
    neither: int
    p: float


class SystemSummary(_Part):
    """A system without faults: `tasks` tried, `solved` (ids) by most controls, RS_control.

    `model` is who answered it: the model's name, `stub`, or empty. `errors` are the most frequent errors
    of its controls.
    """

    name: str
    model: str
    tasks: int
    solved: list[str]
    controls: Rate
    control: Rate
    errors: list[str]


class CellSummary(_Part):
    """A system under a fault.

    `rs` is RS_f over witnessed, judged runs on solved tasks; `ratio` is RS_f / RS_control. `verdict` is
    `valid`, `short` (fewer witnessed runs than the plan wants), `invalid` (none) or `inapplicable` (the
    plan asked for all faults, and each run said that this one has nothing to change here). `runs` are
    the run ids, `errors` counts how runs ended.
    """

    system: str
    fault: str
    times: str
    verdict: Literal["valid", "short", "invalid", "inapplicable"]
    rs: Rate
    ratio: float | None
    pairs: PairCounts
    states: dict[str, int]
    endings: dict[str, int]
    unjudged: int
    runs: list[str]
    reasons: list[str] = Field([], description="why runs were not witnessed, the most frequent first")


class ModelSummary(_Part):
    """The model, and where its replies came from: `cache` and `stub` replies asked no model."""

    name: str
    endpoint: str
    local: bool
    temperature: float | None
    slot: int
    cache: bool
    stub: str
    replies: dict[str, int]
    tokens_in: int
    tokens_out: int


class ContractSummary(_Part):
    """One contract over the campaign: in how many runs which status, without and with faults."""

    contract: str
    severity: str
    controls: dict[str, int]
    injected: dict[str, int]


class ComplianceSummary(_Part):
    """How far runs kept the plan's contracts.

    `runs` are clean runs of those in which a contract applied, `steps` passed of passed or failed ones;
    `inconclusive` counts steps that could not be judged, `vacuous` runs in which nothing applied.
    """

    runs: Rate
    steps: Rate
    inconclusive: int
    vacuous: int


class KnownError(_Part):
    """An error that the memory knew: its schema and fault class, how often that is right, and the runs."""

    schema_id: str
    fault: str
    precision: float
    runs: list[str]


class Recurrences(_Part):
    """Of `failed` runs, how many show an error that the memory (--memory) knew already."""

    failed: int
    known: int
    errors: list[KnownError]


class Summary(_Part):
    """A whole campaign; `complete` says whether every planned run is there."""

    masfire: Literal["summary/v1"] = "summary/v1"
    version: str
    python: str
    created: float = Field(description="seconds since the epoch")
    plan: str = Field(description="SHA-256 of everything in the plan that can change a result")
    complete: bool
    seeds: list[int]
    control_seeds: list[int]
    wanted: int = Field(description="witnessed runs wanted in each cell")
    runs: int
    controls: int
    endings: dict[str, int]
    seconds: float = Field(description="wall time of all runs added up")
    model: ModelSummary
    systems: list[SystemSummary]
    cells: list[CellSummary]
    compliance: dict[str, ComplianceSummary] = Field(
        {}, description="`controls` and `injected` (witnessed runs), when the plan has contracts"
    )
    contracts: list[ContractSummary] = []
    recurrences: Recurrences | None = Field(None, description="when a memory was given (--memory)")

    @property
    def exit_code(self) -> int:
        """Return 0 when every cell says what it was asked, else 3."""
        good = [cell for cell in self.cells if cell.verdict in ("valid", "inapplicable")]
        said = any(cell.verdict == "valid" for cell in self.cells)
        return 0 if said and self.complete and len(good) == len(self.cells) else 3


def summarize(plan: Plan, tasks: Sequence[dict[str, Any]], results: Results) -> Summary:
    """Return the summary of the runs that `results` holds so far."""
    rows = list(results)
    by_cell: dict[tuple[str, str, str], list[RunResult]] = {}
    for row in rows:
        by_cell.setdefault((row.system, row.fault, row.times), []).append(row)
    variants = cells.variants(plan)
    fact = results.fact("model") or {}
    said = results.verdicts()
    plain = [said[row.id] for row in rows if row.control and row.id in said]
    struck = [said[row.id] for row in rows if row.state == WITNESSED and row.id in said]
    systems, found = [], []
    for variant in variants:
        controls = by_cell.get((variant.label, "", ""), [])
        systems.append(_system(variant, controls, tasks, str(fact.get("name", ""))))
    for wish, variant in itertools.product(cells.asked(plan), variants):
        controls = by_cell.get((variant.label, "", ""), [])
        own = by_cell.get((variant.label, wish.fault, wish.times), [])
        found.append(_cell(variant, wish, own, controls, plan.witnessed))
    return Summary(
        version=__version__,
        python=platform.python_version(),
        created=time.time(),
        plan=plan.digest,
        complete=bool(results.fact("complete")),
        seeds=list(plan.seeds),
        control_seeds=plan.control_seeds,
        wanted=plan.witnessed,
        runs=sum(not row.control for row in rows),
        controls=sum(row.control for row in rows),
        endings=_count(row.status for row in rows),
        seconds=sum(row.seconds for row in rows),
        model=_model(plan, rows, fact),
        systems=systems,
        cells=found,
        compliance={"controls": _compliance(plain), "injected": _compliance(struck)} if said else {},
        contracts=_contracts(plain, struck),
    )


def trials(rows: Iterable[RunResult]) -> list[Trial]:
    """Return result rows as the metrics see them."""
    return [Trial(row.task, row.seed, row.success, row.state) for row in rows]


def write_summary(summary: Summary, path: Path) -> None:
    """Write the summary to `path`, atomically."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
        os.replace(scratch, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            scratch.unlink()


def summary_schema() -> dict[str, Any]:
    """Return the JSON Schema of a summary file, as published beside this module."""
    schema = Summary.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "masfire summary/v1",
    }


def _system(
    variant: cells.Variant, rows: Sequence[RunResult], tasks: Sequence[dict[str, Any]], model: str
) -> SystemSummary:
    controls = trials(rows)
    judged = [trial for trial in controls if trial.success is not None]
    solved = set(solved_tasks(controls))
    return SystemSummary(
        name=variant.label,
        model=variant.model if variant.model == cells.STUB else model,
        tasks=len(tasks),
        solved=[task["id"] for task in tasks if task["id"] in solved],
        controls=_rate(wilson(sum(bool(trial.success) for trial in judged), len(judged))),
        control=_rate(control_rate(controls)),
        errors=[text for text, _ in Counter(row.error for row in rows if row.error).most_common(3)],
    )


def _cell(
    variant: cells.Variant,
    wish: cells.Asked,
    rows: Sequence[RunResult],
    controls: Sequence[RunResult],
    wanted: int,
) -> CellSummary:
    found = resilience(trials(rows), trials(controls))
    return CellSummary(
        system=variant.label,
        fault=wish.fault,
        times=wish.times,
        verdict=_verdict(found, wish, wanted),
        rs=_rate(found.rs),
        ratio=found.ratio,
        pairs=PairCounts(
            both=found.pairs.both,
            lost=found.pairs.lost,
            won=found.pairs.won,
            neither=found.pairs.neither,
            p=found.pairs.p,
        ),
        states=found.states,
        endings=_count(row.status for row in rows),
        unjudged=found.unjudged,
        runs=[row.id for row in rows],
        reasons=[why for why, _ in Counter(row.reason for row in rows if _missed(row)).most_common(_REASONS)],
    )


def _missed(row: RunResult) -> bool:
    return bool(row.reason) and row.state != WITNESSED


def _verdict(found: Resilience, wish: cells.Asked, wanted: int) -> Any:
    if found.inapplicable and not wish.named:
        return "inapplicable"
    if not found.valid:
        return "invalid"
    return "valid" if found.rs.n >= wanted else "short"


def _model(plan: Plan, rows: Sequence[RunResult], fact: dict[str, Any]) -> ModelSummary:
    replies: Counter[str] = Counter()
    for row in rows:
        replies.update(row.sources)
    model = plan.model
    return ModelSummary(
        name=str(fact.get("name", "")),
        endpoint=model.endpoint,
        local=bool(fact.get("local", False)),
        temperature=model.temperature,
        slot=int(fact.get("slot", 0)),
        cache=model.cache and model.endpoint != "none",
        stub=model.stub,
        replies=dict(sorted(replies.items())),
        tokens_in=sum(row.tokens_in for row in rows),
        tokens_out=sum(row.tokens_out for row in rows),
    )


def _compliance(runs: Sequence[Sequence[Judged]]) -> ComplianceSummary:
    found = compliance(runs)
    return ComplianceSummary(
        runs=_rate(found.runs),
        steps=_rate(found.steps),
        inconclusive=found.inconclusive,
        vacuous=found.vacuous,
    )


def _contracts(
    plain: Sequence[Sequence[Judged]], struck: Sequence[Sequence[Judged]]
) -> list[ContractSummary]:
    severities = {one.contract: one.severity for run in (*plain, *struck) for one in run}
    controls, injected = statuses(plain), statuses(struck)
    return [
        ContractSummary(
            contract=name,
            severity=severity,
            controls=controls.get(name, {}),
            injected=injected.get(name, {}),
        )
        for name, severity in severities.items()
    ]


def _rate(found: Proportion) -> Rate:
    return Rate(successes=found.successes, n=found.n, rate=found.rate, low=found.low, high=found.high)


def _count(items: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(items).items()))
