"""Notes in a LangChain agent's prompt, as quoted data: one import, one line."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent

from masfire.adapters.notes_langchain import middleware
from masfire.knowledge.notebook import Notebook


def build(model: Any, notebook: Notebook) -> Any:
    """Return an agent that is told of its role's accepted notes at every model call."""
    notes = middleware(notebook.accepted(role="reader"), agent="reader")
    return create_agent(model, [], system_prompt="Read the order.", middleware=[notes])
