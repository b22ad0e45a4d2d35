"""One question to an OpenAI-compatible endpoint, outside any recorded run."""

from __future__ import annotations

from collections.abc import Callable

from masfire.errors import MasfireError, MissingDependency
from masfire.models.endpoint import Endpoint
from masfire.recorder.acting import ASIDE

SECONDS = 120.0
MAX_TOKENS = 200


class NoAnswer(MasfireError):
    """An endpoint could not be reached, refused, or answered with something that is no chat completion."""


def asker(endpoint: Endpoint) -> Callable[[str], str]:
    """Return a function that sends a prompt and returns the answer's text; it raises NoAnswer."""
    try:
        import httpx
    except ImportError:
        raise MissingDependency("Asking a model needs httpx.", hint="pip install httpx") from None

    def ask(prompt: str) -> str:
        body = {
            "model": endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
        }
        token = ASIDE.set(True)  # our question is no part of a run that may be recorded around us
        try:
            with httpx.Client(timeout=SECONDS) as client:
                reply = client.post(
                    f"{endpoint.base_url}/chat/completions",
                    json=body,
                    headers={"Authorization": f"Bearer {endpoint.api_key}"},
                )
                reply.raise_for_status()
                return str(reply.json()["choices"][0]["message"]["content"] or "")
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            what = f"{type(error).__name__}: {error}"[:300]
            raise NoAnswer(
                f"The model did not answer: {what}.",
                hint="Check OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL.",
                where=endpoint.base_url,
            ) from None
        finally:
            ASIDE.reset(token)

    return ask
