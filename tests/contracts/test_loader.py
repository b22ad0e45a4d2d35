"""Contract files: what loads, and every mistake with its line and column."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from masfire.contracts.demands import plain
from masfire.contracts.fileformat import contract_schema
from masfire.contracts.language.formula import parse_formula
from masfire.contracts.language.show import show
from masfire.contracts.language.syntax import Atom, Compare, Const, Field, Implies, Window
from masfire.contracts.loader import (
    ContractErrors,
    load_contracts,
    load_entries,
    pack,
    pack_names,
    packs_folder,
    parse_contracts,
)
from masfire.contracts.model import Always, Payload, Response
from masfire.errors import UnknownName, UsageError
from masfire.yamlfile import compose, construct, place_within

HEAD = "masfire: contract/v1\ncontracts:\n"


def mistakes(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(ContractErrors) as caught:
        parse_contracts(text)
    return [(each.line, each.column, each.what) for each in caught.value.mistakes]


def test_the_three_ways_to_write() -> None:
    pattern, payload, formula = parse_contracts("""\
masfire: contract/v1
define: {"paid(o)": "once(tool('pay', order=o) and ok)"}
contracts:
  - id: refund-needs-login
    description: Nobody refunds without a login.
    pattern: requires_before
    when: {kind: tool_call, tool: refund}
    before: {tool: login, where: "outcome.ok == true"}
    cleared_by: {kind: tool_call, tool: logout}
    key: args.user_id
    enforce: block
    catches: [TSE, message_storm]
  - id: wire-under-limit
    when: {kind: tool_call, tool: wire}
    schema: {properties: {amount: {maximum: 10000}}}
    severity: warning
  - id: ships-paid
    key: [agent, args.order_id]
    order: causal
    retire: {at: "tool('close')", after: 10 minutes, keys: 1000}
    formula:
      - "tool('ship', order=o) -> paid(o)"
      - tool('ship') -> args.n < 3
""")
    assert pattern.where == "contracts.yaml:4"
    assert pattern.pattern == "requires_before"
    assert pattern.key == (("args", "user_id"),)
    assert pattern.catches == ("tool_selection_error", "message_storm")
    rule = pattern.rules[0]
    assert isinstance(rule, Always)
    assert Atom(("tool_result",), "login", (), Compare("==", Field(("outcome", "ok")), Const(True))) in set(
        _atoms(rule.formula)
    )
    assert payload.severity == "warning"
    assert payload.rules == (
        Payload(Atom(("tool_call",), "wire"), {"properties": {"amount": {"maximum": 10000}}}, ("args",)),
    )
    assert formula.key == (("agent",), ("args", "order_id"))
    assert formula.order == "causal"
    assert formula.retire is not None
    assert formula.retire.after == Window(600, "seconds")
    assert formula.retire.keys == 1000
    assert plain(formula.retire.at) == Atom(("tool_call",), "close")
    first, second = formula.rules
    assert isinstance(first, Always)
    assert isinstance(second, Always)
    assert isinstance(first.formula, Implies)
    assert second.text == "tool('ship') -> args.n < 3"


def _atoms(formula: Any) -> list[Any]:
    from masfire.contracts.language.checks import nodes

    return [node for node in nodes(plain(formula)) if isinstance(node, Atom)]


def test_trigger_and_response_share_variables() -> None:
    (contract,) = parse_contracts(
        HEAD
        + "  - {id: a, pattern: responded_within, when: model_call(step=s), response: model_reply(of=s),"
        + " within: 3 steps}\n"
    )
    rule = contract.rules[0]
    assert isinstance(rule, Response)
    assert rule.within == Window(3, "steps")


@pytest.mark.parametrize(
    ("when", "path"),
    [
        ("{kind: message}", ("content",)),
        ("{kind: tool_result}", ("result",)),
        ("{kind: model_call}", ("request",)),
        ("event('open')", ("args",)),
        ("{kind: [tool_call, tool_result]}\n    path: args.x", ("args", "x")),
    ],
)
def test_the_payload_is_that_of_the_kind(when: str, path: tuple[str, ...]) -> None:
    (contract,) = parse_contracts(f"{HEAD}  - id: a\n    schema: true\n    when: {when}\n")
    rule = contract.rules[0]
    assert isinstance(rule, Payload)
    assert rule.path == path


BAD = """\
masfire: contract/v1
define:
  "live(c, m)": "once event('create', m, c)"
  loop: "loop and ok"
contracts:
  - id: a
    formula: "tool('ship') -> once(tool('pay') and okay)"
    severty: error
  - id: b
    formula: |
      tool('ship')
        -> onec(tool('pay'))
        and count(tool('x') within 0 steps) < 3
  - id: b
    formula: >-
      tool('ship') ->
      content == 'x' and
      "abc" matches "(?=x)"
  - id: c
    patern: never
    when: {kind: tool_call}
  - id: d
    pattern: nver
  - id: e
    pattern: never
    when: {kind: tool_cal, tol: x}
  - id: f
    pattern: requires_before
    when: {tool: refund, where: "args.x > 3 and contnt == 4"}
    before: "tool('login') and"
    catches: [mesage_storm]
    key: ags.user
  - id: g
    when: {kind: tool_call}
    schema: {type: objct}
  - id: h
    formula: "event('b') -> once event('a', x)"
  - id: i
    formula: "tool(\\"a\\\\\\\\d\\") -> x == 3"
  - id: j
    formula: 'agent == ''a'' and x == 3'
  - id: k
    pattern: responded_by_end
    when: event('a', x)
    response: event('b', y)
  - id: l
    pattern: at_most
    when: {kind: tool_call}
    n: many
    formula: ok
unknown: 3
"""


def test_every_mistake_at_once_with_line_column_and_nearest_match() -> None:
    wanted = [
        (4, 9, "cannot use itself: loop → loop"),
        (7, 52, "Did you mean 'ok'?"),
        (8, 5, "Did you mean 'severity'?"),
        (12, 12, "Did you mean 'once'?"),
        (13, 29, "above 0"),
        (14, 5, "already given at contracts.yaml:9"),
        (17, 7, "a tool_call has no 'content'"),
        (18, 21, "no look-around"),
        (19, 5, "Did you mean 'pattern'?"),
        (23, 14, "Did you mean 'never'?"),
        (26, 12, "Did you mean 'tool_call'?"),
        (26, 28, "Did you mean 'tool'?"),
        (29, 49, "Did you mean 'content'?"),
        (30, 30, "not complete"),
        (31, 15, "Did you mean 'message_storm'?"),
        (32, 10, "Did you mean 'args'?"),
        (35, 13, "objct"),
        (37, 29, "no step has shown"),
        (39, 35, "'x' is neither"),
        (41, 34, "'x' is neither"),
        (42, 5, "the trigger does not bind"),
        (46, 5, "needs one of formula, pattern, or schema (with when); it has formula and pattern."),
        (51, 1, "Unknown key 'unknown'"),
    ]
    found = mistakes(BAD)
    for (line, column, what), (wanted_line, wanted_column, words) in zip(found, wanted, strict=True):
        assert (line, column) == (wanted_line, wanted_column), what
        assert words in what


def test_the_report_shows_the_formula_with_a_mark() -> None:
    with pytest.raises(ContractErrors) as caught:
        parse_contracts(HEAD + "  - id: a\n    formula: ok and okay\n", name="desk.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "desk.yaml: 1 mistake."
    assert lines[1].startswith("desk.yaml:4:21: Contract 'a': 'okay' is neither")
    assert lines[2:] == ["  ok and okay", "         ^^^^"]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "mapping that starts with"),
        ("- 3", 1, "mapping that starts with"),
        ("masfire: contract/v2\ncontracts: [{id: a, formula: ok}]", 1, "(got 'contract/v2')"),
        ("contracts: [{id: a, formula: ok}]", 1, "masfire: contract/v1"),
        ("masfire: contract/v1\ncontracts: []", 2, "at least one"),
        ("masfire: contract/v1\ncontracts: 3", 2, "at least one"),
        ("masfire: contract/v1", 1, "at least one"),
        (HEAD + "  - 3", 3, "A contract is a mapping"),
        (HEAD + "  - {formula: ok}", 3, "'id' is missing"),
        (HEAD + "  - {id: '../x', formula: ok}", 3, "should match pattern"),
        (HEAD + "  - {id: a, formula: 3}", 3, "should be a valid list"),
        (HEAD + "  - {id: a, formula: []}", 3, "at least 1 item"),
        (HEAD + "  - {id: a, formula: ok, severity: fatal}", 3, "unknown 'fatal'"),
        (HEAD + "  - {id: a, formula: ok, key: []}", 3, "at least 1 item"),
        (HEAD + "  - {id: a, formula: ok, formula: failed}", 3, "already given in line 3"),
        (HEAD + "  - {id: a, formula: ok, define: [x]}", 3, "valid dictionary"),
        (HEAD + "  - {id: a, formula: ok, retire: {aftr: 3 steps}}", 3, "Did you mean 'after'?"),
        (HEAD + "  - {id: a, formula: ok, retire: {after: 0 steps}}", 3, "window"),
        (HEAD + "  - {id: a, schema: true, when: {kind: [message, event]}}", 3, "say which field"),
        (HEAD + "  - {id: a, schema: true}", 3, "'when' is missing"),
        (HEAD + "  - {id: a, pattern: never, when: {}}", 3, "picks every step"),
        (HEAD + "  - {id: a, pattern: at_most, when: ok, n: -1}", 3, "greater than or equal to 0"),
    ],
)
def test_files_that_are_none(text: str, line: int, why: str) -> None:
    found = mistakes(text)
    assert found[0][0] == line
    assert any(why in what for _, _, what in found), found


def test_words_stay_words() -> None:
    """YAML 1.1 would read these as True, False, 630 seconds, a date and 8."""
    text = "a: yes\nb: off\nc: 10:30\nd: 2024-01-01\ne: 010\nf: <<\ng: true\nh: 3\ni: 1.5\nj: null\nk:\n"
    node = compose(text, plain=True)
    assert node is not None
    assert construct(node) == {
        "a": "yes", "b": "off", "c": "10:30", "d": "2024-01-01", "e": "010", "f": "<<", "g": True, "h": 3,
        "i": 1.5, "j": None, "k": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "k: alpha X omega",
        "k: 'it''s X here'",
        'k: "a \\"b\\" \\u00e9\\x41\\t X"',
        'k: "one \\\n   two X"',
        'k: "one\n\n   two X"',
        "k: one\n  two\n\n  three X",
        "k: |\n  one\n    two X\n",
        "k: |2\n    one X\n",
        "k: >-\n  one\n  two\n\n  three X\n\n    deep\n",
        "k: | # X in a comment\n  one X\n",
        "{k: [a, 'b X']}",
    ],
)
def test_the_place_of_a_character_in_every_style(text: str) -> None:
    """The place of the last X of the value is where the last X of the text is."""
    node: Any = compose(text, plain=True)
    value = node.value[0][1]
    value = value.value[-1] if isinstance(value.value, list) else value
    assert "X" in value.value
    line, column = place_within(value, text)(value.value.rindex("X"))
    assert text.splitlines()[line - 1][column - 1] == "X"
    assert text.rindex("X") == sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1


def test_folders_files_and_packs(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD + "  - {id: a, formula: ok}\n", encoding="utf-8")
    (tmp_path / "b.yml").write_text(HEAD + "  - {id: b, formula: ok}\n", encoding="utf-8")
    (tmp_path / "c.txt").write_text("no contract", encoding="utf-8")
    assert [each.id for each in load_contracts(tmp_path)] == ["a", "b"]
    assert [each.id for each in load_contracts(tmp_path / "b.yml", tmp_path)] == ["b", "a"]
    assert [each.id for each in load_contracts("tools")] == [each.id for each in pack("tools")]
    (tmp_path / "b.yml").write_text(HEAD + "  - {id: a, formula: ok}\n", encoding="utf-8")
    with pytest.raises(ContractErrors, match=r"b\.yml:3:5: Contract 'a' is already given at .*a\.yaml:3"):
        load_contracts(tmp_path)
    with pytest.raises(UnknownName, match="Did you mean 'tools'"):
        load_contracts("tool")
    with pytest.raises(UsageError, match="cannot be read"):
        load_contracts(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="No contracts were given"):
        load_contracts()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no contract file"):
        load_contracts(tmp_path / "empty")
    with pytest.raises(UnknownName):
        pack("nothing")


def test_mistakes_of_several_files_are_told_together(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(
            HEAD + f"  - {{id: {name}, formula: okay}}\n", encoding="utf-8"
        )
    with pytest.raises(ContractErrors) as caught:
        load_contracts(tmp_path)
    assert [Path(each.path).name for each in caught.value.mistakes] == ["a.yaml", "b.yaml"]


def test_the_published_schema_is_current_and_accepts_every_pack() -> None:
    stored = json.loads(
        resources.files("masfire.contracts").joinpath("contract.schema.json").read_text(encoding="utf-8")
    )
    assert stored == contract_schema()
    jsonschema.Draft202012Validator.check_schema(stored)
    validator = jsonschema.Draft202012Validator(stored)
    files = [packs_folder() / f"{name}.yaml" for name in pack_names()]
    assert len(files) >= 7
    for file in [*files, *Path("examples").rglob("contracts.yaml")]:
        node = compose(file.read_text(encoding="utf-8"), plain=True)
        assert node is not None
        assert [error.message[:200] for error in validator.iter_errors(construct(node))] == [], file
        assert load_entries(file)
    for bad in ({"id": "a"}, {"id": "a", "formula": "ok", "severty": 3}, {"id": "a", "pattern": "nver"}):
        assert not validator.is_valid({"masfire": "contract/v1", "contracts": [bad]})
    assert not validator.is_valid(
        {"masfire": "contract/v1",
         "contracts": [{"id": "a", "pattern": "never", "when": {"kind": "tool_cal"}}]}
    )  # fmt: skip


def test_text_and_file_give_the_same_tree() -> None:
    (contract,) = parse_contracts(HEAD + "  - id: a\n    formula: |\n      tool('a')\n        -> once ok\n")
    rule = contract.rules[0]
    assert isinstance(rule, Always)
    assert plain(rule.formula) == plain(parse_formula("tool('a') -> once ok"))


def test_parameters_may_stand_in_flow_style_although_yaml_ends_a_key_at_their_comma() -> None:
    (contract,) = parse_contracts(
        "masfire: contract/v1\n"
        "define: {both(a, b): \"event('x', a) and event('y', b)\", one(a): \"event('z', a)\","
        ' both3(a, b): "once both(a, b)"}\n'
        "contracts:\n"
        "  - id: a\n"
        "    define: {live(c, m): \"once event('create', m, c)\"}\n"
        "    formula: \"event('next', c) and live(c, m) -> not both3(c, m) and not one(m)\"\n"
    )
    assert "create" in show(contract.rules[0].formula)


def test_what_is_no_signature_in_flow_style_is_told_where_it_stands() -> None:
    with pytest.raises(ContractErrors) as caught:
        parse_contracts(
            "masfire: contract/v1\n"
            "define: {both(a, b: \"event('x', a)\", c(d, e): , lonely, f(1, 2): x}\n"
            "contracts: [{id: a, formula: 'not failed'}]\n"
        )
    told = [(mistake.line, mistake.column, mistake.what) for mistake in caught.value.mistakes]
    assert told[0][:2] == (2, 22)
    assert "both(a, b" in told[0][2]
    assert any("c(d, e)" in what for _, _, what in told)
    assert any("'lonely'" in what for _, _, what in told)


def test_what_no_monitor_can_be_made_for_is_refused_when_the_file_is_read_at_its_formula() -> None:
    text = (
        HEAD
        + """\
  - id: r
    formula:
      - "not failed"
      - >-
        event('sell', i) and once event('list', i, r)
        -> exists a. once (event('bid', i, a) and not event('w', a, r))
"""
    )
    ((line, column, what),) = mistakes(text)
    assert (line, column) == (6, 9)
    assert "binds r" in what


def test_a_shipped_pack_is_not_called_by_where_it_is_installed() -> None:
    for name in ("messages", packs_folder()):
        assert all(one.where.startswith("masfire/contracts/") for one in load_contracts(name))
