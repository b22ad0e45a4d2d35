"""Contracts in plain words."""

import pytest

from masfire.contracts.language.formula import parse_formula
from masfire.contracts.language.words import phrase, sentence
from masfire.contracts.loader import load_contracts, pack, pack_names, parse_contracts
from masfire.contracts.plainly import explain, sentence_of

FILE = """
masfire: contract/v1
contracts:
  - id: refund-needs-login
    description: No refund for strangers.
    pattern: requires_before
    when:   {kind: tool_call, tool: refund}
    before: {kind: tool_result, tool: login, where: "outcome.ok == true"}
    cleared_by: {kind: tool_call, tool: logout}
    key: args.user_id
    enforce: warn
    retire: {after: 10 minutes}
    catches: [tool_selection_error]
  - id: wire-under-limit
    when: {kind: tool_call, tool: wire}
    schema: {properties: {amount: {maximum: 10000}}}
  - id: custom
    order: causal
    formula: "tool('ship') -> once(tool('pay') and ok) and not once within 5 steps (tool('cancel'))"
"""


def test_a_pattern_reads_as_a_sentence_with_everything_that_it_depends_on() -> None:
    refund, wire, custom = (explain(contract) for contract in parse_contracts(FILE, name="desk.yaml"))
    first, rule, key = refund.splitlines()[:3]
    assert first == "refund-needs-login: No refund for strangers."
    assert rule.startswith(
        "  Whenever a call of 'refund', there was a result of 'login' where outcome.ok is true"
    )
    assert rule.endswith(" before, and since then not a call of 'logout'.")
    assert key == "  For each args.user_id by itself; steps without it are passed over."
    assert "  A key is forgotten after 600 seconds of silence." in refund
    assert "  Meant to notice: tool_selection_error." in refund
    assert "let through, with a warning" in refund
    assert refund.endswith("  Written at desk.yaml:4.")
    assert "args fits the JSON Schema" in wire
    assert '"maximum": 10000' in wire
    assert "Whenever a call of 'ship':" in custom
    assert "among the causes" in custom


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("tool('pay')[args.amount > 10]", "a call of 'pay' where args.amount is more than 10"),
        ("message('*') and not once event('open')",
         "a message and (not (there has been event 'open'))"),
        ("model_call or tool('a')", "a model call or a call of 'a'"),
        ("[event('a'), event('b'))", "there has been event 'a', and no event 'b' since"),
        ("exists x. once within 2.5 seconds (event('a', x))",
         "for some x, (there has been event 'a' with args.0 x (within 2.5 seconds))"),
        ("prev ok", "right before this step, "),
        ("text in ['a', 'b']", 'text is one of ["a", "b"]'),
    ],
)  # fmt: skip
def test_formulas_in_words(formula: str, words: str) -> None:
    assert phrase(parse_formula(formula)).startswith(words)


def test_parts_in_brackets_are_left_out_when_their_field_is_not_given() -> None:
    says = "{a} at most {n} times[ within {within}][ by {who}]."
    assert sentence(says, {"a": "calls", "n": 2, "within": None, "who": []}) == "Calls at most 2 times."
    assert sentence(says, {"a": "calls", "n": 2, "within": "5 s", "who": ["x", "y"]}) == (
        "Calls at most 2 times within 5 s by x, y."
    )


def test_every_shipped_contract_has_a_sentence_without_holes() -> None:
    for contract in (*(each for name in pack_names() for each in pack(name)),
                     *load_contracts("examples/order_desk/contracts.yaml")):  # fmt: skip
        for rule in contract.rules:
            text = sentence_of(rule)
            assert text.endswith(".")
            assert not {"{", "[", "None"} & set(text.replace("JSON Schema {", "").split()) or "Schema" in text
            assert text[0].isupper()
