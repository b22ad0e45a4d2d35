"""Every taxonomy is complete, and the crosswalk names only kinds that exist."""

from __future__ import annotations

import pytest

from masfire import taxonomy
from masfire.cli import execute
from masfire.errors import UnknownName, UsageError

SIZES = {
    "agent_error": 18,
    "agentfail": 3,
    "agentrx": 10,
    "hidden_modes": 15,
    "masfire": 15,
    "mast": 14,
    "trail": 21,
}


def test_the_taxonomies_have_their_entries_and_every_entry_its_words():
    assert {name: len(taxonomy.kinds(name).entries) for name in taxonomy.names()} == SIZES
    for name in taxonomy.names():
        found = taxonomy.kinds(name)
        assert len({entry.id for entry in found.entries}) == len(found.entries)
        for entry in found.entries:
            assert entry.definition, entry
            assert entry.examples, entry
            assert entry.hints, entry


def test_the_crosswalk_reaches_every_fault_and_reads_both_ways():
    for entry in taxonomy.kinds("masfire").entries:
        assert taxonomy.related(f"masfire:{entry.id}"), entry.id
    assert ("equal", "mast:FM-1.4") in taxonomy.related("masfire:memory_loss")
    assert ("broader", "masfire:MC") in taxonomy.related("mast:FM-1.3")
    assert taxonomy.related("masfire:ML", to="trail") == [("narrower", "trail:context_handling_failure")]


def test_a_crosswalk_to_nowhere_is_refused_with_all_its_mistakes(tmp_path, monkeypatch):
    for name in taxonomy.names():
        (tmp_path / f"{name}.yaml").write_bytes((taxonomy._folder() / f"{name}.yaml").read_bytes())
    (tmp_path / "crosswalk.yaml").write_text(
        "masfire: crosswalk/v1\nrelations:\n"
        '  - {from: "masfire:ML", relation: equal, to: "mast:FM-9.9"}\n'
        '  - {from: "nowhere:x", relation: alike, to: "masfire:ML"}\n'
    )
    monkeypatch.setattr(taxonomy, "_folder", lambda: tmp_path)
    taxonomy.crosswalk.cache_clear()
    with pytest.raises(UsageError, match=r"FM-9\.9.*alike.*nowhere:x"):
        taxonomy.crosswalk()
    taxonomy.crosswalk.cache_clear()


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownName, match="step_repetition"):
        taxonomy.kinds("mast").entry("step_repetitions")
    with pytest.raises(UnknownName, match="'mast'"):
        taxonomy.kinds("must")


def test_the_command_lists_explains_and_maps(capsys):
    assert execute(["taxonomy", "list"]) == 0
    assert execute(["taxonomy", "explain", "mast:FM-1.3"]) == 0
    assert execute(["taxonomy", "map", "masfire:memory_loss", "--to", "mast", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert "step_repetition" in out
    assert '"to": "mast:FM-1.4"' in out


def test_a_kind_is_found_without_its_taxonomy_where_only_one_knows_it(capsys):
    for known in ("FM-1.3", "fm-1.3", "step_repetition"):
        assert execute(["taxonomy", "explain", known]) == 0
        assert capsys.readouterr().out.startswith("mast:FM-1.3  step_repetition")
    assert execute(["taxonomy", "map", "FM-1.4", "--to", "masfire"]) == 0
    assert capsys.readouterr().out.startswith("mast:FM-1.4  equals  masfire:ML")


def test_a_kind_that_several_or_none_know_names_those_that_are_near(capsys):
    assert execute(["taxonomy", "explain", "hallucination"]) == 2
    told = capsys.readouterr().err
    shared = [name for name in taxonomy.names() for one in taxonomy.kinds(name).entries
              if "hallucination" in (one.id, one.name)]  # fmt: skip
    assert len(shared) > 1
    assert all(f"{name}:" in told for name in shared)
    assert execute(["taxonomy", "explain", "FM-1.33"]) == 2
    assert "Did you mean mast:FM-1.3?" in capsys.readouterr().err
