"""Recall by threshold and margin, merging, rewriting, forgetting, and planted entries."""

from __future__ import annotations

import msgspec
import pytest

from masfire.knowledge.memory import Memory, Settings
from masfire.knowledge.store import SqliteStore
from masfire.trace.model import Header, Message, Step, Trace
from masfire.trace.payload import pack
from tests.support.lessons import schema

NUMBER = ["claim:new-number", "kind:message", "claim:conflict"]
STORM = ["message:repeated", "kind:message", "message:to-self"]


@pytest.fixture
def store(tmp_path):
    with SqliteStore(tmp_path / "m.sqlite") as store:
        yield store


@pytest.fixture
def memory(store):
    return Memory(store, clock=lambda: 1e9)


def test_nothing_is_recalled_below_the_threshold(memory):
    memory.learn(schema("hallucination", NUMBER, text="amount total"))
    assert memory.recall("wholly different words about weather") == []


def test_the_most_similar_comes_first(memory):
    wanted = memory.learn(schema("hallucination", NUMBER, text="amount total"))
    memory.learn(schema("message_storm", STORM, text="hello again"))
    assert memory.recall("hallucination claim:new-number claim:conflict amount total")[0].schema == wanted


def test_two_faults_within_the_margin_are_ambiguous(memory):
    memory.learn(schema("hallucination", NUMBER, text="amount"))
    memory.learn(schema("parameter_filling_error", NUMBER, text="amount"))
    found = memory.recall(" ".join([*NUMBER, "amount", "reader"]))
    assert len({recall.schema.fault for recall in found}) == 1 or all(recall.ambiguous for recall in found)


def test_near_duplicates_merge_and_keep_the_id(memory, store):
    first = memory.learn(schema("hallucination", NUMBER, text="amount", run="r1"))
    second = memory.learn(schema("hallucination", NUMBER, text="amount", run="r2"))
    assert second.id == first.id
    assert second.support == 2
    assert [source.run for source in second.evidence] == ["r1", "r2"]
    assert list(store.schemata()) == [second]


def test_the_same_evidence_again_adds_no_support(memory):
    memory.learn(schema("hallucination", NUMBER))
    assert memory.learn(schema("hallucination", NUMBER)).support == 1


def test_another_fault_is_never_merged(memory, store):
    memory.learn(schema("hallucination", NUMBER))
    memory.learn(schema("parameter_filling_error", NUMBER))
    assert len(list(store.schemata())) == 2


def test_what_was_learnt_is_recalled_after_reopening(memory, store):
    wanted = memory.learn(schema("hallucination", NUMBER, text="amount total"))
    again = Memory(store)
    assert again.recall(wanted.document)[0].schema == wanted


def test_a_rewrite_must_do_better_on_stored_runs(memory, store):
    old = memory.learn(schema("hallucination", NUMBER))
    new = schema("hallucination", ["claim:new-number"])
    kept = memory.rewrite(old, new, score=lambda tried: 0.5)
    assert kept.signature == old.signature
    assert kept.precision == 0.5
    better = memory.rewrite(old, new, score=lambda tried: 0.9 if tried is new else 0.5)
    assert better.signature == new.signature
    assert list(store.schemata()) == [better]
    assert [line[1] for line in store.journal()] == ["learnt", "rewrite refused", "rewritten"]


def test_forgetting_keeps_what_is_used_and_the_last_of_each_fault(memory, store):
    for n in range(10):
        memory.learn(schema("hallucination", [f"error:{n}", "kind:message"]))
    rare = memory.learn(schema("message_storm", STORM))
    used = memory.used(next(iter(store.schemata())))
    forgotten = memory.forget(3)
    left = list(store.schemata())
    assert len(forgotten) == 8
    assert rare in left
    assert used in left
    assert len(memory) == 3


def test_one_origin_cannot_crowd_out_the_others(memory):
    honest = memory.learn(schema("hallucination", NUMBER, text="amount total price", origin="ours"))
    for n in range(30):
        planted = schema(
            "message_storm",
            ["claim:new-number", "kind:message", f"error:p{n}"],
            text="amount total price",
            origin="planted",
            run=f"p{n}",
        )
        memory.learn(planted)
    found = memory.recall("claim:new-number kind:message amount total price", k=5)
    assert sum(recall.schema.evidence[0].origin == "planted" for recall in found) <= Settings().quota
    assert honest in [recall.schema for recall in found]


def test_repeating_words_does_not_win(memory):
    honest = memory.learn(schema("hallucination", NUMBER, text="amount total price order"))
    memory.learn(schema("message_storm", ["kind:message"], text=" ".join(["amount"] * 300), origin="planted"))
    assert memory.recall("claim:new-number amount total price order")[0].schema == honest


def test_a_use_is_counted(memory, store):
    entry = memory.learn(schema("hallucination", NUMBER))
    memory.used(entry)
    memory.used(entry)
    assert [(kept.hits, kept.last_used) for kept in store.schemata()] == [(2, 1e9)]


def test_values_are_frozen():
    with pytest.raises(AttributeError):
        schema("hallucination", NUMBER).support = 3
    assert msgspec.json.decode(msgspec.json.encode(schema("x", NUMBER)), type=type(schema("x", NUMBER)))


def test_what_one_origin_alone_taught_is_left_out_when_asked(memory):
    def recognised(origin):
        return [one.schema for one in memory.apart_from(origin).recognize(LIED)]

    own = memory.learn(schema("hallucination", NUMBER, role="b", origin="first"))
    assert recognised("second") == [own.id]
    assert recognised("first") == []
    other = memory.learn(schema("hallucination", NUMBER, role="b", origin="second", run="r2"))
    assert other.id == own.id
    assert recognised("first") == recognised("second") == [own.id]


def test_a_failure_is_merged_into_its_own_schema_and_never_into_what_others_share(memory):
    general = schema("hallucination", NUMBER, general=True)
    memory.file(general)
    learnt = memory.learn(schema("hallucination", NUMBER, text="amount", run="r2"))
    assert learnt.id != general.id
    assert memory.learn(schema("hallucination", NUMBER, text="amount", run="r2")) == learnt


LIED = Trace(
    Header(run="x"),
    (
        Step(0, 0.0, "user", Message(("a",), pack({"quantity": 8}))),
        Step(1, 1.0, "a", Message(("b",), pack({"quantity": 9})), parents=(0,)),
    ),
)
