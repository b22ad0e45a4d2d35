"""A LangChain agent under governance: one import, three lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool

from masfire.adapters.govern_langchain import middleware
from masfire.governance import Governor, load_policy

booked: list[int] = []


@tool
def place_order(quantity: int) -> str:
    """Book so many pieces."""
    booked.append(quantity)
    return f"booked {quantity}"


def build(model: Any) -> Any:
    """Return an agent that may place orders within the policy; a refused call is answered by an error."""
    governor = Governor(load_policy(Path(__file__).with_name("policy.yaml")))
    return create_agent(model, [place_order], middleware=[middleware(governor, agent="clerk")])


def main() -> None:
    """Let a local or remote model order (OPENAI_BASE_URL, OPENAI_MODEL, OPENAI_API_KEY)."""
    import os

    from langchain_openai import ChatOpenAI

    agent = build(ChatOpenAI(model=os.environ["OPENAI_MODEL"], base_url=os.environ.get("OPENAI_BASE_URL")))
    print(agent.invoke({"messages": [("user", "Order twelve pieces.")]})["messages"][-1].content)


if __name__ == "__main__":
    main()
