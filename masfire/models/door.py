"""The door every model call of a run goes through: its sampling settings, then the cache or the stub."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from masfire.errors import UsageError
from masfire.models.cache import ReplyCache

DEFAULT_TEMPERATURE = 0.2
"""What a request is sampled at unless the plan says otherwise: above 0, or all seeds would answer alike."""

CACHE, STUB = "cache", "stub"
"""The two sources of a reply that no model was asked for."""


class ModelDoor(Protocol):
    """What an adapter that sees model requests asks before it lets one out. All methods are thread-safe."""

    def prepare(self, body: dict[str, Any], *, agent: str, count: int) -> bool:
        """Edit the sampling settings of request `body` in place; return whether anything changed.

        Called before the call is recorded. `count` is how many calls `agent` has made before in this
        run, so that a retry is another draw.
        """

    def answer(self, url: str, body: dict[str, Any]) -> tuple[bytes, str] | None:
        """Return a reply and its source ("cache" or "stub") instead of asking the model, or None.

        `body` is the final request without its stream fields; the reply is a whole, non-streamed JSON
        response body. A reply of the form ``{"error": {"code": 400, …}}`` is an error of that HTTP status
        (the stub's context overflow) and must be delivered as one.
        """

    def keep(self, url: str, body: dict[str, Any], reply: bytes) -> None:
        """Remember a live 200 reply (non-streamed JSON form) to this request."""


class Sampling(Struct, frozen=True):
    """The sampling settings that a plan imposes on every request of its runs.

    `temperature` replaces the request's (None: leave it as the system sent it, which some hosted models
    need); `max_tokens` is an upper bound for the request's own limit (None: no bound); `model` replaces
    the model name ("": keep it); `seeded` says whether a seed is sent (some endpoints refuse one).
    """

    temperature: float | None = DEFAULT_TEMPERATURE
    max_tokens: int | None = None
    model: str = ""
    seeded: bool = True

    def __post_init__(self) -> None:
        if self.temperature is not None and not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise UsageError(
                f"temperature={self.temperature} makes all seeds answer alike: controls would say nothing.",
                hint="Use a temperature above 0, for example 0.2.",
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"max_tokens={self.max_tokens} is no limit.", hint="Use a positive number.")


def call_seed(run_seed: int, agent: str, count: int) -> int:
    """Return the 31-bit sampling seed of the `count`-th call of `agent` in the run with `run_seed`.

    It depends on nothing else: not on interleaving, worker or clock.
    """
    digest = hashlib.sha256(f"{run_seed}\0{agent}\0{count}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class Door:
    """The usual ModelDoor of one run: sampling settings, a reply cache shared by runs, maybe a stub.

    With a `stub` (a callable from request body to reply body) no request ever leaves; the cache is then
    not asked. Without a cache and a stub every request goes to its model.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        sampling: Sampling | None = None,
        cache: ReplyCache | None = None,
        stub: Callable[[dict[str, Any]], bytes] | None = None,
    ) -> None:
        self.seed = seed
        self.sampling = sampling or Sampling()
        self.cache = cache
        self._stub = stub

    def prepare(self, body: dict[str, Any], *, agent: str, count: int) -> bool:
        """Set temperature, seed, token limit and model name of `body`; return whether it changed."""
        before = dict(body)
        sampling = self.sampling
        responses = "input" in body and "messages" not in body
        if sampling.model:
            body["model"] = sampling.model
        if sampling.temperature is not None:
            body["temperature"] = sampling.temperature
        if sampling.seeded and not responses:  # the Responses API knows no seed
            body["seed"] = call_seed(self.seed, agent, count)
        if sampling.max_tokens is not None:
            _bound(body, "max_output_tokens" if responses else "max_tokens", sampling.max_tokens)
        return body != before

    def answer(self, url: str, body: dict[str, Any]) -> tuple[bytes, str] | None:
        """Return the stub's reply, else the remembered one, else None."""
        if self._stub is not None:
            return self._stub(body), STUB
        if self.cache is None:
            return None
        reply = self.cache.get(url, body)
        return None if reply is None else (reply, CACHE)

    def keep(self, url: str, body: dict[str, Any], reply: bytes) -> None:
        """Remember a live reply, if there is a cache."""
        if self.cache is not None and self._stub is None:
            self.cache.put(url, body, reply)


def _bound(body: dict[str, Any], field: str, limit: int) -> None:
    """Lower whichever token limit the request carries to `limit`; set one where there is none."""
    present = [name for name in (field, "max_completion_tokens") if isinstance(body.get(name), int)]
    for name in present or [field]:
        body[name] = min(body.get(name) or limit, limit)
