"""What is left of a run whose worker was killed or died: its trace is ended, its result read from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from masfire.analysis import analyze
from masfire.campaign.executors.local import Lost
from masfire.campaign.orders import Order
from masfire.campaign.plan import Record
from masfire.campaign.results import RunResult
from masfire.campaign.verdicts import verdicts
from masfire.contracts.model import Contract
from masfire.errors import TraceError
from masfire.metrics.rates import WITNESSED
from masfire.trace.io import TraceWriter, read_trace
from masfire.trace.model import End, Header, Injection, Step, Trace
from masfire.trace.payload import pack
from masfire.trace.redact import Redactor


def salvage(order: Order, lost: Lost, record: Record, contracts: Sequence[Contract] = ()) -> RunResult:
    """Return the result of a lost run; afterwards its trace is whole and has an end.

    `record` says what a trace may hold that has to be begun here; `contracts` judge it.

    A run that had ended before its worker was lost keeps its own end.
    """
    trace = _ended(order, lost, record)
    report = analyze(trace)
    state, reason, mark = _injection(order, trace)
    return RunResult(
        id=order.id,
        system=order.label,
        model="",
        fault=order.fault,
        times=order.times,
        address=order.address,
        task=order.task["id"],
        seed=order.seed,
        status=report.status,
        success=report.success if report.status == "completed" else False,
        state=state,
        reason=reason,
        agent=mark.agent if mark else "",
        step=mark.step if mark else -1,
        witnessed_at=mark.step if mark and state == WITNESSED else -1,
        error=report.error,
        steps=len(trace),
        calls=report.calls.made,
        tokens_in=report.calls.tokens_in,
        tokens_out=report.calls.tokens_out,
        seconds=lost.seconds,
        sources=report.calls.sources,
        trace=f"{order.id}.jsonl",
        verdicts=verdicts(trace, contracts),
    )


def _ended(order: Order, lost: Lost, record: Record) -> Trace:
    path = Path(order.path)
    try:
        trace = read_trace(path, tolerate_torn_tail=True)
    except (FileNotFoundError, TraceError):  # lost before the header was written
        header = Header(
            order.id,
            created=time.time(),
            seed=order.seed,
            task=pack(order.task),
            system=order.label,
            privacy=record.privacy,
            launch=order.launch,
            faults=(order.address,) if order.address else (),
        )
        redactor = Redactor(record.redact, level=record.privacy)
        TraceWriter(path, header, redactor=redactor).close(End(lost.status, lost.error, seconds=lost.seconds))
        return read_trace(path)
    if trace.end is None:
        with TraceWriter.reopen(path) as writer:
            writer.close(End(lost.status, lost.error, steps=len(trace), seconds=lost.seconds))
        trace = read_trace(path)
    return trace


def _injection(order: Order, trace: Trace) -> tuple[str, str, Step | None]:
    """Return the state that the marks in the trace prove, why, and the mark of the truth."""
    if not order.address:
        return "", "", None
    truth: Step | None = None
    state, reason = "not_exposed", "the run was lost before the fault struck"
    for mark in trace.injections:
        if isinstance(mark.body, Injection):
            state, reason = mark.body.state, mark.body.reason
            if truth is None and state == "injected":
                truth = mark
    return state, reason, truth
