"""`masfire diagnose` ranks suspects, says when it does not know, and learns scorers."""

from __future__ import annotations

import json

from msgspec.structs import replace

from masfire.cli import execute
from masfire.trace.io import save_trace
from tests.support import logs


def test_a_clean_twin_names_the_culprit(tmp_path, capsys):
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    save_trace(logs.recorded(lie_at=5), bad)
    save_trace(logs.recorded(), good)
    assert execute(["diagnose", str(bad), "--clean", str(good), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["suspects"][0]["step"] == 5
    assert found["suspects"][0]["agent"] == "clerk"
    assert found["convention"] == "earliest_decisive"
    assert execute(["diagnose", str(bad), "--clean", str(good)]) == 0
    printed = capsys.readouterr()
    assert "1. step #5  clerk" in printed.out
    assert not printed.err


def test_a_clean_run_that_is_no_twin_is_named(tmp_path, capsys):
    bad, good = logs.recorded(lie_at=5), logs.recorded()
    save_trace(bad, tmp_path / "bad.jsonl")
    save_trace(replace(good, header=replace(good.header, seed=7)), tmp_path / "good.jsonl")
    execute(["diagnose", str(tmp_path / "bad.jsonl"), "--clean", str(tmp_path / "good.jsonl")])
    assert "is no twin of run" in (told := capsys.readouterr().err)
    assert "another seed" in told


def test_nothing_to_diagnose_is_inconclusive(tmp_path, capsys):
    (tmp_path / "blank.jsonl").write_text("\n")
    assert execute(["diagnose", str(tmp_path / "blank.jsonl")]) == 3
    assert "nothing was diagnosed" in capsys.readouterr().err
    (tmp_path / "empty.jsonl").touch()
    assert execute(["diagnose", str(tmp_path / "empty.jsonl")]) == 3
    assert "the file is empty" in capsys.readouterr().err


def test_without_evidence_it_does_not_know(tmp_path, capsys):
    data = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    assert execute(["diagnose", str(logs.write(tmp_path, "chat.json", data))]) == 3
    assert "I don't know" in capsys.readouterr().out


def test_it_learns_from_a_folder_and_uses_what_it_learned(tmp_path, capsys):
    for index in range(12):
        logs.write(tmp_path / "runs", f"{index}.json", logs.whowhen(culprit=index % 4, question=f"q{index}"))
    model = tmp_path / "model.json"
    assert execute(["diagnose", "--fit", str(tmp_path / "runs"), "--out", str(model)]) == 0
    assert "Learned from 12 of 12 runs" in capsys.readouterr().out
    fresh = logs.write(tmp_path, "new.json", logs.whowhen(culprit=3, question="new"))
    assert execute(["diagnose", str(fresh), "--scorer", str(model), "--format", "json"]) in (0, 3)
    (found,) = json.loads(capsys.readouterr().out)
    assert found["suspects"][0]["step"] == 3


def test_hostile_text_is_printed_as_escapes(tmp_path, capsys):
    data = logs.whowhen()
    data["history"][0]["name"] = "evil\x1b[31mname"
    execute(["diagnose", str(logs.write(tmp_path, "x.json", data))])
    assert "\x1b" not in capsys.readouterr().out


def test_usage_errors(tmp_path, capsys):
    assert execute(["diagnose"]) == 2
    path = logs.write(tmp_path, "odd.json", {"a": 1})
    assert execute(["diagnose", str(path)]) == 2
    assert "shape of this log is not known" in capsys.readouterr().err
    assert execute(["diagnose", str(path), "--weak"]) == 2
