"""Where model requests go: an address, a key, a model name, and how large its window is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from msgspec import Struct

LOCAL_MODEL = "smollm2-135m-instruct"
"""The name under which requests ask for the local default model."""


class Endpoint(Struct, frozen=True):
    """One OpenAI-compatible endpoint.

    `base_url` ends in the API's version ("http://127.0.0.1:8080/v1"); `slot` is the model's usable
    context window in tokens (0: unknown); `local` says whether masfire started it.
    """

    base_url: str
    api_key: str
    model: str
    slot: int = 0
    local: bool = False

    def environment(self) -> dict[str, str]:
        """Return the variables that lead an OpenAI client, and a child process, to this endpoint."""
        variables = {
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_API_BASE": self.base_url,  # langchain-openai reads this name first
            "OPENAI_API_KEY": self.api_key,
            "OPENAI_MODEL": self.model,
        }
        if self.slot:
            variables["MASFIRE_MODEL_SLOT"] = str(self.slot)
        return variables

    @contextlib.contextmanager
    def exported(self) -> Iterator[None]:
        """Set `environment()` in this process for the block; put back what was there before."""
        variables = self.environment()
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def configured(
    base_url: str | None = None,
    api_key: str | None = None,
    model: str | None = None,
    *,
    slot: int = 0,
    environ: Mapping[str, str] = os.environ,
) -> Endpoint | None:
    """Return the endpoint the user configured, or None when the local default is to be started.

    Explicit arguments win over OPENAI_BASE_URL (or OPENAI_API_BASE), OPENAI_API_KEY, OPENAI_MODEL.
    A key alone configures nothing: without an address no request leaves this machine.
    """
    address = base_url or environ.get("OPENAI_BASE_URL") or environ.get("OPENAI_API_BASE") or ""
    if not address:
        return None
    known = slot or int(environ.get("MASFIRE_MODEL_SLOT") or 0)
    return Endpoint(
        address.rstrip("/"),
        api_key or environ.get("OPENAI_API_KEY") or "none",
        model or environ.get("OPENAI_MODEL") or LOCAL_MODEL,
        known,
    )
