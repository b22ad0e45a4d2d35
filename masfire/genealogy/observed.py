"""What recorded runs say of a system: who reads whom, how faithfully, and whose errors go together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from masfire.claims import Statement, statements_of
from masfire.errors import RefusedValue
from masfire.genealogy.dynamics import Topology
from masfire.genealogy.outputs import outputs
from masfire.genealogy.synergy import error_correlation
from masfire.trace.model import USER, Trace
from masfire.trace.payload import unpack


def observed_topology(traces: Iterable[Trace], *, least: float = 0.0) -> Topology:
    """Return who read whom: an edge when one agent's output was in the declared input of the other.

    The input is that of its model calls; of any step, for agents that ask no model.
    With several runs an edge must be in more than the share `least` of them. The user is no agent.
    """
    seen: Counter[tuple[str, str]] = Counter()
    names: dict[str, None] = {}
    runs = 0
    for trace in traces:
        runs += 1
        names.update(dict.fromkeys(agent for agent in trace.agents if agent != USER))
        asking = {step.agent for step in trace if step.kind == "model_call"}
        pairs = {
            (trace[parent].agent, step.agent)
            for step in trace
            if step.kind == "model_call" or step.agent not in asking
            for parent in step.parents
            if 0 <= parent < len(trace) and trace[parent].agent not in (USER, step.agent)
        }
        seen.update(pair for pair in pairs if pair[1] != USER)
    kept = [pair for pair, count in seen.items() if count > least * runs]
    return Topology.of(kept, names)


def fidelity(traces: Iterable[Trace]) -> tuple[float | None, int]:
    """Return γ, the share of slots that a reader states as its source stated them, and their number.

    Compared are the values of keys that both an agent's output and an output in its context name; of the
    latter the latest counts. None when there is no such slot.
    """
    same = total = 0
    for trace in traces:
        slots: dict[int, dict[str, tuple[str, str]]] = {}
        own = {each.step: each for each in outputs(trace)}
        for step in trace:
            heard: dict[str, tuple[str, str]] = {}
            for parent in step.parents:
                heard.update(slots.get(parent, {}))
            each = own.get(step.step)
            said = _slots(each.statements, step.agent) if each else {}
            for key, (_, value) in said.items():
                source, before = heard.get(key, (step.agent, ""))
                if source != step.agent:
                    total += 1
                    same += value == before
            slots[step.step] = {**heard, **said}
    return (same / total if total else None), total


def errors_by_agent(traces: Iterable[Trace], *, key: str = "expected") -> dict[str, list[bool]]:
    """Return for each agent that put something out in every run whether it contradicted the task's truth.

    The truth is the object at `key` of the recorded task; runs without one are left out.
    """
    found: dict[str, list[bool]] = {}
    runs = 0
    for trace in traces:
        truth = _truth(trace, key)
        if not truth:
            continue
        runs += 1
        wrong: dict[str, bool] = {}
        for each in outputs(trace):
            said = _slots(each.statements, each.agent)
            errs = any(name in said and said[name][1] != value for name, value in truth.items())
            wrong[each.agent] = wrong.get(each.agent, False) or errs
        for agent, errs in wrong.items():
            found.setdefault(agent, []).append(errs)
    return {agent: errors for agent, errors in found.items() if len(errors) == runs}


def correlation(traces: Sequence[Trace], *, key: str = "expected") -> float | None:
    """Return ρ, the mean correlation of the agents' errors over fault-free runs; None when undefined."""
    return error_correlation(errors_by_agent(traces, key=key))


def _truth(trace: Trace, key: str) -> Mapping[str, str]:
    try:
        task: Any = unpack(trace.header.task)
    except RefusedValue:
        return {}
    part = task.get(key) if isinstance(task, dict) else None
    return {name: value for name, (_, value) in _slots(statements_of(part), "").items()} if part else {}


def _slots(said: Iterable[Statement], agent: str) -> dict[str, tuple[str, str]]:
    return {one.key: (agent, one.values[0][1]) for one in said if one.key and one.values}


__all__ = ["correlation", "errors_by_agent", "fidelity", "observed_topology"]
