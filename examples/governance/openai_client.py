"""An OpenAI client under governance: one import, three lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masfire.adapters.govern_openai import govern
from masfire.governance import Governor, load_policy

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "place_order",
            "description": "Book so many pieces.",
            "parameters": {"type": "object", "properties": {"quantity": {"type": "integer"}}},
        },
    }
]


governor = Governor(load_policy(Path(__file__).with_name("policy.yaml")))


def build(client: Any) -> Any:
    """Return the client, governed: calls beyond the policy raise Blocked before anything is sent."""
    return govern(client, governor, agent="clerk")


def main() -> None:
    """Ask a model for an order (OPENAI_BASE_URL, OPENAI_MODEL, OPENAI_API_KEY)."""
    import os

    import openai

    client = build(openai.OpenAI())
    with governor.run():  # one for each request or conversation: the policy's budgets hold for a run
        reply = client.chat.completions.create(
            model=os.environ["OPENAI_MODEL"],
            messages=[{"role": "user", "content": "Order twelve pieces."}],
            tools=TOOLS,
            max_tokens=100,
        )
    for call in reply.choices[0].message.tool_calls or []:
        print(call.function.name, call.function.arguments)


if __name__ == "__main__":
    main()
