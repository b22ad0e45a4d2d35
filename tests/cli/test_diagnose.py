"""`masfire diagnose` ranks suspects, says when it does not know, and learns scorers."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from masfire.cli import execute
from masfire.trace.io import save_trace
from masfire.trace.model import Trace
from masfire.trace.payload import pack
from tests.support import logs


def passed(**header: object) -> Trace:
    """Return the run as it goes when nobody lies, judged well."""
    good = logs.recorded()
    return replace(
        good, header=replace(good.header, run="good", **header), end=replace(good.end, success=True)
    )


def test_a_clean_twin_names_the_culprit(tmp_path, capsys):
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    save_trace(logs.recorded(lie_at=5), bad)
    save_trace(passed(), good)
    assert execute(["diagnose", str(bad), "--clean", str(good), "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["suspects"][0]["step"] == 5
    assert found["suspects"][0]["agent"] == "clerk"
    assert found["convention"] == "earliest_decisive"
    assert found["warnings"] == []
    assert execute(["diagnose", str(bad), "--clean", str(good)]) == 0
    printed = capsys.readouterr()
    assert "1. step #5  clerk" in printed.out
    assert "model reply: order of Munich" in printed.out
    assert "earliest step whose correction would have saved the run" in printed.out
    assert not printed.err


@pytest.mark.parametrize(
    ("clean", "why"),
    [
        (passed(seed=7), "it has another seed"),
        (passed(system="shop", task=pack({"text": "Another."})), "another system and another task"),
        (replace(logs.recorded(), header=replace(logs.recorded().header, run="other")), "it failed, too"),
        (logs.recorded(lie_at=5), "it is the run itself"),
        (replace(passed(), end=None), "it has no end"),
    ],
)
def test_a_run_that_is_no_twin_is_refused_and_nothing_is_claimed(clean, why, tmp_path, capsys):
    save_trace(logs.recorded(lie_at=5), tmp_path / "bad.jsonl")
    save_trace(clean, tmp_path / "good.jsonl")
    words = ["diagnose", str(tmp_path / "bad.jsonl"), "--clean", str(tmp_path / "good.jsonl")]
    assert execute([*words, "--contracts", "all"]) == 3
    printed = capsys.readouterr()
    assert "is no twin of run" in printed.err
    assert why in printed.err
    assert "I don't know. No clean run that was given is a twin" in printed.out
    assert execute([*words, "--format", "json"]) == 3
    (found,) = json.loads(capsys.readouterr().out)
    assert not found["known"]
    assert why in found["warnings"][0]


def test_a_twin_beside_a_run_that_is_none_is_enough(tmp_path, capsys):
    for name, trace in {"bad": logs.recorded(lie_at=5), "good": passed(), "odd": passed(seed=3)}.items():
        save_trace(trace, tmp_path / f"{name}.jsonl")
    words = [str(tmp_path / "bad.jsonl"), "--clean", str(tmp_path / "odd.jsonl")]
    assert execute(["diagnose", *words, "--clean", str(tmp_path / "good.jsonl")]) == 0
    assert "another seed" in capsys.readouterr().err


def test_a_twin_from_which_a_run_never_differs_is_named(tmp_path, capsys):
    save_trace(logs.recorded(), tmp_path / "bad.jsonl")
    save_trace(passed(), tmp_path / "good.jsonl")
    execute(["diagnose", str(tmp_path / "bad.jsonl"), "--clean", str(tmp_path / "good.jsonl")])
    assert "never differs from" in capsys.readouterr().err


def test_a_file_that_is_no_run_discards_no_other(tmp_path, capsys):
    bad = tmp_path / "bad.jsonl"
    save_trace(logs.recorded(lie_at=5), bad)
    odd = logs.write(tmp_path, "odd.json", {"a": 1})
    save_trace(passed(), tmp_path / "good.jsonl")
    words = ["diagnose", str(odd), str(bad), "--clean", str(tmp_path / "good.jsonl")]
    assert execute(words) == 2
    printed = capsys.readouterr()
    assert "1. step #5  clerk" in printed.out
    assert "odd.json: The shape of this log is not known" in printed.err


def test_of_a_folder_the_runs_that_did_not_pass_are_diagnosed(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    save_trace(logs.recorded(lie_at=5), tmp_path / "runs" / "bad.jsonl")
    save_trace(passed(), tmp_path / "runs" / "good.jsonl")
    assert (
        execute(["diagnose", str(tmp_path / "runs"), "--clean", str(tmp_path / "runs" / "good.jsonl")]) == 0
    )
    printed = capsys.readouterr()
    assert "bad.jsonl: run r," in printed.out
    assert "1. step #5  clerk" in printed.out
    assert "because (counterfactual)" in printed.out  # the folder's own control is the twin
    assert "good.jsonl: run" not in printed.out
    assert "1 runs that passed were left out" in printed.err
    (tmp_path / "none").mkdir()
    assert execute(["diagnose", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"actoins": []}, "unknown key `actoins` (did you mean `actions`?)"),
        ({"actions": [{"name": "book", "kwarg": {}}], "outputs": "x"}, "`outputs` must be a list of texts"),
        ({"actions": [{"name": "book", "kwarg": {}}]}, "`actions[0].kwarg` (did you mean `kwargs`?)"),
        ({"actions": [{"kwargs": {}}]}, "actions[0] must be an object with the text `name`"),
        ({"actions": [{"name": "book", "kwargs": [1]}]}, "the arguments of actions[0] must be an object"),
        ({"actions": [], "outputs": []}, "it expects no call and no output"),
        (["book"], "it is a list, no object"),
    ],
)
def test_mistakes_in_expected_calls_are_told(data, why, tmp_path, capsys):
    save_trace(logs.recorded(lie_at=5), tmp_path / "bad.jsonl")
    expected = logs.write(tmp_path, "expected.json", data)
    assert execute(["diagnose", str(tmp_path / "bad.jsonl"), "--expected", str(expected)]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert "expected.json" in told


def test_a_chat_that_nobody_judged_has_no_culprit(tmp_path, capsys):
    data = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello, I am Kai."}]
    assert execute(["diagnose", str(logs.write(tmp_path, "chat.json", data))]) == 3
    assert "I don't know. Nobody judged the run" in capsys.readouterr().out


def test_a_model_that_is_no_url_is_told(tmp_path, capsys):
    save_trace(logs.recorded(lie_at=5), tmp_path / "bad.jsonl")
    assert execute(["diagnose", str(tmp_path / "bad.jsonl"), "--model", "not-a-url"]) == 2
    assert "'not-a-url' is none" in capsys.readouterr().err
    assert execute(["diagnose", "--model", str(tmp_path / "bad.jsonl")]) == 2
    assert "--model=auto" in capsys.readouterr().err
    assert execute(["diagnose", str(tmp_path / "bad.jsonl"), "--fit", str(tmp_path)]) == 2
    assert "leave the TRACEs out" in capsys.readouterr().err


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
