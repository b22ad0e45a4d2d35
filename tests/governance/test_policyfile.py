"""Policy files: every mistake at once with its place, and a published schema."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

import masfire.governance
from masfire.governance.policyfile import PolicyErrors, parse_policy, schema

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "governance" / "policy.yaml"
BAD = """\
masfire: policy/v1
agents:
  clerk:
    tool: {pay: {}}
    tools:
      pay: {arguments: {amount: {maximun: 10}}}
    deny: ["toolcall:x"]
    budget: {steps: -1}
lineage: {mode: fast}
quarantine: 0
"""


def test_the_example_is_read_and_fits_the_published_schema() -> None:
    policy = parse_policy(EXAMPLE.read_text(), folder=EXAMPLE.parent)
    bound = (policy.agents["clerk"].tools or {})["place_order"].arguments["quantity"]
    assert (bound.minimum, bound.maximum, policy.quarantine) == (1, 60, 10)
    file = Path(masfire.governance.__file__).with_name("policy.schema.json")
    published = json.loads(file.read_text())
    assert published == json.loads(json.dumps(schema()))
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), published)


def test_all_mistakes_are_told_with_their_places() -> None:
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(BAD, name="p.yaml")
    text = str(caught.value)
    for said in (
        "p.yaml:4:5: Unknown key 'agents.clerk.tool'. Did you mean 'tools'?",
        "p.yaml:6:", "Did you mean 'maximum'?", "p.yaml:8:", "p.yaml:9:", "p.yaml:10:",
    ):  # fmt: skip
        assert said in text, text
    assert "tool_call" in str(_errors("masfire: policy/v1\nagents: {a: {deny: ['toolcall:x']}}"))


def _errors(text: str) -> PolicyErrors:
    with pytest.raises(PolicyErrors) as caught:
        parse_policy(text, name="p.yaml", folder=ROOT)
    return caught.value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mapping"),
        ("[]", "mapping"),
        ("masfire: policy/v2", "policy/v1"),
        ("masfire: policy/v1\nmasfire: policy/v1", "already given"),
        ("masfire: policy/v1\nagents: {a: &x {}, b: *x}", "aliases"),
        ("masfire: policy/v1\ncontracts: [no/such/file.yaml]", "no/such/file.yaml"),
        ('masfire: policy/v1\nagents: {a: {tools: {x: {arguments: {n: {pattern: "(?=a)"}}}}}}', "RE2"),
    ],
)
def test_a_bad_file_is_refused(text: str, said: str) -> None:
    assert said in str(_errors(text))


def test_packs_may_be_named() -> None:
    assert parse_policy("masfire: policy/v1\ncontracts: [termination]").contracts


def test_importing_governance_is_light() -> None:
    heavy = (
        "numpy scipy networkx pydantic yaml lark openai langgraph langchain_core pytest hypothesis jsonschema"
    )
    code = (
        "import sys, masfire.governance as g\n"
        "governor = g.Governor(g.Policy(agents={'a': g.allow('x')}))\n"
        "p = governor.propose('tool_call', 'x', {'args': {}}, agent='a', run='r')\n"
        "assert governor.decide(p).allowed\n"
        f"print(*(m for m in {heavy.split()!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("key", ["lineage", "run", "quarantine", "breaker"])
def test_the_schema_takes_no_empty_key(key: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"masfire": "policy/v1", key: None}, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"masfire": "policy/v1", "agents": {"a": {"models": None}}}, schema())
    jsonschema.validate(
        {"masfire": "policy/v1", "agents": {"a": {"tools": {"x": {"arguments": {"n": {"enum": [None]}}}}}}},
        schema(),
    )


@pytest.mark.parametrize(
    "kind", ["model_call", "message", "memory_read", "event", "termination", "tool_call"]
)
def test_a_closed_policy_allows_nothing_without_a_rule(kind: str) -> None:
    text = "masfire: policy/v1\nagents: {a: {}, b: {models: {m: {}}, messages: {'*': {}}}}\nretries: false\n"
    for closed in (True, False):
        policy = parse_policy(f"{text}closed: {str(closed).lower()}\n")
        governor = masfire.governance.Governor(policy)
        asked = governor.propose(kind, "m", "x", agent="a")
        assert governor.decide(asked).allowed is (not closed and kind != "tool_call")
        named = governor.propose(kind, "m", "x", agent="b", to=("a",))
        ruled = kind in ("model_call", "message")
        assert governor.decide(named).allowed is (ruled or (not closed and kind != "tool_call"))
