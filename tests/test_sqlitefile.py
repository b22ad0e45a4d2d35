"""A SQLite file of ours is made once, belongs to us alone, and is left as one file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from masfire import sqlitefile

TABLES = {"one": "(x INTEGER)", "two": "(y TEXT)"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_file_has_its_tables_version_and_log(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.sqlite"
    db = sqlitefile.opened(path, version=3, tables=TABLES)
    db.execute("INSERT INTO one VALUES (1)")
    assert db.execute("PRAGMA user_version").fetchone() == (3,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    other = sqlitefile.opened(path, version=3, tables=TABLES, durable=False)
    assert other.execute("PRAGMA synchronous").fetchone() == (1,)
    assert other.execute("SELECT x FROM one").fetchall() == [(1,)]
    db.close()
    other.close()
    assert names(path.parent) == {"a.sqlite"}


def test_a_table_that_an_older_version_did_not_make_is_added(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    old = sqlitefile.opened(path, version=1, tables={"one": TABLES["one"]})
    old.execute("INSERT INTO one VALUES (1)")
    old.close()
    new = sqlitefile.opened(path, version=1, tables=TABLES)
    assert new.execute("SELECT count(*) FROM one").fetchone() == (1,)
    assert new.execute("SELECT count(*) FROM two").fetchone() == (0,)
    new.close()


def test_a_file_whose_maker_was_killed_in_the_middle_is_made_ready(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as killed:
        killed.execute("CREATE TABLE one (x INTEGER)")
    killed.close()
    db = sqlitefile.opened(path, version=1, tables=TABLES)
    assert db.execute("SELECT count(*) FROM two").fetchone() == (0,)
    db.close()


@pytest.mark.parametrize("change", ["CREATE TABLE mine (x)", "PRAGMA user_version=7"])
def test_a_database_of_something_else_is_refused_unchanged(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as other:
        other.execute(change)
    other.close()
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match=r"something else|has version 7, this masfire reads 1"):
        sqlitefile.opened(path, version=1, tables=TABLES)
    assert path.read_bytes() == before
    assert names(tmp_path) == {"a.sqlite"}


def test_readers_that_may_not_write_leave_nothing_beside_a_file_closed_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    db = sqlitefile.opened(path, version=1, tables=TABLES)
    db.execute("INSERT INTO one VALUES (1)")
    sqlitefile.closed_alone(db)
    assert names(tmp_path) == {"a.sqlite"}
    reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    assert reader.execute("SELECT x FROM one").fetchall() == [(1,)]
    reader.close()
    assert names(tmp_path) == {"a.sqlite"}


def test_closing_alone_while_another_reads_disturbs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    db = sqlitefile.opened(path, version=1, tables=TABLES)
    db.execute("INSERT INTO one VALUES (1)")
    reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM one").fetchone() == (1,)
    db.execute("INSERT INTO one VALUES (2)")
    sqlitefile.closed_alone(db)
    assert reader.execute("SELECT count(*) FROM one").fetchone() == (1,)
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM one").fetchone() == (2,)
    reader.close()
    again = sqlitefile.opened(path, version=1, tables=TABLES)
    assert again.execute("SELECT count(*) FROM one").fetchone() == (2,)
    sqlitefile.closed_alone(again)
    assert names(tmp_path) == {"a.sqlite"}
