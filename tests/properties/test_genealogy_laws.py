"""The laws of genealogy: blind, deterministic, forward in time, and within bounds."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.claims import Known, relate, statement, statements_of
from masfire.genealogy.cascade import measure
from masfire.genealogy.dynamics import Topology, coverage
from masfire.genealogy.graph import claim_graph, message_graph
from masfire.genealogy.risk import assess, spectral_radius
from masfire.genealogy.seed import Seed
from tests.support.chains import Story

WORDS = [
    "Rome",
    "Oslo",
    "chairs",
    "5",
    "7",
    "approved",
    "rejected",
    "not",
    "lamp",
    "costs",
    "euro",
    ".",
    "#T-1#",
]
texts = st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)
values = texts | st.dictionaries(st.sampled_from(["city", "quantity", "item"]), texts, max_size=3)
turns = st.lists(st.tuples(st.sampled_from("abc"), values, st.integers(0, 20)), max_size=7)


def _story(said: list) -> Story:
    story = Story()
    story.task("Send 5 chairs to Rome.", "a")
    for agent, value, back in said:
        story.says(agent, value, of=(max(0, len(story.steps) - 1 - back),))
    return story


@given(turns, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_ground_truth_changes_nothing(said: list, marks: int) -> None:
    story = _story(said)
    for mark in range(marks):
        story.mark(mark % len(story.steps))
    trace = story.trace()
    seed = Seed(claim={"city": "Oslo"})
    assert measure(trace, seed) == measure(trace.blind(), seed)
    one, other = claim_graph(trace), claim_graph(trace.blind())
    assert (one.nodes, one.edges) == (other.nodes, other.edges)


@given(turns)
@settings(max_examples=60, deadline=None)
def test_graphs_point_forward_and_a_prefix_is_a_prefix(said: list) -> None:
    trace = _story(said).trace()
    for graph in (message_graph(trace), claim_graph(trace)):
        assert all(edge.source < edge.target for edge in graph.edges)
        assert graph.reach.acyclic
    part = claim_graph(_story(said[:-1]).trace())
    whole = claim_graph(trace)
    assert whole.nodes[: len(part.nodes)] == part.nodes
    assert whole.edges[: len(part.edges)] == part.edges


@given(turns, st.sampled_from([Seed(claim={"city": "Oslo"}), Seed(codeword="#T-1#")]))
@settings(max_examples=60, deadline=None)
def test_measures_stay_within_bounds(said: list, seed: Seed) -> None:
    found = measure(_story(said).trace(), seed)
    assert all(0 <= share <= 1 for share in (*found.curve, *found.hops))
    assert list(found.hops) == sorted(found.hops)
    assert found.final <= found.peak
    assert found.polluted <= found.turns
    assert len(found.reached) == round(found.peak * len(found.agents))


@given(texts, st.lists(texts, max_size=6))
@settings(max_examples=100, deadline=None)
def test_relations_are_deterministic_bounded_and_know_their_own_words(text: str, known: list[str]) -> None:
    base = Known(one for each in known for one in statements_of(each))
    for claim in statements_of(text):
        found = base.relate(claim)
        assert found == base.relate(claim)
        assert 0 <= found.score <= 1
        assert (found.index < 0) == (found.kind == "unrelated")
        if claim.atoms:
            assert relate(claim, [*base.statements, claim]).kind == "supports"
    assert relate(statement("#T-9#"), base.statements).kind == "unrelated"


edges = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14)
rates = st.floats(0, 1)


@given(edges, rates, rates)
@settings(max_examples=60, deadline=None)
def test_the_model_stays_a_chance_and_grows_with_beta(pairs: list, beta: float, delta: float) -> None:
    kept = tuple(dict.fromkeys((a, b) for a, b in pairs if a != b))
    topology = Topology(tuple("abcdef"), kept)
    curve = coverage(topology, beta, delta)
    assert all(-1e-12 <= share <= 1 + 1e-12 for share in curve)
    if delta == 0:
        assert all(after >= before - 1e-12 for before, after in itertools.pairwise(curve))
    a = topology.matrix()
    assert abs(spectral_radius(a) - float(np.abs(np.linalg.eigvals(a)).max())) < 0.05
    assert assess(topology, beta=beta, delta=delta).curve[0] == 1 / 6
