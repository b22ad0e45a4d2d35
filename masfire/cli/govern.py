"""`masfire govern`: what a policy says and would have done, and whether an audit log is whole."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.govern_check import check, schema
from masfire.cli.options import EXISTING, formatted, print_json

if TYPE_CHECKING:
    from masfire.governance import Policy
    from masfire.governance.dryrun import Would
    from masfire.governance.review import Remark
    from masfire.trace.model import Trace

_OUTCOMES = ("allow", "rewrite", "block")
_EXAMPLES = 10
"""Blocks and rewrites on clean runs that are shown."""


@click.group(name="govern", epilog=EXIT_CODES)
def command() -> None:
    """Check a policy, try it on recorded runs, or verify what a governor logged.

    \b
    Example:
      masfire govern check policy.yaml
      masfire govern dry-run results/first/traces --policy policy.yaml
      masfire govern audit verify governor.log
    """


@command.command(name="dry-run", epilog=EXIT_CODES)
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--policy", required=True, type=EXISTING, help="A policy file (masfire: policy/v1).")
@click.option(
    "--max-false-blocks",
    type=click.FloatRange(0, 1),
    help="Fail (1) when a larger part of the decisions on clean runs are blocks.",
)
@click.option(
    "--max-false-rewrites",
    type=click.FloatRange(0, 1),
    help="Fail (1) when a larger part of the decisions on clean runs are rewrites.",
)
@formatted
def dry_run(
    traces: Sequence[str],
    policy: str,
    max_false_blocks: float | None,
    max_false_rewrites: float | None,
    form: str,
) -> int:
    """Say what a policy would have done on recorded runs.

    A folder stands for the traces (*.jsonl) in it. Outcomes are counted per agent and capability. A run
    is clean when no fault was injected and no check of it failed: blocks there are false ones, or the
    model's own mistakes. Each step is judged as if everything before it had happened as recorded. Rules that
    nothing recorded met are listed: misspelt, perhaps.

    \b
    Example:
      masfire govern dry-run results/first/traces --policy policy.yaml --max-false-blocks 0.01
    """
    from masfire.governance import load_policy

    rules = load_policy(policy)
    tally = _Tally(rules)
    for path in _files(traces):
        tally.add(path)
    if form == "json":
        print_json(tally.as_json())
    else:
        for line in tally.lines():
            click.echo(line)
    if not tally.runs and not tally.damaged:
        click.echo(f"masfire: No trace (*.jsonl) in {', '.join(traces)}: nothing was tried.", err=True)
    if tally.damaged or not tally.runs:
        return 3
    limits = {"block": max_false_blocks, "rewrite": max_false_rewrites}
    return max(_held(tally, outcome, most) for outcome, most in limits.items())


def _held(tally: _Tally, outcome: str, most: float | None) -> int:
    """Return the exit code for one limit on what happens to clean runs."""
    option = f"--max-false-{outcome}s"
    if most is None:
        return 0
    if not tally.on_clean:
        click.echo(f"masfire: No decision on a clean run: {option} cannot be judged.", err=True)
        return 3
    rate = tally.rate(outcome)
    if rate <= most:
        return 0
    told = f"{rate:.2%} of the decisions on clean runs are {outcome}s"
    click.echo(f"masfire: {told}, above {option} {most:g}.", err=True)
    return 1


@command.group(name="audit", epilog=EXIT_CODES)
def audit() -> None:
    """Look after audit logs.

    \b
    Example:
      masfire govern audit verify governor.log
    """


@audit.command(name="verify", epilog=EXIT_CODES)
@click.argument("log", type=EXISTING)
@click.option("--head", metavar="LINES:HASH", help="What `AuditLog.head()` said earlier; shows a cut end.")
@click.option("--key-file", type=EXISTING, help="The key of a keyed log, in a file.")
@formatted
def verify(log: str, head: str | None, key_file: str | None, form: str) -> int:
    """Verify that no line of a LOG was altered, removed, added or moved (exit code 1 when one was).

    Without --head nobody can tell whether the end was cut off. A file that never was an audit log is a
    wrong file (exit code 2).

    \b
    Example:
      masfire govern audit verify governor.log --head 120:9f2c…
    """
    from masfire.governance import AuditError
    from masfire.governance import verify as check

    key = Path(key_file).read_bytes().rstrip(b"\n") if key_file else None
    try:
        lines, last = check(log, key=key, head=_head(head))
    except AuditError as error:
        if form == "json":
            print_json({"whole": False, "line": error.line, "reason": error.message})
            return 1
        raise
    if form == "json":
        print_json({"whole": True, "lines": lines, "head": f"{lines}:{last}"})
    else:
        click.echo(f"whole: {lines} lines, head {lines}:{last}")
    return 0


def _head(text: str | None) -> tuple[int, str] | None:
    from masfire.errors import UsageError

    if text is None:
        return None
    lines, _, mark = text.partition(":")
    if not lines.isdigit() or len(mark) != 64:
        raise UsageError(f"--head {text!r} is no head.", hint="Use LINES:HASH as `verify` prints it.")
    return int(lines), mark


class _Tally:
    """Counts over many runs."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.seen: set[tuple[str, str, str, str]] = set()
        self.runs = self.clean = self.blocked_clean = 0
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        self.rules: Counter[tuple[str, str]] = Counter()
        self.on_clean: Counter[str] = Counter()
        self.shown: list[tuple[str, Would]] = []
        self.damaged: list[str] = []

    def add(self, path: str) -> None:
        """Count one run."""
        from masfire.errors import NoTrace, TraceError
        from masfire.governance.dryrun import dry_run as judge
        from masfire.trace.io import read_trace

        try:
            trace = read_trace(path)
        except NoTrace:
            raise
        except TraceError as error:
            self.damaged.append(str(error))
            return
        found = judge(trace, self.policy)
        self.seen.update(_acts(trace))
        checked = trace.end is not None and trace.end.success is not False
        clean = not trace.header.faults and not trace.injections and checked
        self.runs += 1
        self.clean += clean
        for one in found:
            self.outcomes[one.agent, one.capability, one.outcome] += 1
            if one.outcome != "allow":
                self.rules[one.outcome, one.rule] += 1
        if clean:
            self.on_clean.update(one.outcome for one in found)
            touched = [one for one in found if one.outcome != "allow"]
            self.blocked_clean += any(one.outcome == "block" for one in touched)
            self.shown += [(path, one) for one in touched][: _EXAMPLES - len(self.shown)]

    def rate(self, outcome: str) -> float:
        """Return the part of the decisions on clean runs that have this outcome."""
        whole = self.on_clean.total()
        return self.on_clean[outcome] / whole if whole else 0.0

    def never(self) -> Sequence[Remark]:
        """Return what in the policy can never take effect, whatever is recorded."""
        from masfire.governance.review import WARNING, review

        return [remark for remark in review(self.policy) if remark.level == WARNING]

    def unused(self) -> Sequence[Remark]:
        """Return the rules that nothing recorded met."""
        from masfire.governance.review import unused

        return unused(self.policy, self.seen) if self.runs else ()

    def as_json(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {
            "runs": self.runs,
            "outcomes": [
                {"agent": agent, "capability": capability, **counts}
                for (agent, capability), counts in self._table()
            ],
            "rules": [
                {"outcome": outcome, "rule": rule, "count": count}
                for (outcome, rule), count in sorted(self.rules.items(), key=lambda item: (-item[1], item[0]))
            ],
            "clean": {
                "runs": self.clean,
                "runs_with_blocks": self.blocked_clean,
                **{outcome: self.on_clean[outcome] for outcome in _OUTCOMES},
                "false_block_rate": self.rate("block"),
                "false_rewrite_rate": self.rate("rewrite"),
                "examples": [
                    {"trace": path, "step": one.step, "agent": one.agent, "outcome": one.outcome,
                     "rule": one.rule,
                     "reason": one.reason} for path, one in self.shown
                ],
            },
            "warnings": [{"rule": one.where, "message": one.message} for one in self.never()],
            "unused": [{"rule": one.where, "message": one.message} for one in self.unused()],
            "damaged": self.damaged,
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """Yield the counts as text for people."""
        from masfire.reporting.printable import printable

        yield f"{self.runs} runs, each step judged as if the rest had happened as recorded"
        width = max((len(agent) for agent, *_ in self.outcomes), default=5)
        names = max((len(name) for _, name, _ in self.outcomes), default=5)
        for (agent, capability), counts in self._table():
            row = "  ".join(f"{outcome} {counts[outcome]:>6}" for outcome in _OUTCOMES)
            yield f"  {printable(agent):<{width}}  {printable(capability):<{names}}  {row}"
        for (outcome, rule), count in sorted(self.rules.items(), key=lambda item: (-item[1], item[0])):
            yield f"{outcome} {count:>6}  {printable(rule)}"
        whole = self.on_clean.total()
        yield (
            f"clean runs: {self.clean}, of which {self.blocked_clean} with blocks; "
            f"{self.on_clean['block']} of {whole} decisions blocked ({self.rate('block'):.2%}), "
            f"{self.on_clean['rewrite']} rewritten ({self.rate('rewrite'):.2%})"
        )
        for path, one in self.shown:
            why = one.reason or one.rule
            yield f"  {one.outcome} {printable(path)} #{one.step} {printable(one.agent)}: {printable(why)}"
        for remark in self.never():
            yield f"warning: {printable(remark.where)}: {printable(remark.message)}"
        for remark in self.unused():
            yield f"unused: {printable(remark.where)}: {printable(remark.message)}"
        for damage in self.damaged:
            yield f"damaged: {printable(damage)}"

    def _table(self) -> list[tuple[tuple[str, str], dict[str, int]]]:
        pairs = sorted({(agent, capability) for agent, capability, _ in self.outcomes})
        return [
            ((agent, capability), {one: self.outcomes[agent, capability, one] for one in _OUTCOMES})
            for agent, capability in pairs
        ]


def _acts(trace: Trace) -> Iterator[tuple[str, str, str, str]]:
    """Yield (agent, role, kind, name) of what was done; a message's names are who it went to."""
    from masfire.trace.model import Action, Message

    for step in trace.steps:
        body = step.body
        if isinstance(body, Action):
            yield step.agent, step.role, body.kind, body.name
        elif isinstance(body, Message):
            for to in body.to or ("",):
                yield step.agent, step.role, "message", to


def _files(traces: Sequence[str]) -> Iterator[str]:
    for path in traces:
        if os.path.isdir(path):
            yield from (str(file) for file in sorted(Path(path).glob("*.jsonl")))
        else:
            yield path


command.add_command(check)
command.add_command(schema)
