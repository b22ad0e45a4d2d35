"""Exports can be read back, and recorded text stays text."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET

import networkx as nx

from masfire.genealogy.export import to_dot, to_graphml, to_json
from masfire.genealogy.graph import claim_graph
from tests.support.chains import Story


def _graph(text: str):
    story = Story()
    at = story.task("The lamp costs 20 euro.", "a")
    story.says("a", f"The lamp costs 20 euro. {text}", of=(at,))
    return claim_graph(story.trace())


def test_graphml_and_json_hold_the_same_graph() -> None:
    graph = _graph("It is red.")
    read = nx.read_graphml(io.StringIO(to_graphml(graph)), node_type=int)
    content = json.loads(to_json(graph))
    assert read.number_of_nodes() == len(content["nodes"]) == len(graph.nodes)
    assert read.number_of_edges() == len(content["edges"]) == len(graph.edges)
    assert read.nodes[0]["text"] == content["nodes"][0]["text"] == "The lamp costs 20 euro."


def test_every_edge_of_a_graphml_file_has_an_id_of_its_own() -> None:
    story = Story()
    at = story.task("The lamp costs 20 euro. It is red.", "a")
    at = story.says("a", "The lamp costs 20 euro. It is red.", of=(at,))
    story.says("b", "The lamp costs 20 euro. It is red.", of=(at,))
    graph = claim_graph(story.trace())
    space = "{http://graphml.graphdrawing.org/xmlns}"
    edges = ET.fromstring(to_graphml(graph)).findall(f"{space}graph/{space}edge")  # noqa: S314 - our own file
    assert [edge.get("id") for edge in edges] == [str(place) for place in range(len(graph.edges))]
    assert len(edges) > 2
    read = nx.read_graphml(io.StringIO(to_graphml(graph)), node_type=int, force_multigraph=True)
    ends = {(edge.source, edge.target, place) for place, edge in enumerate(graph.edges)}
    assert set(read.edges(keys=True)) == ends == set(graph.to_networkx().edges(keys=True))


def test_hostile_text_breaks_no_format() -> None:
    graph = _graph('Beware "]; evil [label=\\" of \x1b[31m </data><x> and \ud83d\ude00 \x00 lamps.')
    nx.read_graphml(io.StringIO(to_graphml(graph)))
    dot = to_dot(graph)
    assert "\x1b" not in dot
    assert "\x00" not in dot
    for line in dot.splitlines()[2:-1]:
        bare = line.replace("\\\\", "").replace('\\"', "")
        assert bare.count('"') == 2, line
