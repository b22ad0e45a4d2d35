"""A campaign's plan: which systems are broken how, on which tasks, with which model."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from masfire.errors import UsageError

PLAN_VERSION = "plan/v1"
ALL = "all"
ONCE, EVERY = "once", "every"
MOST = 2**53 - 1
"""Largest count or seed: every JSON reader and every database keeps it as it is."""
LONGEST = 1_000_000
"""Most seconds that a run can be given (11 days)."""


class Misplanned(UsageError):
    """A plan that is valid in itself, but not for what it names.

    `location` is the place in the plan; `others` are further mistakes of the same kind.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        location: tuple[str | int, ...],
        others: Sequence[Misplanned] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.location, self.others = location, tuple(others)


_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class _Part(BaseModel):
    """A part of a plan: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _reference(text: str) -> str:
    if not _REFERENCE.fullmatch(text):
        raise ValueError(f"{text!r} names no object; write 'package.module:name'")
    return text


def unique(values: list[Any]) -> list[Any]:
    """Return the values as they are; raise ValueError naming those that are given twice."""
    twice = sorted(str(value) for value, n in Counter(values).items() if n > 1)
    if twice:
        raise ValueError(f"named twice: {', '.join(twice)}")
    return values


def _address(text: str) -> str:
    if text in ("local", "none"):
        return text
    parts = urlsplit(text)
    if not parts.hostname:
        raise ValueError("this is no address; write 'https://host/v1'")
    if parts.username or parts.password:  # the plan goes into reports, a password must not
        raise ValueError("an endpoint must hold no user and no password; key_from names the key's variable")
    return text


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _times(value: Any) -> Any:
    """Return a count as text (`3` and `"3"` are the same wish)."""
    return [str(item) if type(item) is int else item for item in _listed(value)]


Reference = Annotated[str, AfterValidator(_reference)]
"""An importable object as ``package.module:name``."""


class System(_Part):
    """A system under test, as importable objects.

    `system()` is called once a run and builds it; `run(system, task)` returns (or awaits) the answer;
    `check(task, answer)` returns a bool or a score in 0..1, which counts as solved from `passes` on.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
    system: Reference
    run: Reference
    check: Reference
    passes: Annotated[float, Field(gt=0, le=1)] = 1.0


class Tasks(_Part):
    """Where tasks come from: a JSON Lines file, or ``package.module:iterable``.

    Each task is an object with an `id`. Of those whose fields equal every field of `filter`, the first
    `limit` are used.
    """

    source: Annotated[str, Field(min_length=1)]
    filter: dict[str, str | int | bool] = {}
    limit: Annotated[int, Field(ge=1, le=MOST)] | None = None


class Model(_Part):
    """The model that systems reach through OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL.

    `endpoint` is `local` (masfire starts its own small model), `none` (the systems call no model) or
    the base URL of an OpenAI-compatible server, whose key is read from the variable `key_from`.
    `temperature` replaces the systems' own (null: keep it), `max_tokens` bounds it; `cache` keeps replies
    by full request and shares them across the campaign (`cache_file`: across campaigns). `stub` replaces
    the model by a perfect copier: `only`, or `beside` to run every system with both. `slots` parallel
    requests of `slot` tokens each, on `threads` cores, are what the local model is served with; for an
    endpoint, `slot` says how large its window is.
    """

    endpoint: Annotated[str, Field(pattern=r"^(local|none|https?://\S+)$"), AfterValidator(_address)] = (
        "local"
    )
    name: str = ""
    key_from: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    temperature: Annotated[float, Field(gt=0, le=2)] | None = 0.2
    max_tokens: Annotated[int, Field(ge=1, le=MOST)] | None = None
    cache: bool = True
    cache_file: str = ""
    stub: Literal["off", "only", "beside"] = "off"
    slots: Annotated[int, Field(ge=1, le=64)] = 8
    slot: Annotated[int, Field(ge=256, le=MOST)] = 2048
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    servers: Annotated[int, Field(ge=1, le=64)] = 1


class Limits(_Part):
    """What one run may use up: recorded steps, model calls, seconds of wall time (0: unlimited)."""

    steps: Annotated[int, Field(ge=0, le=MOST)] = 5_000
    calls: Annotated[int, Field(ge=0, le=MOST)] = 200
    seconds: Annotated[float, Field(ge=0, le=LONGEST)] = 120.0


class Executor(_Part):
    """How runs are executed: `workers` processes at a time (0: one a core).

    A run that overstays its budget of seconds by `grace` more is killed with its worker. `fresh` starts
    a new process for every run, for systems that leave something behind.
    """

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    grace: Annotated[float, Field(gt=0, le=LONGEST)] = 10.0
    fresh: bool = False


class Record(_Part):
    """What traces hold: the privacy level, and further secret patterns (RE2 syntax) to redact.

    With `draws` also what the systems' own code draws from chance and reads off the clock, for replays.
    """

    privacy: Literal["full", "redacted", "content-off"] = "redacted"
    redact: list[str] = []
    draws: bool = False


class Plan(_Part):
    """A whole campaign.

    `faults` are addresses, or `all`. An address without an agent is expanded to the agents that the
    fault applies to, as the task's fault-free control showed them: `rotate` strikes another one each
    run, `each` runs them all. Addresses that do not say how often are run at each of `times`: `once`,
    `every` or a number. Every task is first run fault-free under at least `controls` seeds (all of
    `seeds`, then further ones); only tasks that most of these runs solve are injected. A cell with
    fewer than `witnessed` witnessed runs gets further runs under the remaining control seeds.
    `contracts` (files, folders or packs; `all`: every pack) judge every run, and decide nothing else.
    `root` is the directory that modules and files are looked up from: by default the plan's own.
    """

    masfire: Literal["plan/v1"]
    systems: Annotated[list[System], Field(min_length=1)]
    tasks: Annotated[
        Tasks,
        BeforeValidator(
            lambda value: {"source": value} if isinstance(value, str) else value,
            json_schema_input_type=str | Tasks,
        ),
    ]
    faults: Annotated[
        list[str],
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
        Field(min_length=1),
        AfterValidator(unique),
    ] = [ALL]
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, le=MOST)]], Field(min_length=1), AfterValidator(unique)
    ] = [0]
    controls: Annotated[int, Field(ge=1, le=10_000)] = 3
    points: Literal["rotate", "each"] = "rotate"
    times: Annotated[
        list[Annotated[str, Field(pattern=r"^(once|every|[1-9][0-9]{0,5})$")]],
        BeforeValidator(_times, json_schema_input_type=str | int | list[str | int]),
        Field(min_length=1),
        AfterValidator(unique),
    ] = [ONCE]
    witnessed: Annotated[int, Field(ge=1, le=MOST)] = 1
    model: Model = Model()
    budget: Limits = Limits()
    executor: Executor = Executor()
    record: Record = Record()
    contracts: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
        AfterValidator(unique),
    ] = []
    root: str = ""

    @property
    def control_seeds(self) -> list[int]:
        """Return the seeds of the fault-free runs: the plan's own, then the numbers after them."""
        further = max(self.seeds) + 1
        missing = max(0, self.controls - len(self.seeds))
        return [*self.seeds, *range(further, further + missing)]

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of everything that can change a result: not workers, not paths."""
        left_out: dict[str, Any] = {"root": True, "executor": True, "record": {"draws"}}
        content = self.model_dump(mode="json", exclude=left_out)
        if not content["contracts"]:  # plans from before there were contracts go on
            del content["contracts"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema of a plan file, as published beside this module."""
    schema = Plan.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "masfire plan/v1", **schema}
