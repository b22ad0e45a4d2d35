"""Fault plans are drawn from what a clean run has shown; they shrink to the fewest that break a system."""

import operator
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from langgraph.graph import END, START, StateGraph

import masfire
from masfire.errors import UnknownName, UsageError
from masfire.faults.base import FaultSpec
from masfire.strategies import assume_witnessed, fault_plans, fault_sites, fault_specs, known_faults

QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink]
)


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def chain(names: str = "ABCDEF") -> Any:
    graph = StateGraph(Log)
    previous = START
    for name in names:
        graph.add_node(name, lambda _state, name=name: {"log": [name]})
        graph.add_edge(previous, name)
        previous = name
    graph.add_edge(previous, END)
    return graph.compile()


@pytest.fixture(scope="module")
def clean() -> masfire.Trace:
    with masfire.run() as run:
        chain().invoke({"log": []})
    return run.trace


def test_sites_are_the_places_where_a_fault_can_strike(clean: masfire.Trace) -> None:
    addresses = [site.address for site in fault_sites(clean, ["message_cycle"])]
    assert addresses == [f"message_cycle@{name}" for name in "ABCDE"]  # F speaks to the user alone
    confined = fault_sites(clean, ["message_storm@C?copies=4", "message_cycle@[DE]"])
    assert [site.address for site in confined] == [
        "message_storm@C?copies=4", "message_cycle@D", "message_cycle@E",
    ]  # fmt: skip
    assert fault_sites(clean, ["tool_format_error"]) == []


def test_a_failing_plan_shrinks_to_the_two_faults_that_break_the_graph(clean: masfire.Trace) -> None:
    sites = fault_sites(clean, ["message_cycle"])
    graph, failing = chain(), []

    @QUICK
    @given(fault_plans(sites))
    def no_two_echoes(plan: list[FaultSpec]) -> None:
        with masfire.run(plan) as run:
            log = graph.invoke({"log": []})["log"]
        run.require_witnessed()
        if log.count("B") > 1 and log.count("E") > 1:
            failing.append([spec.address for spec in plan])
            raise AssertionError(log)

    with pytest.raises(AssertionError):
        no_two_echoes()
    assert failing[-1] == ["message_cycle@B", "message_cycle@E"]


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_plans_are_ordered_subsets_within_their_limits(data: st.DataObject) -> None:
    sites = [f"message_cycle@agent{index}" for index in range(5)]
    least = data.draw(st.integers(0, 5))
    most = data.draw(st.integers(least, 5))
    plan = data.draw(fault_plans(sites, min_faults=least, max_faults=most))
    chosen = [spec.address for spec in plan]
    assert least <= len(chosen) <= most
    assert chosen == [site for site in sites if site in chosen]


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 3 and at most 2"):
        fault_plans(["message_cycle@a", "message_cycle@b"], min_faults=3)
    with pytest.raises(UnknownName, match="mesage_cycle"):
        fault_plans(["mesage_cycle"])


@given(fault_specs(agents=["planner", "clerk"], max_n=2))
@settings(max_examples=60, deadline=None)
def test_specs_are_valid_addresses(spec: FaultSpec) -> None:
    assert FaultSpec.parse(spec.address) == spec
    assert spec.name in known_faults()
    assert spec.agent in ("planner", "clerk")
    assert 0 <= spec.n <= 2


def test_examples_whose_fault_never_struck_are_rejected() -> None:
    graph, kept = chain("AB"), []

    @QUICK
    @given(fault_plans(["message_cycle@A", "message_cycle@nobody"]))
    def only_witnessed(plan: list[FaultSpec]) -> None:
        with masfire.run(plan) as run:
            graph.invoke({"log": []})
        assume_witnessed(run)
        kept.append([spec.agent for spec in plan])

    only_witnessed()
    assert sorted(set(map(tuple, kept))) == [(), ("A",)]
