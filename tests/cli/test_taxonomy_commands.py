"""`masfire taxonomy explain` knows what other commands print, and a taxonomy from a kind of error."""

from __future__ import annotations

import json

from masfire.cli import execute
from masfire.cli.taxonomy import UNCLASSIFIED
from masfire.recovery.blaming import OTHER


def test_signs_that_diagnose_and_learn_print_are_explained(capsys):
    assert execute(["taxonomy", "explain", "claim:conflict"]) == 0
    assert "Does it give a field another value than its input does?" in capsys.readouterr().out
    assert execute(["taxonomy", "explain", "then:over", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["question"] == "Does the run end without any later message?"


def test_what_learn_calls_an_error_without_a_sign_is_explained(capsys):
    assert UNCLASSIFIED == OTHER
    assert execute(["taxonomy", "explain", OTHER]) == 0
    assert "no sign gives it away" in capsys.readouterr().out


def test_a_taxonomy_is_no_kind_of_error(capsys):
    assert execute(["taxonomy", "explain", "mast"]) == 2
    assert "masfire taxonomy list mast" in capsys.readouterr().err
    assert execute(["taxonomy", "explain", "mast:FM-1.3"]) == 0
