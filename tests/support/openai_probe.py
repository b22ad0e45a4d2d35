"""Run as a program: does every call style of the openai version on the path survive every treatment?"""

from __future__ import annotations

import json
import sys

import openai

from masfire.errors import BudgetExceeded
from masfire.recorder import Budget, agent
from masfire.session import run
from tests.support.fake_openai import FakeOpenAI
from tests.support.openai_styles import STYLES, ask, rewrite_prompt, rewrite_reply


def treat(style: object, treatment: str, server: FakeOpenAI) -> str:
    """Return what the caller got, or the name of the error that was raised."""
    server.handler = FakeOpenAI().handler
    options: dict[str, object] = {}
    if treatment == "prompt":
        options["interceptors"] = [rewrite_prompt]
    elif treatment == "reply":
        options["interceptors"] = [rewrite_reply]
    elif treatment == "budget":
        options["budget"] = Budget(steps=1)
    elif treatment == "error":
        server.handler = lambda path, body: {"status": 429}
    try:
        with run(**options) as r, agent("solo"):  # type: ignore[arg-type]
            text = ask(style, server.url)
    except (openai.APIError, BudgetExceeded) as error:
        return type(error).__name__
    replies = [step.value["content"] for step in r.trace if step.kind == "model_reply"]
    return text if replies == [text] else f"{text} but recorded {replies}"


def main() -> None:
    """Print {"version", "library", "results": {style: {treatment: text or error}}} as JSON."""
    results: dict[str, dict[str, str]] = {}
    with FakeOpenAI() as server:
        for style in STYLES:
            if "responses" in style.__name__ and not hasattr(openai.OpenAI, "responses"):
                continue
            results[style.__name__] = {
                treatment: treat(style, treatment, server)
                for treatment in ("record", "prompt", "reply", "error", "budget")
            }
    library = "httpx2" if "httpx2" in sys.modules else "httpx"
    print(json.dumps({"version": openai.__version__, "library": library, "results": results}))


if __name__ == "__main__":
    main()
