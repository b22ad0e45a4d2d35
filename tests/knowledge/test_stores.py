"""One conformance suite over every store: a real SQLite file and a real PostgreSQL with pgvector."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import msgspec
import pytest

from masfire.errors import UsageError
from masfire.knowledge.embedding import HashEmbedder
from masfire.knowledge.memory import Memory
from masfire.knowledge.model import ACCEPTED, REJECTED
from masfire.knowledge.postgres import PostgresStore
from masfire.knowledge.store import SqliteStore
from tests.support.lessons import note, schema


@pytest.fixture(params=["sqlite", "postgres"])
def address(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "memory.sqlite")
    return request.getfixturevalue("database")


def connect(address):
    return PostgresStore(address) if address.startswith("postgres") else SqliteStore(address)


@pytest.fixture
def store(address):
    with connect(address) as store:
        yield store


def test_what_was_put_is_there_for_the_next_one(address):
    entries = [
        schema("hallucination", ["claim:new-number"], text="crates ünïcode \u2028 \x00"),
        note(examples=("a", "b")),
    ]
    with connect(address) as first:
        first.put(*entries)
    with connect(address) as second:
        assert [*second.schemata(), *second.notes()] == entries


def test_put_replaces_the_entry_of_the_same_id(store):
    old = schema("hallucination", ["claim:new-number"])
    new = msgspec.structs.replace(old, support=7)
    store.put(old)
    store.put(new)
    assert list(store.schemata()) == [new]


def test_entries_come_in_order_of_their_ids_and_leave_by_id(store):
    entries = [schema("memory_loss", [f"error:{n}"]) for n in range(9)]
    store.put(*entries)
    store.remove(entries[4], note())
    left = sorted((*entries[:4], *entries[5:]), key=lambda entry: entry.id)
    assert list(store.schemata()) == left


def test_notes_by_status(store):
    kept = note(about="ship", status=ACCEPTED)
    store.put(kept, note(about="pay", status=REJECTED))
    assert list(store.notes(status=ACCEPTED)) == [kept]
    assert len(list(store.notes())) == 2


def test_all_or_none(store):
    class Odd:
        id = "x"

    with pytest.raises(AttributeError):
        store.put(schema("memory_loss", ["message:empty"]), Odd())
    assert list(store.schemata()) == []


def test_the_journal_keeps_every_decision_in_order(store):
    for n in range(5):
        store.log("learnt", entry=f"e{n}", why="because")
    lines = list(store.journal())
    assert [line[2] for line in lines] == [f"e{n}" for n in range(5)]
    assert lines == sorted(lines, key=lambda line: line[0])


def test_threads_share_a_store(store):
    def work(n):
        for m in range(10):
            store.put(schema("memory_loss", [f"error:{n}-{m}"]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.schemata())) == 60


def _add(address, n, gate):
    gate.wait(30)
    with connect(address) as store:
        for m in range(10):
            store.put(schema("memory_loss", [f"error:{n}-{m}"]))


def test_processes_that_start_at_once_share_a_store(address):
    context = multiprocessing.get_context("spawn")
    gate = context.Event()
    workers = [context.Process(target=_add, args=(address, n, gate)) for n in range(3)]
    for worker in workers:
        worker.start()
    gate.set()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 3
    with connect(address) as store:
        assert len(list(store.schemata())) == 30


KILLED = """
import sys
from tests.knowledge.test_stores import connect
from tests.support.lessons import schema
store = connect(sys.argv[1])
for n in range(10_000):
    store.put(schema("memory_loss", [f"error:{n}"]))
    print(n, flush=True)
"""


def test_what_put_returned_from_survives_a_kill(address):
    writer = subprocess.Popen([sys.executable, "-c", KILLED, address], stdout=subprocess.PIPE, text=True)
    last = -1
    for line in writer.stdout:
        last = int(line)
        if last == 25:
            os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with connect(address) as store:
        kept = {entry.signature.traits[0] for entry in store.schemata()}
    assert {f"error:{n}" for n in range(last + 1)} <= kept


def test_a_memory_finds_the_same_first_schema_in_every_store(store):
    memory = Memory(store)
    wanted = schema("hallucination", ["claim:new-number", "kind:message"], text="stated amount")
    for entry in (wanted, schema("message_storm", ["message:repeated", "kind:message"], text="again hello")):
        memory.learn(entry)
    found = memory.recall(wanted.document)
    assert found[0].schema.id == wanted.id
    assert found[0].similarity > 0.8


def test_a_file_of_something_else_is_refused_unchanged(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(UsageError, match="database of something else"):
        SqliteStore(path)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_a_later_version_is_refused(tmp_path):
    path = tmp_path / "memory.sqlite"
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(UsageError, match="version 99"):
        SqliteStore(path)


def test_a_damaged_entry_is_named(tmp_path):
    path = tmp_path / "memory.sqlite"
    with SqliteStore(path) as store:
        store.put(note())
        with sqlite3.connect(path) as db:
            db.execute("UPDATE entry SET body = ?", (b'{"id": 3}',))
        with pytest.raises(UsageError, match="cannot be read"):
            list(store.notes())


def test_another_embedder_is_refused_by_the_database(database):
    PostgresStore(database).close()
    with pytest.raises(UsageError, match="hash-384"):
        PostgresStore(database, embedder=HashEmbedder(64))


def test_an_unreachable_server_is_a_clear_error():
    with pytest.raises(UsageError, match="PostgreSQL memory cannot be used"):
        PostgresStore("postgresql://127.0.0.1:1/none?connect_timeout=2")


def test_an_opened_memory_embeds_only_what_is_new(tmp_path):
    class Counting(HashEmbedder):
        def embed(self, texts):
            embedded.extend(texts)
            return super().embed(texts)

    def entries(*numbers):
        return [schema(f"fault{n}", ["claim:conflict", f"kind:k{n}"], text=f"word{n}") for n in numbers]

    embedded = []
    with SqliteStore(tmp_path / "m.sqlite") as store:
        store.put(*entries(*range(100)))
        first = Memory(store, embedder=Counting()).recall("fault7 word7 kind:k7")
        assert len(embedded) == 101
        store.put(*entries(100))
        store.remove(*entries(3))
        embedded.clear()
        again = Memory(store, embedder=Counting())
        assert [len(text.split()) > 2 for text in embedded] == [True]
        assert again.recall("fault7 word7 kind:k7") == first
        assert not any(one.schema.fault == "fault3" for one in again.recall("fault3 word3 kind:k3"))
        embedded.clear()
        Memory(store, embedder=Counting(64))
        assert len(embedded) == 100
