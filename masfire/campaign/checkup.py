"""Whether everything is there: on this machine, for a plan, in a trace."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator

from msgspec import Struct

from masfire.adapters.langgraph_topology import edges_of
from masfire.analysis import analyze
from masfire.campaign.cells import asked, variants
from masfire.campaign.plan import Plan
from masfire.campaign.serving import key_of
from masfire.campaign.strangers import refusal, without_target
from masfire.campaign.tasks import load_tasks, resolve
from masfire.campaign.verdicts import load
from masfire.errors import MasfireError
from masfire.trace.model import USER, Trace

_OPTIONAL = {
    "openai": "the openai SDK can be recorded",
    "langgraph": "LangGraph systems can be recorded",
    "langchain-core": "LangChain tools can be recorded",
    "pytest": "the pytest plugin works",
    "hypothesis": "fault plans can be searched (masfire.strategies)",
    "jinja2": "campaigns write report.html",
}
_EXTRAS = {"langchain-core": "langgraph", "hypothesis": "pytest", "jinja2": "report"}


class Finding(Struct, frozen=True):
    """One thing that was looked at: whether it is all right, and what to do if not.

    `needed` says whether something cannot be done at all without it.
    """

    what: str
    ok: bool
    detail: str = ""
    remedy: str = ""
    needed: bool = True


def check_machine() -> Iterator[Finding]:
    """Yield what is installed here."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(f"Python {version}", sys.version_info >= (3, 11), remedy="Use Python 3.11 or newer.")
    for name, purpose in _OPTIONAL.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            extra = _EXTRAS.get(name, name)
            yield Finding(
                name, ok=False, detail=purpose, remedy=f"pip install 'masfire[{extra}]'", needed=False
            )
        else:
            yield Finding(f"{name} {found}", ok=True, detail=purpose)
    yield _local_model(needed=False)


def check_plan(plan: Plan) -> Iterator[Finding]:
    """Yield whether everything that a valid `plan` names is there; its systems are imported."""
    try:
        tasks = load_tasks(plan)
        yield Finding("tasks", ok=True, detail=f"{len(tasks)} from {plan.tasks.source}")
    except MasfireError as error:
        yield Finding("tasks", ok=False, detail=str(error), remedy="Correct `tasks` in the plan.")
    for system in plan.systems:
        yield from _objects(system.name, (system.system, system.run, system.check), plan.root)
    yield from _targets(plan)
    if plan.contracts:
        yield _contracts(plan)
    model = plan.model
    if model.stub != "only" and model.endpoint == "local":
        yield _local_model(needed=True)
    elif model.stub != "only" and model.endpoint != "none":
        yield Finding(
            f"key of {model.endpoint}",
            ok=bool(key_of(model)),
            detail=f"read from {model.key_from}",
            remedy=f"export {model.key_from}=…",
        )
    labels = ", ".join(variant.label for variant in variants(plan))
    yield Finding("cells", ok=True, detail=f"systems {labels}; seeds {plan.seeds}; times {plan.times}")


def _targets(plan: Plan) -> Iterator[Finding]:
    """Yield the faults that aim at no node, where all systems are graphs that can be built without a run.

    Nodes may hold agents of other names, so it is a hint: a campaign decides by its fault-free runs.
    """
    wanted = {wish.fault: wish.spec for wish in asked(plan) if wish.spec.agent != "*"}
    if not wanted:
        return
    nodes: list[set[str]] = []
    for system in plan.systems:
        try:
            graph = resolve(system.system, plan.root)
            nodes.append(set(edges_of(graph if hasattr(graph, "get_graph") else graph())[0]))
        except Exception:  # no graph, or one that cannot be built here: nothing is known before a run
            return
    lost, agents = without_target(wanted, nodes)
    for address in lost:
        yield Finding(
            f"target of {address}",
            ok=False,
            detail=str(refusal(plan, address, agents, where="among the nodes of the systems' graphs")),
            remedy="Correct `faults` in the plan, unless an agent inside a node has that name.",
            needed=False,
        )


def _contracts(plan: Plan) -> Finding:
    try:
        found = load(plan.contracts, plan.root)
    except MasfireError as error:
        return Finding("contracts", ok=False, detail=str(error), remedy="Correct `contracts` in the plan.")
    return Finding("contracts", ok=True, detail=f"{len(found)} from {', '.join(plan.contracts)}")


def check_trace(trace: Trace) -> Iterator[Finding]:
    """Yield what this trace is rich enough for: contracts, genealogy, diagnosis.

    Actions are needed only where there is no message either: then no contract has anything to judge.
    """
    report = analyze(trace)
    steps, kinds = len(trace), report.steps
    boundary = sum(kinds.get(kind, 0) for kind in ("tool_call", "model_call", "memory_write", "event"))
    yield Finding(
        "an end",
        ok=bool(report.status),
        detail=f"{report.status or 'none'}; contracts on termination need it",
        remedy="Let the run end, or judge it as unfinished.",
    )
    yield Finding(
        "actions",
        ok=boundary > 0,
        detail=f"{boundary} of {steps} steps; contracts on tools and models need them",
        remedy="Functions that call no model and no tool have none, and contracts on messages judge them "
        "all the same. Otherwise record inside masfire.run or the pytest fixture, with an adapter for the "
        "framework.",
        needed=not kinds.get("message"),
    )
    yield Finding(
        "messages between agents",
        ok=any(edge.sender != USER and edge.to != USER for edge in report.edges),
        detail=f"{kinds.get('message', 0)} messages, {len(report.agents)} agents; genealogy needs them",
        remedy="Name the agents: masfire.agent('planner'), or use a framework that masfire knows.",
    )
    yield Finding(
        "causal parents",
        ok=steps > 0 and report.linked * 2 >= steps,
        detail=f"{report.linked} of {steps} steps have some; genealogy and diagnosis need them",
        remedy="Texts that agents exchange must reach the requests they are used in.",
    )
    yield Finding(
        "contents",
        ok=trace.header.privacy != "content-off",
        detail=f"privacy level {trace.header.privacy}; claims and diagnosis need texts",
        remedy="Record with privacy='redacted'.",
    )
    yield Finding(
        "how to start it again",
        ok=bool(trace.header.launch),
        detail="diagnosis by counterfactuals needs it",
        remedy="Run it from a plan or a pytest test.",
        needed=False,
    )


def _objects(name: str, references: tuple[str, ...], root: str) -> Iterator[Finding]:
    for reference in references:
        try:
            found = resolve(reference, root)
        except MasfireError as error:
            yield Finding(f"system {name}", ok=False, detail=str(error), remedy="Correct it in the plan.")
        else:
            yield Finding(
                f"system {name}", ok=callable(found), detail=reference, remedy="It must be callable."
            )


def _local_model(*, needed: bool) -> Finding:
    from masfire.models.local import missing

    commands = missing()
    return Finding(
        "local model", ok=not commands, detail="SmolLM2-135M", remedy=" && ".join(commands), needed=needed
    )
