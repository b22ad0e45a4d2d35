"""Formulas from text: what they are read as, what is refused, where and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, reject, settings

from masfire.contracts.demands import plain
from masfire.contracts.language.checks import nodes
from masfire.contracts.language.fields import EVERYWHERE, FIELDS
from masfire.contracts.language.formula import FormulaError, parse_condition, parse_formula, parse_path
from masfire.contracts.language.show import show
from masfire.contracts.language.syntax import (
    And,
    Apply,
    Argument,
    Atom,
    Compare,
    Const,
    Count,
    Exists,
    Field,
    Forall,
    Historically,
    Implies,
    Interval,
    Last,
    Literal,
    Not,
    Once,
    Or,
    Present,
    Prev,
    Since,
    Sum,
    Truth,
    Var,
    Window,
)  # fmt: skip
from masfire.contracts.model import Always, Contract
from masfire.contracts.view import own_fields
from masfire.errors import UsageError
from masfire.trace.model import Action, Observation, Step
from masfire.trace.payload import pack
from tests.support.formulas import formulas, steps
from tests.support.reference import Reference

LIVE = {"live(c, m)": "once event('create', m, c)"}


def read(text: str, **options: Any) -> Any:
    return plain(parse_formula(text, **options))


def event(name: str, *variables: str) -> Atom:
    return Atom(("event",), name, tuple(Argument(("args", i), Var(v)) for i, v in enumerate(variables)))


def call(name: str) -> Atom:
    return Atom(("tool_call",), name)


def result(name: str) -> Atom:
    return Atom(("tool_result",), name)


OK = Compare("==", Field(("ok",)), Const(True))
FAILED = Compare("==", Field(("ok",)), Const(False))

SHAPES = [
    (
        (
            "event('access', u, f) -> [event('login', u), event('logout', u))"
            " and [event('open', f), event('close', f))"
        ),
        Implies(
            event("access", "u", "f"),
            And((
                Interval(event("login", "u"), event("logout", "u")),
                Interval(event("open", "f"), event("close", "f")),
            )),
        ),
    ),
    (
        (
            "event('next', i) and once(event('iterator', c, i) and live(c, m))"
            " -> not event('update', m) since event('iterator', c, i)"
        ),
        Implies(
            And((
                event("next", "i"),
                Once(And((event("iterator", "c", "i"), Once(event("create", "m", "c"))))),
            )),
            Since(Not(event("update", "m")), event("iterator", "c", "i")),
        ),
    ),
    (
        "prev once event('bid', i, a1) and event('bid', i, a2) -> a1 < a2",
        Implies(
            And((Prev(Once(event("bid", "i", "a1"))), event("bid", "i", "a2"))),
            Compare("<", Var("a1"), Var("a2")),
        ),
    ),
    (
        "event('close', f) -> exists m. prev [event('open', f, m), event('close', f))",
        Implies(
            event("close", "f"),
            Exists("m", Prev(Interval(event("open", "f", "m"), event("close", "f")))),
        ),
    ),
    (
        "[event('dispatch', c), event('complete', c)) and c in ['A', 'B'] -> not event('error')",
        Implies(
            And((
                Interval(event("dispatch", "c"), event("complete", "c")),
                Compare("in", Var("c"), Const(("A", "B"))),
            )),
            Not(event("error")),
        ),
    ),
    (
        "tool('ship') -> once(tool('pay') and ok) and not once(tool('cancel'))",
        Implies(call("ship"), And((Once(And((result("pay"), OK))), Not(Once(call("cancel")))))),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), SHAPES)
def test_the_shapes_that_must_be_expressible(text: str, wanted: Any) -> None:
    assert read(text, define=LIVE) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tool('pay')", call("pay")),
        ("tool('pay') and ok", And((result("pay"), OK))),
        ("failed and tool('pay')", And((FAILED, result("pay")))),
        ("tool('pay') and not ok", And((result("pay"), Not(OK)))),
        ("tool('pay') -> ok", Implies(result("pay"), OK)),
        ("tool('pay') -> once(tool('quote') and ok)", Implies(call("pay"), Once(And((result("quote"), OK))))),
        ("(tool('a') or tool('b')) and ok", And((Or((result("a"), result("b"))), OK))),
        ("tool('a') or (tool('b') and ok)", Or((call("a"), And((result("b"), OK))))),
        ("tool('a') and not (tool('b') and ok)", And((call("a"), Not(And((result("b"), OK)))))),
        ("tool('a') and count(tool('b') and ok) < 3",
         And((call("a"), Compare("<", Count(And((result("b"), OK))), Const(3))))),
        ("tool_call('pay') -> once ok", Implies(call("pay"), Once(OK))),
        ("tool('p*')[result.x > 1]",
         Atom(("tool_result",), "p*", (), Compare(">", Field(("result", "x")), Const(1)))),
        ("tool('p')[args.x > 1]",
         Atom(("tool_call",), "p", (), Compare(">", Field(("args", "x")), Const(1)))),
        ("tool('p')[ok][args.x > 1]",
         And((Atom(("tool_result",), "p", (), OK), Compare(">", Field(("args", "x")), Const(1))))),
    ],
)  # fmt: skip
def test_a_tool_is_its_call_unless_something_beside_it_speaks_of_the_outcome(text: str, wanted: Any) -> None:
    assert read(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tool('pay', order_id=o) -> true",
         Atom(("tool_call",), "pay", (Argument(("args", "order_id"), Var("o")),))),
        ("tool('pay', args.id='x', agent='a') -> true",
         Atom(("tool_call",), "pay", (Argument(("args", "id"), Const("x")),
                                     Argument(("agent",), Const("a"))))),
        ("event('e', _, x) -> true",
         Atom(("event",), "e", (Argument(("args", 1), Var("x")),), Present(("args", 0)))),
        ("event('e', 'r', -3, null) -> true",
         Atom(("event",), "e", tuple(Argument(("args", i), Const(c))
                                        for i, c in enumerate(["r", -3, None])))),
        ("event(_) -> true", Atom(("event",))),
        ("step() -> true", Atom(())),
        ("model_call -> true", Atom(("model_call",))),
        ("decision('block') -> true", Atom(("decision",), "", (Argument(("outcome",), Const("block")),))),
        ("message('planner', to='x') -> true",
         Atom(("message",), "planner", (), Compare("contains", Field(("to",)), Const("x")))),
        ("message(_, to.0=r) -> true", Atom(("message",), "", (Argument(("to", 0), Var("r")),))),
        ("step(agent='w*') -> true",
         Atom((), "", (), Compare("matches", Field(("agent",)), Const("^w(?s:.*)$")))),
    ],
)  # fmt: skip
def test_atoms(text: str, wanted: Any) -> None:
    assert read(text).left == wanted


A, B, C = call("a"), call("b"), call("c")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a -> b -> c", Implies(A, Implies(B, C))),
        ("a or b and c", Or((A, And((B, C))))),
        ("a and b since c", And((A, Since(B, C)))),
        ("a since b since c", Since(Since(A, B), C)),
        ("not a since b", Since(Not(A), B)),
        ("not once a or b", Or((Not(Once(A)), B))),
        ("prev once historically a", Prev(Once(Historically(A)))),
        ("a <-> b", And((Implies(A, B), Implies(B, A)))),
        ("once within 5 steps a", Once(A, Window(5, "steps"))),
        ("once(a within 5 steps)", Once(A, Window(5, "steps"))),
        ("once within 1.5 minutes (a or b)", Once(Or((A, B)), Window(90.0, "seconds"))),
        ("a since within 10s b", Since(A, B, Window(10, "seconds"))),
        ("prev within 250 ms a", Prev(A, Window(0.25, "seconds"))),
        ("args.x + 2 * 3 < -args.y",
         Compare("<", Apply("+", (Field(("args", "x")), Apply("*", (Const(2), Const(3))))),
                 Apply("neg", (Field(("args", "y")),)))),
        ("(args.x + 2) * 3 == 9",
         Compare("==", Apply("*", (Apply("+", (Field(("args", "x")), Const(2))), Const(3))), Const(9))),
        ("not args.x == 3", Not(Compare("==", Field(("args", "x")), Const(3)))),
        ("args.x not in [1, 'b']", Not(Compare("in", Field(("args", "x")), Const((1, "b"))))),
        ("'x' in to", Compare("contains", Field(("to",)), Const("x"))),
        ("args.'order id' == args['a b'][0]",
         Compare("==", Field(("args", "order id")), Field(("args", "a b", 0)))),
        ("text matches '\\d+\\''", Compare("matches", Field(("text",)), Const("\\d+'"))),
        ("args.done", Truth(Field(("args", "done")))),
        ("count(a within 5 steps) <= 3", Compare("<=", Count(A, Window(5, "steps")), Const(3))),
        ("sum(args.n, when a and b within 1 h) < 9",
         Compare("<", Sum(Field(("args", "n")), And((A, B)), Window(3600.0, "seconds")), Const(9))),
        ("args.n > last(args.n, when a)", Compare(">", Field(("args", "n")), Last(("args", "n"), A))),
        ("args.n > last(args.n)", Compare(">", Field(("args", "n")), Last(("args", "n")))),
        ("a # and b\n and c", And((A, C))),
        ("forall x. event('e', x) -> once event('f', x)",
         Forall("x", Implies(event("e", "x"), Once(event("f", "x"))))),
    ],
)  # fmt: skip
def test_operators_and_how_they_bind(text: str, wanted: Any) -> None:
    assert read(text, define={name: f"tool_call('{name}')" for name in "abc"}) == wanted


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("tool('a') andd tool('b')", 11, "Did you mean 'and'?"),
        ("tool('a') && ok", 11, "write 'and'"),
        ("args.x = 3", 8, "compare with '=='"),
        ("1 < args.x < 3", 12, "do not chain"),
        ("(ok and failed", 14, "1 bracket not closed"),
        ("text == 'abc", 9, "no closing quote"),
        ("eventually(tool('a'))", 1, "responded_by_end"),
        ("tool('a') until tool('b')", 11, "since"),
        ("always ok", 1, "looks into the future"),
        ("toll('a')", 1, "Did you mean 'tool'?"),
        ("onec(tool('a'))", 1, "Did you mean 'once'?"),
        ("once within 0 steps ok", 6, "above 0"),
        ("once within 1.5 steps ok", 6, "whole"),
        ("once within 5 stps ok", 6, "Did you mean 'steps'?"),
        ("tool('a')[content == 'x']", 11, "a tool_call has no 'content' (a message or model_reply has)"),
        ("tool('a') and contnt == 'x'", 15, "Did you mean 'content'?"),
        ("outcome.valu == 3", 1, "outcome.value"),
        ("step.x == 3", 1, "has no parts"),
        ("step == 'three'", 1, "a number never equals a text"),
        ("ok < 3", 1, "no order"),
        ("args.x in 'abc'", 1, "needs a list"),
        ("tool", 1, "Did you mean tool('…')?"),
        ("tool('a')[args.n > 1] == 3", 1, "hold a place"),
        ("text matches '(?=a)b'", 14, "no look-around"),
        ("text matches '(a)\\1'", 14, "no back references"),
        ("text matches agent", 1, "in quotes"),
        ("event('b') -> once event('a', x)", 15, "no step has shown"),
        ("not event('close', f) since event('open', f)", 1, "no step has shown"),
        ("exists x. not event('a', x)", 11, "no step has shown"),
        ("event('a', x) -> y > x", 18, "neither a field of a step nor a variable"),
        ("tool('x', agent=agent)", 17, "choose another name"),
        ("tool('x', id=3)", 11, "ambiguous"),
        ("tool('x', o)", 11, "only an event's arguments have positions"),
        ("message('x', foo=3)", 14, "has no field 'foo'"),
        ("message('x', to=r) -> true", 17, "to.0=r"),
        ("[tool('a'), tool('b')]", 1, "[p, q)"),
        ("count(tool('a'))", 1, "compare it with something"),
        ("args.x / 0 == 1", 1, "division by 0"),
        ("len(step) > 3", 5, "not a number"),
        ("last(args.x + 1) == 3", 6, "takes a field"),
        ("(ok within 5 steps)", 1, "'within' belongs to"),
        ("", 1, "empty"),
        ("exists x prev ok", 8, "full stop: exists x. …"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(text: str, column: int, why: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    slip = caught.value.slips[0]
    assert slip.span.start + 1 == column, str(caught.value)
    assert why in slip.what
    assert len(str(caught.value)) < 1_500


def test_all_mistakes_at_once_in_order() -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula("toll('a') and args.x in 3 and once within 0 steps ok")
    assert [slip.span.start for slip in caught.value.slips] == [0, 14, 35]


def test_the_error_marks_the_place_in_the_formula() -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula("ok\n  and contnt == 3", where="desk.yaml:3")
    assert str(caught.value).endswith("    and contnt == 3\n        ^^^^^^")
    assert str(caught.value).startswith("desk.yaml:3: 'contnt' is neither")


def test_definitions_are_hygienic() -> None:
    define = {"other(x)": "exists y. once event('link', x, y)"}
    found = read("event('a', y) -> other(y)", define=define)
    assert found == Implies(event("a", "y"), Exists("y_2", Once(event("link", "y", "y_2"))))


def test_a_definition_takes_formulas_and_values_too() -> None:
    define = {"soon(f, n)": "f and args.n < n", "paid": "tool('pay') and ok"}
    wanted = And((call("a"), Compare("<", Field(("args", "n")), Const(3))))
    assert read("soon(tool('a'), 3)", define=define) == wanted
    assert read("once paid", define=define) == Once(And((result("pay"), OK)))


@pytest.mark.parametrize(
    ("define", "why"),
    [
        ({"a": "b", "b": "c", "c": "once a"}, "a → b → c → a"),
        ({"a": "a"}, "a → a"),
        ({"a": "ok", "a(x)": "ok"}, "defined twice"),
        ({"once(x)": "ok"}, "is defined"),
        ({"tool": "ok"}, "already has a meaning"),
        ({"a(x, x)": "ok"}, "named twice"),
        ({"a(": "ok"}, "no name of a definition"),
        ({"a": "once event('e', z)"}, "neither a field"),
    ],
)
def test_bad_definitions(define: dict[str, str], why: str) -> None:
    if "once(x)" in define:  # a keyword is never read as a call
        assert read("once(ok)", define=define) == Once(OK)
        return
    with pytest.raises(UsageError) as caught:
        parse_formula("a", define=define)
    assert why in str(caught.value) or "no step has shown" in str(caught.value)


def test_a_definition_that_explodes_is_refused() -> None:
    define = {f"a{i}": f"a{i + 1} and a{i + 1}" for i in range(14)}
    with pytest.raises(FormulaError, match="expands to"):
        parse_formula("a0", define={**define, "a14": "ok"})


def test_conditions_speak_of_one_step() -> None:
    assert plain(parse_condition("args.n > last(args.n)")) == read("args.n > last(args.n)")
    for text in ("once ok", "event('a', x) and x > 3", "[ok, failed)"):
        with pytest.raises(FormulaError, match="one step"):
            parse_condition(text)
    with pytest.raises(FormulaError, match="a message has no 'args'"):
        parse_condition("args.x > 3", kinds=("message",))


def test_paths() -> None:
    assert parse_path("args.user_id") == ("args", "user_id")
    assert parse_path("args['user id'].0") == ("args", "user id", 0)
    for bad in ("ags.user", "3", "args.", "once ok", "step.x"):
        with pytest.raises(ValueError, match=r".+"):
            parse_path(bad)


def _comparable(formula: Any) -> bool:
    """Return whether the text reads back as the very same tree: it holds no `ok` as a bare value, no
    window of 0 (which text may not have) and no atom of two kinds."""
    return not any(
        (isinstance(node, Window) and node.amount == 0)
        or (isinstance(node, Atom) and len(node.kinds) > 1)
        or isinstance(node, Truth)
        for node in nodes(formula)
    )


@settings(max_examples=300, deadline=None)
@given(formulas(("x", "y")))
def test_what_is_shown_reads_back(formula: Any) -> None:
    assume(_comparable(formula))
    try:
        again = parse_formula(show(formula), part=True)
    except FormulaError as error:
        if any(why in str(error) for why in (" has no '", "no step has shown", " no order", "never equals")):
            reject()  # what is never true of such a step is refused, and that is tested above
        raise
    renamed = show(plain(again)).replace("x_2", "x").replace("y_2", "y")
    assert renamed == show(formula) or plain(again) == formula


class Wider(Reference):
    """The reference with one more value in every domain, which no step has shown."""

    def domain(self, name: str, scope: Any, index: int) -> list[Any]:
        return [*super().domain(name, scope, index), "§"]


@settings(max_examples=400, deadline=None)
@given(formulas(("x", "y")), steps(6))
def test_for_accepted_formulas_unseen_values_change_nothing(formula: Any, trace: list[Step]) -> None:
    """The meaning of the check: quantifying over the values seen so far is quantifying over all."""
    from masfire.contracts.language.elaborate import Elaborator
    from masfire.contracts.language.monitorable import unmonitorable
    from masfire.contracts.language.surface import Node
    from masfire.contracts.language.syntax import Span

    checker = Elaborator({})
    checker._monitorable(formula, Node("start", Span()), part=False)
    assume(not checker.slips and not list(unmonitorable(formula)))
    contract = Contract("c", (Always(formula),))
    narrow, wide = Reference(contract, trace), Wider(contract, trace)
    for index in range(len(trace)):
        fails = narrow.status(index)[1]
        assert {binding for binding in wide.status(index)[1] if "§" not in str(binding)} == fails
        assert not any("§" in str(binding) for binding in wide.status(index)[1])


def test_a_refused_formula_does_depend_on_unseen_values() -> None:
    formula = parse_formula("event('b') -> once event('a', x)", part=True)
    trace = [Step(0, 0.0, "a", Action("event", "a", pack({"args": [1]}))),
             Step(1, 1.0, "a", Action("event", "b", pack({"args": []})))]  # fmt: skip
    contract = Contract("c", (Always(formula),))
    assert not Reference(contract, trace).status(1)[1]
    assert Wider(contract, trace).status(1)[1]


def test_the_naming_of_results_needs_no_outcome_field_elsewhere() -> None:
    """`ok` is false, not unknown, at a step that is no result."""
    formula = parse_formula("not ok")
    trace = [Step(0, 0.0, "a", Action("tool_call", "t", pack({"args": {}}))),
             Step(1, 0.0, "a", Observation("tool_result", "t", 0, pack(3)))]  # fmt: skip
    reference = Reference(Contract("c", (Always(formula),)), trace)
    assert [reference.value(formula, i, {}) for i in (0, 1)] == [True, False]


def test_the_language_knows_the_fields_that_the_engine_reads() -> None:
    for kind, fields in FIELDS.items():
        assert set(fields) == set(EVERYWHERE) | own_fields(kind), kind


def test_literals() -> None:
    assert read("true and false") == And((Literal(True), Literal(False)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tool('a') => tool('b')", "'implies' is '->'"),
        ("tool('a') -> ONCE tool('b')", "operators are lower case, 'once'"),
        ("tool('a') -> args.x == True", "write true"),
        ("tool('a') -> args.x == None", "write null"),
    ],
)
def test_words_of_other_languages_are_told_in_ours(text: str, words: str) -> None:
    with pytest.raises(FormulaError, match=words):
        parse_formula(text)


def test_an_alternative_without_the_variable_holds_whatever_its_value() -> None:
    formula = parse_formula("event('bid', i, a) or event('sell', i) -> once event('list', i)")
    assert show(formula) == show(
        parse_formula("(exists a. event('bid', i, a)) or event('sell', i) -> once event('list', i)")
    )


def test_a_window_without_a_unit_is_told_which_there_are() -> None:
    from masfire.contracts.loader import ContractErrors, parse_contracts

    text = (
        "masfire: contract/v1\ncontracts:\n- {id: a, pattern: at_most, when: {tool: t}, n: 1, within: 60}\n"
    )
    with pytest.raises(ContractErrors, match="'60 seconds' or '60 steps'"):
        parse_contracts(text)
