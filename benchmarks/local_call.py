"""A call of the local default model, measured: what the goals that name one are held to."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

from masfire.models.local import local_model

TOKENS = 16


@contextlib.contextmanager
def local_call() -> Iterator[Callable[[], float]]:
    """Serve the local model for the block; yield what asks it once and returns the seconds that took.

    A short question, no two alike, answered in at most 16 tokens: what is compared with a call should not
    look small only because the call was long. The client is the openai SDK's. Raise MissingDependency where
    the model is not installed.
    """
    import openai

    with local_model() as served:
        client = openai.OpenAI(base_url=served.base_url, api_key=served.api_key, max_retries=0)
        numbers = itertools.count()

        def call() -> float:
            asked = f"Order {next(numbers)}: does the letter say what the customer ordered? Answer briefly."
            begun = time.perf_counter()
            client.chat.completions.create(
                model=served.model, max_tokens=TOKENS, temperature=0,
                messages=[{"role": "user", "content": asked}],
            )  # fmt: skip
            return time.perf_counter() - begun

        call()  # the first one loads the weights
        yield call
