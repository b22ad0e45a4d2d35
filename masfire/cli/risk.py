"""`masfire risk`: how far an error would come, before anything is injected."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masfire.cli import EXIT_CODES
from masfire.cli.options import formatted, print_json

if TYPE_CHECKING:
    from masfire.genealogy.dynamics import Topology
    from masfire.trace.model import Trace

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
MOST_TRACES = 2_000


@click.command(name="risk", epilog=EXIT_CODES)
@click.argument("sources", nargs=-1, required=True, metavar="SYSTEM|TRACE...")
@click.option("--beta", type=click.FloatRange(0, 1), help="Chance per round that an error is taken over.")
@click.option("--delta", type=click.FloatRange(0, 1), help="Chance per round that an agent lets go.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Horizon (default: the agents, at least 5).")
@click.option("--fan-in", type=click.IntRange(3, 99), default=3, show_default=True, help="For the advice.")
@click.option("--fail-over", type=click.FloatRange(0, 1), help="Exit with 1 when coverage exceeds this.")
@click.option("--system", metavar="NAME", help="Read only the traces of this system.")
@formatted
def command(
    sources: tuple[str, ...],
    beta: float | None,
    delta: float | None,
    rounds: int | None,
    fan_in: int,
    fail_over: float | None,
    system: str | None,
    form: str,
) -> int:
    """Say how far an error would spread in a SYSTEM, or in the system that TRACEs show.

    A system is a LangGraph graph or what returns one, as package.module:name.

    Prints the spectral criterion and the coverage after a finite number of rounds (a graph without cycles
    has no spectrum and burns all the same), the worst seeds, and, from traces, whether the team amplifies
    signal or error. Folders are searched for *.jsonl. Of many traces the fault-free ones are read (all, for
    the edges alone, when there is none); traces of several systems are one system's at a time (--system).

    \b
    Examples:
      masfire risk examples.order_desk.star:build
      masfire risk results/first/traces --system linear~stub --beta 0.6 --delta 0.1
    """
    import msgspec

    from masfire.genealogy.risk import assess

    topology, traces, clean = _read(sources, system)
    risk = assess(topology, beta=beta, delta=delta, rounds=rounds or 0)
    advice, measured = _advice(traces, clean, fan_in)
    if form == "json":
        print_json(
            {
                "risk": msgspec.to_builtins(risk),
                "sentence": risk.sentence,
                "edges": [[topology.names[a], topology.names[b]] for a, b in topology.edges],
                "advice": msgspec.to_builtins(advice),
                "measured": measured,
            }
        )
    else:
        from masfire.reporting.cascade import risk_lines

        for line in risk_lines(topology, risk, advice, measured):
            click.echo(line)
    if fail_over is not None and risk.curve[-1] > fail_over:
        reached = f"{risk.curve[-1]:.1%} of the agents after {risk.rounds} rounds"
        click.echo(f"masfire: {reached}, more than --fail-over {fail_over:g} allows.", err=True)
        return 1
    return 0


def _read(sources: tuple[str, ...], system: str | None) -> tuple[Topology, list[Trace], list[Trace]]:
    """Return the topology of the sources, the traces that were read, and the fault-free ones of them."""
    from masfire.errors import UsageError
    from masfire.genealogy.dynamics import Topology
    from masfire.genealogy.observed import observed_topology

    references = [one for one in sources if _REFERENCE.fullmatch(one) and not Path(one).exists()]
    if references and len(sources) > 1:
        raise UsageError(
            f"{references[0]!r} is a system, and {len(sources)} sources were given.",
            hint="Name one system at a time, or traces of one.",
        )
    if references:
        from masfire.adapters.langgraph_topology import edges_of
        from masfire.campaign.tasks import resolve

        if system is not None:
            raise UsageError("--system chooses among traces.", hint="Leave it out for a module:factory.")
        names, edges = edges_of(_built(references[0], resolve(references[0], os.getcwd())))
        return Topology.of(edges, names), [], []
    traces = _of_one_system(read_traces(sources), system)
    clean = [trace for trace in traces if not trace.header.faults and not trace.injections]
    shown = [trace.blind() for trace in (clean or traces)]
    return observed_topology(shown), [trace.blind() for trace in traces], shown if clean else []


def _of_one_system(traces: list[Trace], wanted: str | None) -> list[Trace]:
    """Return the traces of the wanted system, or all when they are of one; raise UsageError else."""
    from collections import Counter

    from masfire.errors import UnknownName, UsageError

    counts = Counter(trace.header.system for trace in traces)
    if wanted is not None:
        if wanted not in counts:
            raise UnknownName("system in these traces", wanted, filter(None, counts))
        return [trace for trace in traces if trace.header.system == wanted]
    if len(counts) > 1:
        shown = ", ".join(f"{name or '(unnamed)'} ({count})" for name, count in sorted(counts.items()))
        raise UsageError(
            f"These {len(traces)} traces are of {len(counts)} systems: {shown}.",
            hint=f"Each has a risk of its own; choose one, for example --system {shlex.quote(max(counts))}.",
        )
    return traces


def _built(reference: str, found: Any) -> Any:
    """Return the graph that a reference names or makes; raise UsageError when making it fails."""
    from masfire.errors import UsageError

    if not callable(found) or hasattr(found, "get_graph"):
        return found
    try:
        return found()
    except Exception as error:  # a user's factory may raise anything
        raise UsageError(f"{reference!r} builds nothing: {type(error).__name__}: {error}.") from error


def read_traces(sources: tuple[str, ...]) -> list[Trace]:
    """Return the traces in files and folders; raise UsageError when there is none."""
    from masfire.errors import UsageError
    from masfire.trace.io import read_trace

    files: list[Path] = []
    for source in sources:
        path = Path(source)
        if not path.exists():
            raise UsageError(
                f"{source!r} is neither a file, a folder nor 'module:factory'.",
                hint="Write for example examples.order_desk.star:build, or a trace.",
            )
        files += sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"There is no trace (*.jsonl) in {', '.join(sources)}.")
    if len(files) > MOST_TRACES:
        raise UsageError(f"{len(files)} traces are too many at once.", hint=f"Name at most {MOST_TRACES}.")
    return [read_trace(file) for file in files]


def _advice(traces: list[Trace], clean: list[Trace], fan_in: int) -> tuple[Any, dict[str, Any]]:
    """Return the advisor's word and what was measured on clean runs for it; nothing without enough."""
    if not traces:
        return None, {}
    from masfire.genealogy.observed import correlation, fidelity
    from masfire.genealogy.synergy import advise

    gamma, slots = fidelity(clean)
    rho = correlation(clean)
    measured = {
        "traces": len(traces),
        "runs": len(clean),
        "fidelity": gamma,
        "slots": slots,
        "correlation": rho,
    }
    if gamma is None or rho is None:
        return None, measured
    return advise(fan_in, correlation=max(0.0, rho), fidelity=gamma), measured
