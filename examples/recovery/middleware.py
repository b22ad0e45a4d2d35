"""Notes in a LangChain agent's prompt, as quoted data: one import, one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from examples.recovery import scripted
from masfire.adapters.notes_langchain import middleware
from masfire.knowledge.model import ACCEPTED, MistakeNote, Subject


def build(model: Any, notes: Sequence[MistakeNote]) -> Any:
    """Return an agent that is told of its role's accepted notes (`memory.notes("prompt")`) at every call."""
    return create_agent(
        model, [], system_prompt="Read the order.", middleware=[middleware(notes, agent="reader")]
    )


def show() -> str:
    """Ask a model that misreads numbers without and with a note; print what it was told and answered."""
    mail = {"messages": [("user", "Please send 4 chairs to Rome.")]}
    with scripted.endpoint() as url:
        model = ChatOpenAI(base_url=url, api_key="none", model="careless")
        print("without notes:", build(model, []).invoke(mail)["messages"][-1].content)
        answer = str(build(model, [NOTE]).invoke(mail)["messages"][-1].content)
        print("with a note:  ", answer)
        print("its prompt then:", *scripted.Careless.seen, sep="\n  ")
    return answer


NOTE = MistakeNote(
    id="digits",
    subject=Subject("claim:new-number", "reader"),
    mistake="A number was stated that nothing in the input states.",
    approach="State only numbers that the input states.",
    strategy="Compare each number with the order.",
    anti_patterns="Does not apply to sums.",
    status=ACCEPTED,
)
"""As a memory holds it once a trial has accepted it."""

if __name__ == "__main__":
    show()
