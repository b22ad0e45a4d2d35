"""The three ways of recovery run as shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI

import masfire
from examples.recovery import again, lessons, middleware, rewrite
from masfire.adapters import notes_langchain
from masfire.knowledge.distill import RuleDistiller
from masfire.knowledge.memory import Memory
from masfire.knowledge.model import ACCEPTED
from masfire.knowledge.notebook import Notebook
from masfire.knowledge.quoting import OPENING
from masfire.knowledge.store import SqliteStore
from masfire.recovery import NotesInRequests, rewriter
from tests.support.fake_openai import FakeOpenAI, texts_of
from tests.support.lessons import note


def test_a_governor_puts_the_quantity_right(capsys: pytest.CaptureFixture[str]) -> None:
    rewrite.booked.clear()
    notes = [note("claim:new-number", role="stranger", status=ACCEPTED), note(role="", status=ACCEPTED)]
    assert rewrite.main(notes) == "booked 4 to Rome"
    assert rewrite.booked == [(4, "Rome")]
    assert "quantity: 40 -> 4" in capsys.readouterr().out


def test_without_a_note_the_call_is_refused_and_not_guessed_at() -> None:
    rewrite.booked.clear()
    assert "not carried out" in rewrite.main([note(role="")])  # only proposed
    assert rewrite.booked == []


def test_a_langchain_agent_is_told(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.sqlite") as store, FakeOpenAI() as server:
        store.put(note(status=ACCEPTED))
        model: Any = ChatOpenAI(base_url=server.url, api_key="none", model="scripted", max_retries=0)
        middleware.build(model, Notebook(store).accepted()).invoke(
            {"messages": [("user", "4 chairs to Rome")]}
        )
        (body,) = server.bodies
    assert texts_of(body)[0].startswith(f"Read the order.\n\n{OPENING}\n")


def test_a_failed_attempt_is_diagnosed_and_tried_again() -> None:
    task = "Please send 12 crates of apples to Oslo."

    def heedful(path: str, body: dict[str, Any]) -> str:
        noted = any(OPENING in text for text in texts_of(body))
        return '{"crates": 12, "city": "Oslo"}' if noted else '{"crates": 99, "city": "Oslo"}'

    with FakeOpenAI(heedful) as server:

        def reader(text: str) -> str | None:
            client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
            with masfire.agent("reader"):
                messages: Any = [{"role": "user", "content": text}]
                reply = client.chat.completions.create(model="scripted", messages=messages)
            return reply.choices[0].message.content

        result = again.main(reader, task, lambda _, answer: '"crates": 12' in answer)
    assert result.recovered
    ((first,),) = result.notes
    assert first.subject.role == "reader"
    assert "number" in first.mistake


def test_each_example_runs_by_itself_and_says_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert again.show().recovered
    assert '"quantity": 40, "city": "Rome"} failed' in (told := capsys.readouterr().out)
    assert '"quantity": 4, "city": "Rome"} passed' in told
    assert middleware.show() == '{"quantity": 4, "city": "Rome"}'
    assert '"quantity": 40' in (told := capsys.readouterr().out)
    assert OPENING in told
    rewrite.booked.clear()
    rewrite.show()
    assert "quantity: 40 -> 4" in capsys.readouterr().out
    assert rewrite.booked[-1] == (4, "Rome")


def test_a_memory_is_opened_and_used_in_a_few_lines(tmp_path: Path) -> None:
    learnt = lessons.learn(tmp_path / "m.sqlite")
    with masfire.open_memory(tmp_path / "m.sqlite") as memory:
        notes = memory.notes("rewrite")
        assert memory.notes("prompt") == []
        assert memory.notes() == notes == learnt
        with pytest.raises(masfire.MasfireError, match="Known: prompt, rewrite"):
            memory.notes("promt")
    right = rewriter(notes)
    with masfire.run(task={}, interceptors=[NotesInRequests([]), right.always]):
        answer = rewrite.build().invoke({"mail": "Please send 9 chairs to Bern."})["answer"]
    assert answer == "booked 9 to Bern"
    with pytest.warns(UserWarning, match="accepted as rewrites never"):
        notes_langchain.middleware(notes, agent="clerk")


def test_a_memory_recognises_what_it_was_taught(tmp_path: Path) -> None:
    failed = lessons.serve("Please send 4 chairs to Rome.", []).trace
    with SqliteStore(tmp_path / "m.sqlite") as store:
        Memory(store).learn(RuleDistiller().distill(failed, agent="clerk", step=2, fault="hallucination"))
    with masfire.open_memory(tmp_path / "m.sqlite") as memory:
        seen = memory.recognize(lessons.serve("Please send 7 chairs to Oslo.", []).trace)
    assert (seen[0].step, seen[0].category) == (2, "hallucination")


def test_what_is_no_memory_is_told(tmp_path: Path) -> None:
    with pytest.raises(masfire.MasfireError, match="There is no memory"):
        masfire.open_memory(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()
    path: Any = str(tmp_path / "m.sqlite")
    with pytest.raises(masfire.MasfireError, match=r"masfire\.open_memory"):
        Notebook(path)
