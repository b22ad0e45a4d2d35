"""A note is kept only if it helps: the acceptance rule, grouping, and what stays on file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.knowledge.model import ACCEPTED, REJECTED, Item, Source
from masfire.knowledge.notebook import Failure, Notebook, judge, notes_of
from masfire.knowledge.store import SqliteStore


def items(*pairs, always=False):
    return [Item(f"t{n}", before, after, always) for n, (before, after) in enumerate(pairs)]


WIN, LOSS, TIE = (False, True), (True, False), (True, True)


@pytest.mark.parametrize(
    ("batch", "held_out", "accepted"),
    [
        (items(WIN), [], True),
        (items(TIE, TIE), [], False),
        (items(WIN, LOSS), [], False),
        (items(WIN, WIN, LOSS), [], True),
        (items((False, None), (False, None)), [], False),
        (items(WIN, (True, None)), [], False),
        (items((None, True)), [], True),
        (items(WIN, *[TIE] * 7), [], False),
        (items(WIN, WIN, *[TIE] * 7), [], True),
        ([*items(WIN, WIN, WIN), Item("k", True, False, always=True)], [], False),
        (items(WIN, WIN), items(LOSS), False),
        (items(WIN, WIN), items(LOSS, WIN), True),
        (items(WIN, WIN), [Item("h", True, None, always=True)], False),
        ([], items(WIN), False),
    ],
)
def test_the_acceptance_rule(batch, held_out, accepted):
    trial = judge(batch, held_out)
    assert trial.accepted is accepted
    assert bool(trial.reasons) is not accepted


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), st.data())
def test_a_missing_answer_never_helps(pairs, data):
    whole = judge(items(*pairs))
    lost = data.draw(st.integers(0, len(pairs) - 1))
    fewer = judge(items(*(((b, None) if n == lost else (b, a)) for n, (b, a) in enumerate(pairs))))
    assert not (fewer.accepted and not whole.accepted)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_a_bad_note_is_always_rejected(pairs):
    trial = judge(items(*pairs))
    if trial.losses >= trial.wins:
        assert not trial.accepted


def failure(task, fault="hallucination", *, role="reader", traits=("claim:new-number",)):
    return Failure(task, Source(f"run-{task}", 3, role, "c"), fault, role, traits=traits, said=f"said {task}")


def test_one_note_a_subject_with_its_evidence():
    notes = notes_of(
        [failure("a"), failure("b"), failure("c", fault="message_storm"), failure("d", role="w")]
    )
    assert [note.support for note in notes] == [2, 1, 1]
    assert "number" in notes[0].mistake
    assert [source.run for source in notes[0].evidence] == ["run-a", "run-b"]
    assert notes == notes_of(
        [failure("a"), failure("b"), failure("c", fault="message_storm"), failure("d", role="w")]
    )


@pytest.fixture
def notebook(tmp_path):
    with SqliteStore(tmp_path / "m.sqlite") as store:
        yield Notebook(store)


def test_an_accepted_note_replaces_its_elder_and_adds_its_evidence(notebook):
    (first,) = notebook.propose([failure("a")])
    notebook.settle(first, judge(items(WIN)))
    (second,) = notebook.propose([failure("b", traits=("claim:conflict",))])
    notebook.settle(second, judge(items(WIN)))
    (kept,) = notebook.accepted()
    assert kept.support == 2
    assert {source.run for source in kept.evidence} == {"run-a", "run-b"}


def test_a_rejected_note_stays_on_file_and_is_not_proposed_again(notebook):
    (note,) = notebook.propose([failure("a")])
    notebook.settle(note, judge(items(LOSS)))
    assert notebook.accepted() == []
    (kept,) = notebook.store.notes(status=REJECTED)
    assert kept.trial.losses == 1
    assert notebook.propose([failure("a")]) == []


def test_a_rejected_trial_leaves_the_accepted_elder(notebook):
    (first,) = notebook.propose([failure("a")])
    notebook.settle(first, judge(items(WIN)))
    (second,) = notebook.propose([failure("b", traits=("claim:conflict",))])
    notebook.settle(second, judge(items(TIE)))
    assert [note.id for note in notebook.accepted()] == [first.id]
    assert {note.status for note in notebook.store.notes()} == {ACCEPTED, REJECTED}


def test_notes_are_handed_out_by_role_and_fault(notebook):
    for note in notebook.propose([failure("a"), failure("b", role="writer"), failure("c", fault="x")]):
        notebook.settle(note, judge(items(WIN)))
    assert {note.subject.role for note in notebook.accepted(role="writer")} == {"writer"}
    assert {note.subject.fault for note in notebook.accepted(fault="x")} == {"x"}


def test_a_failure_is_counted_once(notebook):
    for runs, support in ((["r1", "r2"], 2), (["r1", "r2"], 2), (["r2", "r3"], 3)):
        (note,) = notebook.propose([failure(run) for run in runs])
        notebook.file([note])
        assert (note.support, len(note.evidence)) == (support, support)
    assert len(list(notebook.store.notes())) == 1


def test_an_accepted_note_stays_so_when_it_is_proposed_again(notebook):
    (note,) = notebook.propose([failure("r1")], way="rewrite")
    kept = notebook.settle(note, judge(items(WIN), way="rewrite"))
    (again,) = notebook.propose([failure("r1"), failure("r2")])
    notebook.file([again])
    assert [(one.status, one.trial, one.support) for one in notebook.store.notes()] == [
        (ACCEPTED, kept.trial, 2)
    ]
    assert notebook.settle(again, judge(items(LOSS), way="prompt")).status == ACCEPTED
    assert notebook.settle(again, judge(items(LOSS), way="rewrite")).status == REJECTED


def test_a_proposal_replaces_the_older_one_of_its_subject(notebook):
    notebook.file(notebook.propose([failure("r1")]))
    (other,) = notebook.propose([failure("r2", traits=("claim:conflict",))])
    notebook.file([other])
    assert [one.id for one in notebook.store.notes()] == [other.id]
    assert other.support == 2
    assert any(what == "superseded" for _, what, _, _ in notebook.store.journal())
