"""Hypothesis strategies over fault plans, made so that a failing plan shrinks to the fewest faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hypothesis import reject
from hypothesis import strategies as st
from msgspec.structs import replace

from masfire.errors import UsageError
from masfire.faults.base import EVERY, FAULTS, FaultSpec
from masfire.faults.injector import Injector, Knowledge
from masfire.trace.model import Injection, Step, Trace
from masfire.trace.payload import pack

if TYPE_CHECKING:
    from masfire.session import Run

__all__ = ["assume_witnessed", "fault_plans", "fault_sites", "fault_specs", "known_faults"]


def known_faults() -> list[str]:
    """Return the name of every registered fault."""
    return FAULTS.names()


def fault_sites(trace: Trace, faults: Iterable[str | FaultSpec] | None = None) -> list[FaultSpec]:
    """Return every place in a fault-free `trace` where one of `faults` could strike, in order of the trace.

    `faults` are addresses or specs and default to every registered fault by name; an address that
    names an agent or an edge is confined to it. Each fault is tried on every step of the trace, so
    events it cannot change (no plan in that text, one tool only) are no sites. A site's `n` is that
    agent's own count of events, so it means the same place in the next run under the same seed.
    """
    steps = [_whole(trace, step) for step in trace]
    found: dict[str, tuple[int, FaultSpec]] = {}
    for pattern in map(_spec, known_faults() if faults is None else faults):
        for agent in dict.fromkeys(step.agent for step in steps if pattern.aims_at(step.agent)):
            aimed = replace(pattern, agent=agent)
            for count, index in enumerate(_struck(trace, steps, aimed)):
                if count >= pattern.n:
                    site = replace(aimed, n=count)
                    found.setdefault(site.address, (index, site))
    return [site for _, site in sorted(found.values(), key=lambda item: item[0])]


def fault_plans(
    sites: Sequence[str | FaultSpec], *, min_faults: int = 0, max_faults: int | None = None
) -> st.SearchStrategy[list[FaultSpec]]:
    """Return a strategy of fault plans: subsets of `sites`, in their order.

    A plan is drawn as one bit for each site. Measured on known culprits, that shrinks to the minimal
    subset every time, where sets of sampled sites mostly do not. Use it as
    ``@given(fault_plans(sites))`` with ``masfire.run(plan)`` in the body.
    """
    specs = [_spec(site) for site in sites]
    most = len(specs) if max_faults is None else max_faults
    if not 0 <= min_faults <= min(most, len(specs)):
        raise UsageError(
            f"No plan has at least {min_faults} and at most {most} faults of {len(specs)} sites.",
            hint="Choose min_faults and max_faults between 0 and the number of sites.",
        )
    masks = st.lists(st.booleans(), min_size=len(specs), max_size=len(specs))
    plans = masks.map(lambda mask: [spec for spec, on in zip(specs, mask, strict=True) if on])
    if min_faults or most < len(specs):
        plans = plans.map(lambda plan: plan[:most]).filter(lambda plan: len(plan) >= min_faults)
    return plans


def fault_specs(
    faults: Sequence[str] | None = None,
    *,
    agents: Sequence[str] = ("*",),
    max_n: int = 3,
    parameters: st.SearchStrategy[dict[str, str]] | None = None,
) -> st.SearchStrategy[FaultSpec]:
    """Return a strategy of single specs: a fault, an agent (or glob), `n` up to `max_n`, once or always.

    `faults` are names and default to every registered one; `agents` come first in the order in which
    a failing spec should shrink to them. `parameters` must suit every fault of the list.
    """
    names = known_faults() if faults is None else [FaultSpec.parse(name).name for name in faults]
    return st.builds(
        FaultSpec,
        name=st.sampled_from(names),
        agent=st.sampled_from(list(agents)),
        to=st.just(""),
        n=st.integers(0, max_n),
        times=st.sampled_from([1, EVERY]),
        parameters=parameters if parameters is not None else st.just({}),
    )


def assume_witnessed(run: Run) -> None:
    """Reject this example unless every fault of `run` struck; call it after the run's block."""
    if any(outcome.state != "witnessed" for outcome in run.injections):
        reject()


def _struck(trace: Trace, steps: Sequence[Step], spec: FaultSpec) -> list[int]:
    """Return the steps that a fault like `spec` would strike if it struck at every event."""
    injector = Injector([replace(spec, n=0, times=EVERY)], knowledge=Knowledge.from_trace(trace))
    struck = []
    for step in steps:
        outcome = injector(step, trace.steps[: step.step])
        if any(isinstance(one.body, Injection) and one.body.state == "injected" for one in outcome):
            struck.append(step.step)
    return struck[:1] if FAULTS.get(spec.name).persistent else struck


def _whole(trace: Trace, step: Step) -> Step:
    """Return the step as an interceptor saw it: a model call with its request in full."""
    if step.kind != "model_call":
        return step
    return step.with_payload(pack(trace.request(step.step)))


def _spec(fault: Any) -> FaultSpec:
    return fault if isinstance(fault, FaultSpec) else FaultSpec.parse(fault)
