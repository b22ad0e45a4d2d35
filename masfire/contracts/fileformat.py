"""The file format of contracts, `contract/v1`: its models and the JSON Schema that editors complete by."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model

from masfire.contracts.examples import Examples
from masfire.contracts.language.selector import Selector
from masfire.contracts.patterns import PATTERNS
from masfire.contracts.patterns.pattern import Fields, Within

VERSION = "contract/v1"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, StringConstraints(max_length=20_000)]
"""A description; of formulas the parser says how long they may be."""
Key = Annotated[
    list[str],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Field(min_length=1, max_length=8),
]
Steps = Annotated[Selector | str, Field(description="a selector, or a formula as text")]


class RetireFields(BaseModel):
    """When the state of a key may be forgotten."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Steps | None = Field(default=None, description="a step after which its key's state is forgotten")
    after: Within | None = Field(default=None, description="silence: '10 minutes', '500 steps'")
    keys: int = Field(default=0, ge=0, description="at most so many keys are kept; 0: no limit")


class Common(BaseModel):
    """What every contract says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)]
    description: Text = ""
    catches: list[str] = Field(default=[], description="faults that it is meant to notice")
    severity: Literal["error", "warning", "info"] = "error"
    enforce: Literal["block", "rewrite", "warn"] = "block"
    order: Literal["recorded", "causal"] = "recorded"
    key: Key | None = Field(default=None, description="fields that slice the trace: args.order_id, agent")
    retire: RetireFields | None = None
    tags: list[str] = []
    examples: Examples | None = None
    define: dict[str, str] = Field(default={}, description="named sub-formulas, 'name(a, b)': formula")


class FormulaContract(Common):
    """A contract written as one formula or several."""

    formula: Annotated[
        list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str]), Field(min_length=1)
    ]


class PayloadContract(Common):
    """Where `when` holds, the value at `path` validates against a JSON Schema (draft 2020-12)."""

    when: Steps
    where: str = Field(default="", description="a further condition on the step")
    payload_schema: dict[str, Any] | bool = Field(alias="schema")
    path: str | None = Field(
        default=None,
        description="which field; default: args of a call, result of a result, content of a message",
    )


@functools.cache
def pattern_model(name: str) -> type[Common]:
    """Return the model of a contract of a named pattern; raise UnknownName."""
    fields: type[Fields] = PATTERNS.get(name).fields
    clash = sorted(
        (set(fields.model_fields) & set(Common.model_fields)) | ({"pattern"} & set(fields.model_fields))
    )
    if clash:
        raise TypeError(f"Pattern {name!r} has fields that every contract has: {', '.join(clash)}.")
    own: dict[str, Any] = {key: (info.annotation, info) for key, info in fields.model_fields.items()}
    title = "".join(part.capitalize() for part in name.split("_"))
    own["pattern"] = (Literal[name], ...)
    made: type[Common] = create_model(f"{title}Contract", __base__=Common, __doc__=fields.__doc__, **own)
    return made


def own_fields(entry: Common) -> dict[str, Any]:
    """Return the pattern's own fields of a contract, as given."""
    mine = set(Common.model_fields) | {"pattern"}
    return {key: getattr(entry, key) for key in entry.model_fields_set if key not in mine}


def contract_schema() -> dict[str, Any]:
    """Return the published JSON Schema (draft 2020-12) of a contract file."""
    names = sorted(PATTERNS.names())
    forms: Any = (FormulaContract, PayloadContract, *(pattern_model(name) for name in names))
    one: Any = Union.__getitem__(forms)
    parts: dict[str, Any] = {
        "masfire": (Literal["contract/v1"], ...),
        "define": (dict[str, str], Field(default={}, description="named sub-formulas for all contracts")),
        "contracts": (Annotated[list[one], Field(min_length=1)], ...),
    }
    file: type[BaseModel] = create_model("ContractFile", __config__=ConfigDict(extra="forbid"), **parts)
    schema = file.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "masfire contracts",
        "description": "Promises about how agents behave, judged on traces and enforced in production.",
    }
