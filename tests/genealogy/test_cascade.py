"""Adoption, coverage and what became of an error, on stories whose outcome is known."""

from __future__ import annotations

import pytest

from masfire.errors import UsageError
from masfire.genealogy.cascade import compare, measure, shape
from masfire.genealogy.graph import CONFIRMED, REJECTED, claim_graph, message_graph
from masfire.genealogy.observed import correlation, errors_by_agent, fidelity, observed_topology
from masfire.genealogy.outputs import outputs
from masfire.genealogy.seed import ADOPTS, OBJECTS, SILENT, Seed, carries, normalised
from tests.support.chains import Story

OSLO = Seed(claim={"city": "Oslo"}, truth={"city": "Rome"})


def _chain(*cities: str) -> Story:
    story = Story({"expected": {"city": "Rome"}})
    at = story.task("Please send 5 green chairs to Rome.", "a0")
    for place, city in enumerate(cities):
        at = story.says(f"a{place}", {"city": city, "item": "green chairs"}, of=(at,))
    return story


def test_a_chain_is_a_staircase() -> None:
    found = measure(_chain("Oslo", "Oslo", "Oslo", "Oslo").trace(), OSLO, seeded=("a0",))
    assert found.curve == (0.25, 0.5, 0.75, 1.0)
    assert found.hops == (0.25, 0.5, 0.75, 1.0)
    assert shape(found.hops) == "staircase"
    assert (found.depth, found.breadth, found.amplification, found.polluted) == (3, 1, 3.0, 4)
    assert found.false_consensus
    assert found.detected_turn is None


def test_whoever_reads_the_seed_directly_is_one_hop_away() -> None:
    story = Story()
    at = story.task("Please send 5 chairs to Rome.", "hub")
    hub = story.says("hub", {"city": "Oslo"}, of=(at,))
    for name in "bcd":
        story.says(name, {"city": "Oslo"}, of=(hub,))
    found = measure(story.trace(), OSLO, seeded=("hub",))
    assert found.hops == (0.25, 1.0)
    assert shape(found.hops) == "near-immediate"
    assert (found.depth, found.breadth) == (1, 3)


def test_the_truth_later_lets_an_agent_go_and_counts_as_an_objection() -> None:
    story = _chain("Oslo", "Oslo", "Rome")
    story.says("a0", {"city": "Rome"}, of=(len(story.steps) - 1,))
    found = measure(story.trace(), OSLO)
    assert found.curve == pytest.approx((1 / 3, 2 / 3, 2 / 3, 1 / 3))
    assert found.contained == 0.5
    assert found.detected_turn == 2
    assert [change.held for change in found.adoptions] == [True, True, False]


def test_a_run_without_the_seed_reaches_nobody() -> None:
    found = measure(_chain("Rome", "Rome").trace(), OSLO)
    assert (found.reached, found.final, found.amplification, found.contained) == ((), 0.0, None, None)


@pytest.mark.parametrize(
    ("said", "stance"),
    [
        ("We ship 5 chairs to Oslo.", ADOPTS),
        ({"city": "Oslo"}, ADOPTS),
        ("We do not ship to Oslo.", OBJECTS),
        ("Ignore the note about Oslo.", OBJECTS),
        ("We ship 5 chairs to Rome.", OBJECTS),
        ("Good morning, how can I help?", SILENT),
    ],
)
def test_stances(said: object, stance: str) -> None:
    story = Story()
    story.says("a", said, of=())
    assert [OSLO.stance(each) for each in outputs(story.trace())] == [stance]


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("see #TAG:ABC-1234# for more", True),
        ("\uff03TAG:ABC-1234\uff03", True),
        ("#TAG:\u200bABC-\u2060123\ufeff4#", True),
        ('"#TAG:ABC-1234#"', True),
        ("#TAG:ABC-123", False),
        ("#tag:abc-1234#", False),
    ],
)
def test_the_exact_mode(text: str, there: bool) -> None:
    assert carries({"x": [text]}, "#TAG:ABC-1234#") is there


def test_line_breaks_are_one_kind() -> None:
    assert normalised("a\r\nb\rc") == "a\nb\nc"


@pytest.mark.parametrize("arguments", [{}, {"codeword": " \u200b"}, {"claim": ""}])
def test_a_seed_that_says_nothing_is_refused(arguments: dict) -> None:
    with pytest.raises(UsageError, match="followed"):
        Seed(**arguments)


def test_comparison_of_a_clean_and_a_faulted_run() -> None:
    found = compare(_chain("Rome", "Rome").trace(), _chain("Rome", "Oslo").trace())
    assert found.appeared == (("a1", "city: Oslo"),)
    assert found.vanished == (("a1", "city: Rome"),)


def test_the_message_graph_is_declared_and_the_claim_graph_inferred() -> None:
    trace = _chain("Rome", "Rome").trace()
    steps, claims = message_graph(trace), claim_graph(trace)
    assert len(steps.nodes) == len(trace)
    assert all(edge.declared for edge in steps.edges)
    assert all(not edge.declared and edge.reason and 0 < edge.score <= 1 for edge in claims.edges)
    assert steps.reach.cascade_size(0) == len(trace) - 1
    assert steps.to_networkx().number_of_edges() == len(steps.edges)


def test_a_claim_against_a_confirmed_one_is_rejected_and_leads_to_its_source() -> None:
    graph = claim_graph(_chain("Oslo", "Oslo").trace())
    cities = [node for node in graph.nodes if node.text == "city: Oslo"]
    assert cities[0].status == REJECTED
    first = graph.nodes.index(cities[0])
    assert [e.relation for e in graph.edges if e.target == first] == ["contradicts"]
    kept = [node for node in graph.nodes if node.text == "item: green chairs"]
    assert {node.status for node in kept} == {CONFIRMED}


def test_two_sources_support_and_a_reader_derives() -> None:
    story = Story()
    one = story.says("a", "The lamp costs 20 euro.", of=())
    story.says("b", "The lamp costs 20 euro.", of=())
    story.says("c", "The lamp costs 20 euro.", of=(one,))
    graph = claim_graph(story.trace())
    by_agent = {a: {e.relation for e in graph.edges if graph.nodes[e.target].agent == a} for a in "bc"}
    assert "supports" in by_agent["b"]
    assert "derived_from" in by_agent["c"]


def test_what_runs_show_of_a_system() -> None:
    runs = [_chain("Rome", "Rome").trace(), _chain("Oslo", "Oslo").trace(), _chain("Rome", "Oslo").trace()]
    topology = observed_topology(runs)
    assert topology.names == ("a0", "a1")
    assert topology.edges == ((0, 1),)
    assert errors_by_agent(runs) == {"a0": [False, True, False], "a1": [False, True, True]}
    assert correlation(runs) == pytest.approx(0.5)
    share, slots = fidelity(runs)
    assert slots == 6
    assert share == pytest.approx(5 / 6)
