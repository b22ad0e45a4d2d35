"""The model that a campaign's systems reach: the local one, an endpoint, or nobody behind the stub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import Struct

from masfire.campaign.plan import Model
from masfire.errors import UsageError

STUB_NAME = "stub"
_NOBODY = "http://127.0.0.1:9/v1"
"""Where requests would go that the stub answers: a port on which nothing listens."""


class Served(Struct, frozen=True):
    """A model within reach: its name and window, and whether we started it.

    Each of `environments` holds the variables that lead to one server of it.
    """

    environments: tuple[dict[str, str], ...] = ({},)
    name: str = ""
    slot: int = 0
    local: bool = False


def key_of(model: Model) -> str:
    """Return the key of the plan's endpoint; one on this machine needs none. Empty: it is missing."""
    key = os.environ.get(model.key_from, "")
    here = urlsplit(model.endpoint).hostname in ("127.0.0.1", "localhost", "::1")
    return key or ("none" if here else "")


def absent(model: Model, name: str = "") -> Served:
    """Return what a replay's systems reach: nobody, under the name that the model had (`name`)."""
    from masfire.models.endpoint import LOCAL_MODEL, Endpoint

    shown = model.name or LOCAL_MODEL if name in ("", STUB_NAME) else name
    return Served((Endpoint(_NOBODY, "none", shown).environment(),), name, model.slot)


@contextlib.contextmanager
def served(model: Model, *, stub: bool | None = None) -> Iterator[Served]:
    """Yield the model as a plan asks for it; a local one is stopped at the end.

    `stub` says whether only the stub will answer (None: what the plan says).

    Raise MissingDependency with the commands that install what the local model lacks, and UsageError
    when an endpoint's key is not in the environment.
    """
    from masfire.models.endpoint import LOCAL_MODEL, Endpoint

    alone = model.stub == "only" if stub is None else stub
    if alone or model.endpoint == "none":
        if not alone and model.stub == "off":
            yield Served()
            return
        nobody = Endpoint(_NOBODY, "none", model.name or LOCAL_MODEL)
        yield Served((nobody.environment(),), STUB_NAME, model.slot)
        return
    if model.endpoint != "local":
        key = key_of(model)
        if not key:
            raise UsageError(
                f"The key of {model.endpoint} is not set.",
                hint=f"Put it into the variable {model.key_from}, or name another one by model.key_from.",
            )
        name = model.name or os.environ.get("OPENAI_MODEL", "")
        remote = Endpoint(model.endpoint.rstrip("/"), key, name, model.slot)
        yield Served((remote.environment(),), name, model.slot)
        return
    from masfire.models.local import LocalSettings, local_model

    settings = LocalSettings(slots=model.slots, slot=model.slot, threads=model.threads)
    with contextlib.ExitStack() as servers:
        here = [servers.enter_context(local_model(settings)) for _ in range(model.servers)]
        yield Served(tuple(one.environment() for one in here), here[0].model, here[0].slot, local=True)
