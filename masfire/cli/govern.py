"""`masfire govern`: what a policy would have done, and whether an audit log is whole."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json

if TYPE_CHECKING:
    from masfire.governance.dryrun import Would

_OUTCOMES = ("allow", "rewrite", "block")
_EXAMPLES = 10
"""Blocks on clean runs that are shown."""


@click.group(name="govern", epilog=EXIT_CODES)
def command() -> None:
    """Try a policy on recorded runs, or verify what a governor logged.

    \b
    Example:
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
@formatted
def dry_run(traces: Sequence[str], policy: str, max_false_blocks: float | None, form: str) -> int:
    """Say what a policy would have done on recorded runs.

    A folder stands for the traces (*.jsonl) in it. Outcomes are counted per agent and capability. A run
    is clean when no fault was injected and no check of it failed: blocks there are false ones, or the
    model's own mistakes. Each step is judged as if everything before it had happened as recorded.

    \b
    Example:
      masfire govern dry-run results/first/traces --policy policy.yaml --max-false-blocks 0.01
    """
    from masfire.governance import load_policy

    rules = load_policy(policy)
    tally = _Tally()
    for path in _files(traces):
        tally.add(path, rules)
    if form == "json":
        print_json(tally.as_json())
    else:
        for line in tally.lines():
            click.echo(line)
    if tally.damaged or not tally.runs:
        return 3
    if max_false_blocks is None:
        return 0
    if not tally.on_clean:
        click.echo("masfire: No decision on a clean run: --max-false-blocks cannot be judged.", err=True)
        return 3
    if tally.false_rate <= max_false_blocks:
        return 0
    told = f"{tally.false_rate:.2%} of the decisions on clean runs are blocks"
    click.echo(f"masfire: {told}, above --max-false-blocks {max_false_blocks:g}.", err=True)
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

    def __init__(self) -> None:
        self.runs = self.clean = self.blocked_clean = 0
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        self.rules: Counter[tuple[str, str]] = Counter()
        self.on_clean: Counter[str] = Counter()
        self.shown: list[tuple[str, Would]] = []
        self.damaged: list[str] = []

    def add(self, path: str, policy: Any) -> None:
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
        found = judge(trace, policy)
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
            blocks = [one for one in found if one.outcome == "block"]
            self.blocked_clean += bool(blocks)
            self.shown += [(path, one) for one in blocks][: _EXAMPLES - len(self.shown)]

    @property
    def false_rate(self) -> float:
        """Return the part of the decisions on clean runs that are blocks."""
        whole = self.on_clean.total()
        return self.on_clean["block"] / whole if whole else 0.0

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
                "false_block_rate": self.false_rate,
                "examples": [
                    {"trace": path, "step": one.step, "agent": one.agent, "rule": one.rule,
                     "reason": one.reason} for path, one in self.shown
                ],
            },
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
            f"{self.on_clean['block']} of {whole} decisions blocked ({self.false_rate:.2%})"
        )
        for path, one in self.shown:
            yield f"  {printable(path)} #{one.step} {printable(one.agent)}: {printable(one.reason)}"
        for damage in self.damaged:
            yield f"damaged: {printable(damage)}"

    def _table(self) -> list[tuple[tuple[str, str], dict[str, int]]]:
        pairs = sorted({(agent, capability) for agent, capability, _ in self.outcomes})
        return [
            ((agent, capability), {one: self.outcomes[agent, capability, one] for one in _OUTCOMES})
            for agent, capability in pairs
        ]


def _files(traces: Sequence[str]) -> Iterator[str]:
    for path in traces:
        if os.path.isdir(path):
            yield from (str(file) for file in sorted(Path(path).glob("*.jsonl")))
        else:
            yield path
