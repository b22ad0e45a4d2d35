r"""Formulas and conditions from text.

A formula speaks of the current step and its past. From loosest to tightest::

    A <-> B      A -> B (right associative; at the top, a false A makes the step vacuous)
    A or B       A and B       A since B
    not A        prev A        once A        historically A
    exists x. A  forall x. A   (as far to the right as it goes)
    a == b  !=  <  <=  >  >=   in [...]  not in [...]  contains  startswith  endswith  matches 'RE2'
    a + b  -     a * b  /  %   -a

Atoms: ``tool('pay')``, ``tool('pay', order=o)[args.amount > 10]``, ``event('open', f, 'r')``,
``message('planner', to='x')``, ``step()``, a step's kind (``model_call``), a bare condition on a field,
``ok``, ``failed``, ``present(args.x)``. ``*`` in a name matches any text, ``_`` any argument.
``tool('x')`` is the call, unless its condition, a conjunct beside it or the other side of an
implication speaks of the outcome (``ok``, ``failed``, ``outcome``, ``result``, ``error``): then it is
the result.

A window follows its operator, ``once within 5 steps (A)``, ``A since within 10 seconds B``, or ends the
brackets, ``once(A within 5 steps)``; units: steps, ms, s, seconds, minutes, hours, days.
``[A, B)`` is: A has happened and B not since. ``count(A within 1 minute) <= 3``,
``sum(args.amount, when A within 5 steps)``, ``last(args.amount, when A)`` are values, as are ``abs``,
``len``, ``lower``, ``upper``, ``number``, ``text`` of one. ``#`` starts a comment.

A path part with odd characters is quoted: ``args.'order id'`` or ``args['order id']``. In texts, ``\'``,
``\"``, ``\\``, ``\n`` and ``\t`` are escapes; any other backslash stays, so that patterns read well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from masfire.contracts.language.atoms import ATOMS, speaks_of_outcome
from masfire.contracts.language.checks import nodes
from masfire.contracts.language.elaborate import Elaborator
from masfire.contracts.language.fields import ALL_KINDS, NAMES, shape
from masfire.contracts.language.scope import Definition, Scope
from masfire.contracts.language.surface import Mistaken, Slip, parse
from masfire.contracts.language.syntax import Formula, Path, Span
from masfire.contracts.language.terms import FOLDS, FUNCTIONS, field_path
from masfire.errors import UsageError

_SIGNATURE = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)?\s*\)\s*)?")


class FormulaError(UsageError):
    """A formula that cannot be read; `slips` lists every mistake with its place in the text."""

    def __init__(self, text: str, slips: tuple[Slip, ...], *, where: str = "") -> None:
        self.text, self.slips = text, slips
        lines = [f"{slip.what}\n{excerpt(text, slip.span)}" for slip in slips]
        super().__init__("\n".join(lines), where=where)


class Definitions(Struct, frozen=True):
    """Named sub-formulas, read once and used by many formulas."""

    by_name: dict[str, Definition] = {}


def parse_formula(
    text: str,
    *,
    define: Mapping[str, str] | Definitions | None = None,
    where: str = "",
    part: bool = False,
) -> Formula:
    """Return the formula in `text`; raise FormulaError with every mistake.

    `part`: it becomes a part of a rule (a pattern's `when`), so its free variables may be bound there.

    `define` holds named sub-formulas, {"live(c, m)": "once event('create', m, c)"}; `where` is what
    errors call the place.
    """
    return _parse(text, define, where, ALL_KINDS, part=part)


def parse_condition(
    text: str,
    *,
    define: Mapping[str, str] | Definitions | None = None,
    where: str = "",
    kinds: tuple[str, ...] = (),
) -> Formula:
    """Return a condition on one step (`where:` in YAML), of one of `kinds` if given.

    It may compare with `last`, `count` and `sum`, but holds no operators of time and no variables.
    """
    formula = _parse(text, define, where, frozenset(kinds) or ALL_KINDS, part=True)
    for node in nodes(formula):
        if type(node).__name__ in (
            "Prev",
            "Once",
            "Historically",
            "Since",
            "Interval",
            "Exists",
            "Forall",
            "Var",
        ):
            span = getattr(node, "span", Span(0, len(text)))
            what = "a condition speaks of one step; operators of time and variables belong into 'formula:'"
            raise FormulaError(text, (Slip(span, what),), where=where)
    return formula


def read_definitions(define: Mapping[str, str]) -> Definitions:
    """Return named sub-formulas read from text; raise FormulaError for the first bad one.

    Names must be new words, parameters differ, and no definition may use itself.
    """
    found: dict[str, Definition] = {}
    for signature, text in define.items():
        try:
            definition = read_definition(signature, text)
        except Mistaken as error:
            raise FormulaError(text, error.slips, where=f"define {signature}") from None
        if definition.name in found:
            raise UsageError(f"{definition.name!r} is defined twice.", where="define")
        found[definition.name] = definition
    for name in found:
        chain = cycle(name, found)
        if chain:
            raise UsageError(f"A definition cannot use itself: {' → '.join(chain)}.", where="define")
    return Definitions(found)


def read_definition(signature: str, text: str) -> Definition:
    """Return one definition; raise Mistaken with its mistakes."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        raise Mistaken(
            Slip(Span(), f"{signature[:80]!r} is no name of a definition; write name or name(a, b)")
        )
    name = match.group(1)
    parameters = tuple(part.strip() for part in (match.group(2) or "").split(",") if part.strip())
    taken = {*ATOMS, *FUNCTIONS, *FOLDS, *NAMES, "present", "ok", "failed"}
    if name in taken:
        raise Mistaken(Slip(Span(), f"{name!r} already has a meaning; choose another name"))
    bad = [part for part in parameters if part in taken or part == "_"]
    if bad or len(set(parameters)) < len(parameters):
        why = f"parameter {bad[0]!r} already has a meaning" if bad else "a parameter is named twice"
        raise Mistaken(Slip(Span(), f"{signature[:80]!r}: {why}"))
    return Definition(name, parameters, parse(text))


def cycle(name: str, definitions: Mapping[str, Definition]) -> tuple[str, ...]:
    """Return the chain by which a definition uses itself, or nothing."""
    chains: list[tuple[str, ...]] = [(name,)]
    seen: set[str] = set()
    while chains:
        chain = chains.pop()
        for used in sorted(_used(definitions[chain[-1]], definitions)):
            if used == name:
                return (*chain, name)
            if used not in seen:
                seen.add(used)
                chains.append((*chain, used))
    return ()


def _used(definition: Definition, definitions: Mapping[str, Definition]) -> set[str]:
    found, stack = set(), [definition.body]
    while stack:
        node = stack.pop()
        stack.extend(node.children)
        path: Path = node.value[0] if node.kind == "call" else node.value if node.kind == "name" else ()
        word = str(path[0]) if len(path) == 1 else ""
        if word in definitions and word not in definition.parameters:
            found.add(word)
    return found


def parse_path(text: str) -> Path:
    """Return a field path written as in formulas (`args.user_id`); raise ValueError with the reason."""
    try:
        node = parse(text)
    except Mistaken as error:
        raise ValueError(f"{text[:80]!r} is no field: {error.slips[0].what}") from None
    path = field_path(Elaborator({}), node, Scope())
    if path is None:
        raise ValueError(f"{text[:80]!r} is no field; write one as in args.user_id")
    what = shape(path, ALL_KINDS)[1]
    if what:
        raise ValueError(what)
    return path


def asks_outcome(text: str) -> bool:
    """Return whether a condition's text speaks of what came back (ok, failed, outcome, result, error)."""
    try:
        return speaks_of_outcome(parse(text), Scope())
    except Mistaken:
        return False


def _parse(
    text: str,
    define: Mapping[str, str] | Definitions | None,
    where: str,
    kinds: frozenset[str],
    *,
    part: bool = False,
) -> Formula:
    definitions = define if isinstance(define, Definitions) else read_definitions(define or {})
    try:
        node = parse(text)
    except Mistaken as error:
        raise FormulaError(text, error.slips, where=where) from None
    elaborator = Elaborator(definitions.by_name)
    formula = elaborator.whole(node, kinds, part=part)
    if elaborator.slips:
        unique = sorted(dict.fromkeys(elaborator.slips), key=lambda slip: (slip.span.start, slip.what))
        raise FormulaError(text, tuple(unique), where=where)
    return formula


def excerpt(text: str, span: Span) -> str:
    """Return the line of a text that a span lies in, with a mark under it."""
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.start)
    line = text[start : end if end >= 0 else len(text)]
    column, width = span.start - start, max(1, min(span.end, start + len(line)) - span.start)
    cut = max(0, column - 60)
    shown = line[cut : cut + 100]
    return f"  {shown}\n  {' ' * (column - cut)}{'^' * min(width, max(1, len(shown) - column + cut))}"
