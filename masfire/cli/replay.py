"""`masfire replay`: a recorded run once more, answered from its record."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import EXISTING, formatted, print_json

if TYPE_CHECKING:
    from masfire.campaign.again import Repeated
    from masfire.recorder.player import Player
    from masfire.trace.model import Trace

SLICE = 12
"""How many of the steps that led to the last one `--until` shows."""


@click.command(name="replay", epilog=EXIT_CODES)
@click.argument("trace", type=EXISTING)
@click.option("--without-faults", is_flag=True, help="Leave the run's faults out: what would have been?")
@click.option("--faults", multiple=True, metavar="ADDR", help="Other faults in place of the recorded ones.")
@click.option("--until", type=click.IntRange(0), metavar="STEP", help="Stop after this step and show it.")
@click.option("--live-tools", is_flag=True, help="Run tools for real instead of answering from the record.")
@click.option(
    "--live", is_flag=True, help="Ask the model where the record has no answer (other faults only)."
)
@click.option("--plan", type=EXISTING, help="The run's plan, when it is not where the trace says.")
@click.option("--out", type=click.Path(dir_okay=False), help="Where the new trace goes.  [default: nowhere]")
@formatted
def command(
    trace: str,
    without_faults: bool,
    faults: tuple[str, ...],
    until: int | None,
    live_tools: bool,
    live: bool,
    plan: str | None,
    out: str | None,
    form: str,
) -> int:
    """Run the recorded run of TRACE again, answering models and tools from its record.

    The run has to come out step by step as it was recorded; the first difference is a divergence (exit
    code 3). With other faults, or none, it may go its own way, and a request that the record has no
    answer to is the divergence, unless --live lets the model answer.

    \b
    Example:
      masfire replay results/first/traces/9f3a6c1d2b4e5f60.jsonl
      masfire replay results/first/traces/9f3a6c1d2b4e5f60.jsonl --until 12
      masfire replay results/first/traces/9f3a6c1d2b4e5f60.jsonl --without-faults --live
    """
    from masfire.errors import UsageError
    from masfire.recorder.player import Player
    from masfire.trace.io import read_trace

    if without_faults and faults:
        raise UsageError("--without-faults and --faults contradict each other.", hint="Use one of them.")
    same = not (without_faults or faults)
    if live and same:
        raise UsageError(
            "--live asks the model where a changed run leaves its record.",
            hint="Use it with --without-faults or --faults.",
        )
    record = read_trace(trace)
    player = Player(record, strict=same, live=live, live_tools=live_tools, until=until)
    with contextlib.redirect_stdout(sys.stderr):  # what the system prints is not our result
        repeated = _repeat(Path(trace), player, None if same else faults, plan, out)
    told = _told(record, player, repeated, same=same, until=until)
    if form == "json":
        print_json(told)
    else:
        _print(record, told, repeated, until)
    return 3 if told["divergence"] is not None else 0


def _repeat(
    path: Path, player: Player, faults: tuple[str, ...] | None, plan: str | None, out: str | None
) -> Repeated:
    """Run the trace's run again where it came from: a plan's cell or a test."""
    import tempfile

    from masfire.campaign.again import repeat_cell, repeat_test
    from masfire.errors import UsageError

    with tempfile.TemporaryDirectory(prefix="masfire-") as folder:
        new = Path(out) if out else Path(folder, "replay.jsonl")
        if "pytest" in player.trace.header.launch:
            return repeat_test(path, player, out=new, faults=faults)
        if faults is not None and len(faults) > 1:
            raise UsageError(
                "A cell of a plan is run under one fault.", hint="Several faults at a time need a test."
            )
        fault = None if faults is None else next(iter(faults), "")
        return repeat_cell(path, player, out=new, plan=Path(plan) if plan else None, fault=fault)


def _told(
    record: Trace, player: Player, repeated: Repeated, *, same: bool, until: int | None
) -> dict[str, Any]:
    """Return what there is to say, as JSON values."""
    import msgspec

    left = repeated.divergence
    difference = msgspec.to_builtins(repeated.difference) if repeated.difference is not None else None
    divergence: dict[str, Any] | None = None
    if left is not None:
        divergence = {
            "message": str(left), "step": left.step, "agent": left.agent, "path": left.path,
            "expected": left.expected, "got": left.got,
        }  # fmt: skip
    elif same and repeated.difference is not None:
        one = repeated.difference
        divergence = {
            "message": f"The run ended otherwise than recorded: {one.difference.path} differs.",
            "step": one.step, "agent": one.agent, "path": one.difference.path,
            "expected": one.difference.expected, "got": one.difference.got,
        }  # fmt: skip
    end = repeated.trace.end
    slice_ = _slice(repeated.trace, until) if until is not None else []
    return {
        "run": record.header.run,
        "same": divergence is None and repeated.difference is None and not repeated.stopped,
        "steps": len(repeated.trace),
        "recorded_steps": len(record),
        "answered": player.answered,
        "asked_live": player.asked_live,
        "status": end.status if end is not None else "",
        "success": end.success if end is not None else None,
        "recorded_success": record.end.success if record.end is not None else None,
        "stopped": repeated.stopped,
        "first_difference": difference,
        "divergence": divergence,
        **({} if until is None else {"slice": slice_, "state": _state(repeated.trace, until)}),
    }


def _slice(trace: Trace, until: int) -> list[int]:
    """Return the steps from which step `until` was made, over any number of others, and itself."""
    found, waiting = set(), [until] if until < len(trace) else []
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += trace[index].parents
    return sorted(found)


def _state(trace: Trace, until: int) -> Any:
    """Return what step `until` holds, a request written out; None when it was not reached."""
    if until >= len(trace):
        return None
    step = trace[until]
    return trace.request(until) if step.kind == "model_call" else step.value


def _print_state(trace: Trace, until: int) -> None:
    """Tell the steps that led to step `until`, and all it holds."""
    from masfire.reporting.printable import printable
    from masfire.reporting.story import Messages, told

    messages = Messages(trace.steps)
    click.echo(f"Stopped after step {until}. It was made from:")
    for index in _slice(trace, until)[-SLICE:]:
        click.echo(f"  {told(trace[index], messages)}")
    click.echo("It holds:")
    for line in json.dumps(_state(trace, until), indent=2, ensure_ascii=False).splitlines():
        click.echo(f"  {printable(line)}")


def _print(record: Trace, told: dict[str, Any], repeated: Repeated, until: int | None) -> None:
    from masfire.reporting.printable import printable

    def say(text: str) -> None:
        click.echo(printable(text, limit=2_000, lines=True))

    judged = {True: "solved", False: "not solved", None: "not judged"}
    if told["divergence"] is not None:
        say(f"DIVERGED after {told['steps']} of {told['recorded_steps']} recorded steps")
        say(f"  {told['divergence']['message']}")
        return
    if until is not None:
        _print_state(repeated.trace, until)
        return
    live = f", {told['asked_live']} asked live" if told["asked_live"] else ""
    calls = f"{told['answered']} calls answered from the record{live}"
    if told["same"]:
        say(f"Same as recorded: {told['steps']} steps, {calls}; {told['status']}, {judged[told['success']]}.")
    elif told["stopped"]:
        say(f"Same as recorded for {told['steps']} steps, {calls}. {told['stopped']}")
    else:
        one = told["first_difference"]
        if one is None:
            say(f"Nothing changed: {told['steps']} steps, {calls}.")
            return
        where = f"step {one['step']} ({one['agent']}, {one['kind']})" if one["step"] >= 0 else "the end"
        say(
            f"First differs at {where}: {one['difference']['path']}; {told['steps']} steps instead of "
            f"{told['recorded_steps']}, {calls}."
        )
        say(f"  recorded: {judged[told['recorded_success']]}; now: {judged[told['success']]}")
