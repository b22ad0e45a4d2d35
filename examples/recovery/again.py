"""Fail, diagnose, note, try again: a wrapper around any system that a check can judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai

import masfire
from examples.recovery import scripted
from masfire.recovery import Recovered, blame, retry
from masfire.session import attempt


def main(system: Callable[[Any], Any], task: Any, check: Callable[[Any, Any], bool]) -> Recovered:
    """Return what came of at most two attempts; the second one knows what went wrong in the first."""
    return retry(lambda notes: attempt(system, task, check=check, interceptors=notes), blame)


def show() -> Recovered:
    """Serve an order with a model that misreads it, and print both attempts."""
    with scripted.endpoint() as url, openai.OpenAI(base_url=url, api_key="none") as client:

        @masfire.agent("reader")
        def read(mail: str) -> str:
            messages: Any = [{"role": "user", "content": mail}]
            reply = client.chat.completions.create(model="careless", messages=messages)
            return str(reply.choices[0].message.content)

        mail = "Please send 4 chairs to Rome."
        result = main(read, mail, lambda task, answer: json.loads(answer)["quantity"] == 4)
    for number, tried in enumerate(result.attempts, 1):
        print(f"attempt {number}: {tried.answer} {'passed' if tried.passed else 'failed'}")
        for note in result.notes[number - 1] if number <= len(result.notes) else ():
            print(f"  noted of {note.subject.role}: {note.mistake}\n  told it: {note.approach}")
    print("recovered" if result.recovered else "not recovered")
    return result


if __name__ == "__main__":
    show()
