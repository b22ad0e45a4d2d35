"""The taxonomy and the registry tell the same story."""

from __future__ import annotations

from collections import Counter

import pytest

from masfire import taxonomy
from masfire.errors import UnknownName, UsageError
from masfire.faults.base import FAULTS, FaultSpec
from masfire.faults.catalogue import catalogue, explain


def test_every_entry_has_a_fault_and_every_fault_an_entry():
    assert {entry.name for entry in taxonomy.load().entries} == set(FAULTS.names())


def test_there_are_the_fifteen_of_the_paper():
    entries = taxonomy.load().entries
    assert " ".join(e.id for e in entries) == "IP CIL ML CLV H PFE TFE TSE RA BT ILC IA MC MS MBA"
    assert Counter(e.scope for e in entries) == {"intra": 8, "inter": 7}
    assert Counter(e.mechanisms[0] for e in entries) == {"RR": 8, "PM": 4, "MR": 3}


def test_a_fault_lives_in_the_module_of_its_category():
    for entry in taxonomy.load().entries:
        assert type(FAULTS.get(entry.name)).__module__ == f"masfire.faults.{entry.category}"


def test_the_catalogue_has_a_row_a_fault_with_its_parameters():
    rows = {row["id"]: row for row in catalogue()}
    assert list(rows["MS"]) == ["id", "name", "scope", "category", "mechanisms", "parameters"]
    assert rows["MS"]["parameters"] == {"copies": 0}
    assert rows["BT"]["mechanisms"] == ["PM", "RR"]


def test_a_fault_explains_itself_by_name_and_by_id():
    assert explain("MS") == explain("ms") == explain("message_storm")
    assert "1000" in explain("MS")["parameters_help"]
    with pytest.raises(UnknownName, match="Did you mean 'message_storm'"):
        explain("mesage_storm")


def test_wrong_parameters_name_the_right_ones():
    with pytest.raises(UsageError, match=r"It takes: copies=0"):
        FaultSpec.parse("message_storm?count=3")
    with pytest.raises(UsageError, match="no storm"):
        FaultSpec.parse("message_storm?copies=1")


def test_a_bad_taxonomy_file_is_named(tmp_path):
    path = tmp_path / "x.yaml"
    for text in ("masfire: [", "masfire: taxonomy/v1\nname: x\n", "- 1"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"x\.yaml"):
            taxonomy.read(path)
