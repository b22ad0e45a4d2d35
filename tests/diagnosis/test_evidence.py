"""Contracts, expected calls and provenance point to the right step."""

from __future__ import annotations

import json

from masfire.adapters import taubench
from masfire.contracts.loader import parse_contracts
from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.evidence import ContractEvidence, Expected, ExpectedCalls, Provenance
from tests.support.findings import FOUND, findings
from tests.support.logs import recorded, tau

RULE = """
masfire: contract/v1
contracts:
  - id: lookup-before-return
    formula: tool_call('return_items') -> once tool_call('authenticate')
    catches: [inexecutable_plan]
"""


def test_an_unexpected_call_is_blamed_before_a_missing_output():
    (run,) = taubench.convert([tau()])
    found = diagnose(run.trace, [ExpectedCalls(Expected.of(run.expected))])
    assert found.top.step == run.begins[6]
    assert "return_items" in found.top.because[0].text
    assert found.suspects[1].step == run.begins[4]


def test_a_reply_is_blamed_when_only_an_output_is_missing():
    data = tau()
    data["traj"][6]["tool_calls"][0]["function"]["arguments"] = '{"items": ["a"], "order": "W1"}'
    (run,) = taubench.convert([data])
    found = diagnose(run.trace, [ExpectedCalls(Expected.of(run.expected))])
    assert found.top.step == run.begins[4]


def test_the_last_step_is_blamed_when_an_expected_call_never_came():
    data = tau()
    data["traj"] = data["traj"][:5]
    data["info"]["task"]["outputs"] = []
    (run,) = taubench.convert([data])
    found = diagnose(run.trace, [ExpectedCalls(Expected.of(run.expected))])
    assert found.top.step == len(run.trace) - 1
    assert "without the expected call of return_items" in found.top.because[0].text


def test_a_broken_contract_is_evidence_with_its_category():
    (run,) = taubench.convert([tau()])
    found = diagnose(run.trace, [ContractEvidence(parse_contracts(RULE))])
    assert (found.top.step, found.top.category) == (run.begins[6], "inexecutable_plan")
    assert found.known


def test_provenance_names_where_the_answer_came_from():
    findings = Provenance().examine(recorded(lie_at=5))
    assert max(findings, key=lambda one: one.score).step == 5


def test_the_truth_of_an_injection_changes_no_diagnosis():
    import msgspec

    from masfire.trace.model import Injection, Step

    plain = recorded(lie_at=2)
    mark = Step(
        step=2, time=2.0, agent="reader", body=Injection("hallucination", "hallucination@reader", "witnessed")
    )
    header = msgspec.structs.replace(plain.header, faults=("hallucination@reader",), launch={"fault": "x"})
    marked = msgspec.structs.replace(plain, injections=(mark,), header=header)
    layers = [Provenance(), ContractEvidence(parse_contracts(RULE))]
    assert diagnose(marked, layers) == diagnose(plain, layers)


def test_a_run_that_passed_is_not_blamed_on_anybody():
    (run,) = taubench.convert([tau(reward=1.0)])
    found = diagnose(run.trace, [Provenance()])
    assert not found.known
    assert "passed" in found.reason


def test_the_golden_traces_show_what_they_always_showed():
    """Written anew, after a change that is meant, by `python -m tests.support.findings`."""
    assert findings() == json.loads(FOUND.read_text(encoding="utf-8"))
