"""`masfire memory` tells what is held, writes no empty export, and makes no file to look into."""

from __future__ import annotations

from msgspec.structs import replace

from masfire.cli import execute
from masfire.knowledge.export import to_yaml
from masfire.knowledge.model import ACCEPTED, Item, Trial
from masfire.knowledge.store import SqliteStore
from tests.support.lessons import note, schema


def filled(path):
    trial = Trial((Item("r1", False, True),), wins=1, accepted=True, way="rewrite")
    tried = replace(note(), status=ACCEPTED, trial=trial)
    with SqliteStore(path) as store:
        store.put(tried, replace(schema("hallucination", ["claim:conflict"]), precision=0.5))
    return str(path)


def test_notes_are_listed_with_their_trials_and_schemata_with_their_ids(tmp_path, capsys):
    assert execute(["memory", "list", "--memory", filled(tmp_path / "m.sqlite")]) == 0
    told = capsys.readouterr().out
    assert "1 wins, 0 losses of 1 as a rewrite" in told
    assert schema("hallucination", ["claim:conflict"]).id in told
    assert "right 50% of the time" in told


def test_looking_into_a_memory_makes_none(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert execute(["memory", "list"]) == 2
    assert execute(["memory", "export", "lessons.yaml"]) == 2
    assert "There is no memory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_export_has_a_known_form_and_is_not_empty(tmp_path, capsys):
    where = filled(tmp_path / "m.sqlite")
    assert execute(["memory", "export", str(tmp_path / "x.json"), "--memory", where]) == 2
    assert "says no format" in capsys.readouterr().err
    with SqliteStore(tmp_path / "empty.sqlite"):
        pass
    words = ["memory", "export", str(tmp_path / "x.md"), "--memory", str(tmp_path / "empty.sqlite")]
    assert execute(words) == 2
    assert "holds nothing to export" in capsys.readouterr().err
    assert not (tmp_path / "x.md").exists()


def test_importing_twice_says_that_nothing_is_new(tmp_path, capsys):
    lessons = tmp_path / "l.yaml"
    lessons.write_text(to_yaml([schema("hallucination", ["claim:conflict"])], [note()]))
    words = ["memory", "import", str(lessons), "--memory", str(tmp_path / "m.sqlite")]
    assert execute(words) == 0
    assert "1 schemata (1 new), 1 notes (1 new)" in capsys.readouterr().out
    assert execute(words) == 0
    assert "1 schemata (0 new), 1 notes (0 new)" in capsys.readouterr().out
    text = lessons.read_text().replace("status: proposed", "status: acepted")
    lessons.write_text(text)
    assert execute(words) == 2
    assert "status is 'acepted'" in capsys.readouterr().err


def test_learn_refuses_what_it_would_ignore(tmp_path, capsys):
    (tmp_path / "traces").mkdir()
    memory = ["--memory", str(tmp_path / "m.sqlite")]
    assert execute(["learn", str(tmp_path), "--as", "rewrite", *memory]) == 2
    assert "give it with --try" in capsys.readouterr().err
    assert execute(["learn", str(tmp_path), "--memory", str(tmp_path / "no" / "m.sqlite")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
