"""One contract file turned into contracts: what was written becomes rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from msgspec import Struct
from msgspec.structs import replace
from pydantic import ValidationError

from masfire.contracts import fileformat, signatures, validation
from masfire.contracts.examples import Examples
from masfire.contracts.fileformat import Common, FormulaContract, PayloadContract
from masfire.contracts.language import checks
from masfire.contracts.language.formula import (
    Definitions,
    FormulaError,
    cycle,
    excerpt,
    parse_condition,
    parse_formula,
    parse_path,
    read_definition,
)
from masfire.contracts.language.monitorable import unbound_response, unmonitorable
from masfire.contracts.language.selector import Selector, formula_of, kinds_of
from masfire.contracts.language.surface import Mistaken, Slip
from masfire.contracts.language.syntax import And, Formula, Literal
from masfire.contracts.language.syntax import Path as StepPath
from masfire.contracts.model import Always, AtEnd, Contract, Custom, Payload, Response, Retire, Rule
from masfire.contracts.patterns import PATTERNS, rules_of_pattern
from masfire.contracts.patterns.pattern import window
from masfire.errors import UnknownName, UsageError
from masfire.yamlfile import (
    MAX_MISTAKES,
    Mistake,
    Unreadable,
    at,
    column_of,
    compose,
    construct,
    line_of,
    place_within,
    repeated_keys,
    short,
)

_TOP = ("masfire", "define", "contracts")


class Entry(Struct, frozen=True):
    """A contract with what its file says of it; `column` is where it starts."""

    contract: Contract
    written: Any
    column: int = 0

    @property
    def examples(self) -> Examples | None:
        """Return the contract's own examples, if it has any."""
        found: Examples | None = self.written.examples
        return found


class FileReading:
    """Reads one file; `mistakes` holds what is wrong, `excerpts` the formulas they are in."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.mistakes: list[Mistake] = []
        self.excerpts: dict[Mistake, str] = {}
        self.root: Any = None

    # -- the file -------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Return the contracts that can be read; look at `mistakes` before using them."""
        try:
            root = compose(self.text, plain=True)
        except Unreadable as error:
            self.mistakes.append(error.mistake)
            return []
        if not isinstance(root, yaml.MappingNode):
            self._say(root, "A contract file is a mapping that starts with 'masfire: contract/v1'.")
            return []
        self.root = root
        signatures.rejoin(root)
        self.mistakes += list(repeated_keys(root))[:MAX_MISTAKES]
        data = construct(root)
        self._top(data)
        define = self._definitions(data.get("define"), ("define",), Definitions())
        contracts = data.get("contracts")
        if not isinstance(contracts, list) or not contracts:
            self._say(at(root, ("contracts",)) or root, "'contracts' is a list of at least one contract.")
            return []
        found = []
        for index, raw in enumerate(contracts):
            if len(self.mistakes) > MAX_MISTAKES:
                break
            entry = self._entry(raw, ("contracts", index), define)
            if entry is not None:
                found.append(entry)
        return found

    def _top(self, data: Mapping[str, Any]) -> None:
        version = data.get("masfire")
        if version != fileformat.VERSION:
            shown = f" (got {short(repr(version))})" if version is not None else ""
            self._say(
                at(self.root, ("masfire",)) or self.root,
                f"A contract file says 'masfire: {fileformat.VERSION}'{shown}.",
            )
        for key, _ in self.root.value:
            if str(key.value) not in _TOP:
                self._say(key, str(UnknownName("key", short(str(key.value)), _TOP)))

    def _definitions(self, raw: Any, place: tuple[str | int, ...], outer: Definitions) -> Definitions:
        """Return the named sub-formulas at `place` together with those of the file."""
        found = dict(outer.by_name)
        if raw is None:
            return outer
        if not isinstance(raw, Mapping):
            self._say(
                at(self.root, place),
                "'define' maps names to formulas: 'live(c, m)': once event('create', m, c).",
            )
            return outer
        for signature, text in raw.items():
            here = (*place, signature)
            if not isinstance(text, str):
                self._say(at(self.root, here), f"What {signature!r} stands for is a formula in quotes.")
                continue
            try:
                definition = read_definition(signature, text)
            except Mistaken as error:
                self._slips(error.slips, text, here)
                continue
            if definition.name in found:
                self._say(at(self.root, here), f"{definition.name!r} is defined twice.")
            found[definition.name] = definition
            chain = cycle(definition.name, found)
            if chain:
                self._say(at(self.root, here), f"A definition cannot use itself: {' → '.join(chain)}.")
                del found[definition.name]
        return Definitions(found)

    # -- one contract ---------------------------------------------------------------------------

    def _entry(self, raw: Any, place: tuple[str | int, ...], define: Definitions) -> Entry | None:
        node = at(self.root, place)
        model = self._form(raw, node)
        if model is None or node is None:
            return None
        try:
            written = model.model_validate(raw)
        except ValidationError as error:
            prefix = f"Contract {raw['id']!r}: " if isinstance(raw.get("id"), str) else ""
            for mistake in validation.explained(error, raw, node, model):
                self.mistakes.append(Mistake(mistake.line, prefix + mistake.what, mistake.column))
            try:  # the rest may have mistakes, too
                written = model.model_validate(validation.without_unknown_keys(error, raw))
            except ValidationError:
                return None
        define = self._definitions(written.define or None, (*place, "define"), define)
        before = len(self.mistakes)
        compiled = _Compilation(self, written, place, define)
        contract = compiled.contract(f"{self.name}:{line_of(node)}")
        if len(self.mistakes) == before:
            self._monitorable(contract, node)
        if len(self.mistakes) == before:
            self._programmable(contract, node, place)
        return Entry(contract, written, column_of(node))

    def _form(self, raw: Any, node: yaml.Node | None) -> type[Common] | None:
        """Return the model of a contract: by formula, by pattern, or by payload schema."""
        if not isinstance(raw, Mapping):
            self._say(
                node, "A contract is a mapping with an id and a formula, a pattern, or when and schema."
            )
            return None
        named = [key for key in ("formula", "pattern", "schema") if key in raw]
        prefix = f"Contract {short(str(raw.get('id', '?')))!r}"
        if len(named) != 1:
            said = f"has {' and '.join(named)}" if named else "has none"
            known = {*Common.model_fields, *named, "when"}
            keys = [str(key) for key in raw if key not in known]
            hints = (str(validation.near(key, ("formula", "pattern", "schema"))) for key in keys)
            hint = next((hint for hint in hints if hint), "")
            self._say(
                node, f"{prefix} needs one of formula, pattern, or schema (with when); it {said}.{hint}"
            )
            return None
        if named == ["formula"]:
            return FormulaContract
        if named == ["schema"]:
            return PayloadContract
        pattern = raw["pattern"]
        if not isinstance(pattern, str) or pattern not in PATTERNS:
            self._say(
                at(node, ("pattern",)) if node is not None else None,
                f"{prefix}: {UnknownName('pattern', short(str(pattern)), PATTERNS.names())}",
            )
            return None
        return fileformat.pattern_model(pattern)

    def _monitorable(self, contract: Contract, node: yaml.Node) -> None:
        for rule in contract.rules:
            for what in _hanging(rule):
                self._say(node, f"Contract {contract.id!r}: {what}")

    def _programmable(self, contract: Contract, node: yaml.Node, place: tuple[str | int, ...]) -> None:
        """Note what cannot be judged as the contract is written, at the formula that is at fault."""
        from masfire.contracts.program import Program

        prefix = f"Contract {contract.id!r}: "
        try:
            Program(contract)
            return
        except UsageError as error:
            whole = f"{prefix}{error.message} {error.hint}".rstrip()
        before = len(self.mistakes)
        for index, rule in enumerate(contract.rules):
            try:
                Program(replace(contract, rules=(rule,), retire=None))
            except UsageError as error:
                places = ((*place, "formula", index), (*place, "formula"))
                found = next((each for each in (at(self.root, here) for here in places) if each), node)
                self._say(found, f"{prefix}{error.message} {error.hint}".rstrip())
        if len(self.mistakes) == before:
            self._say(node, whole)

    # -- mistakes -------------------------------------------------------------------------------

    def _say(self, node: yaml.Node | None, what: str) -> None:
        where = (line_of(node), column_of(node)) if node is not None else (1, 0)
        self.mistakes.append(Mistake(where[0], what, where[1]))

    def _slips(
        self, slips: tuple[Slip, ...], text: str, place: tuple[str | int, ...], prefix: str = ""
    ) -> None:
        """Note the mistakes of a formula where they stand in the file."""
        node = at(self.root, place)
        where = place_within(node, self.text) if isinstance(node, yaml.ScalarNode) else None
        for slip in slips:
            line, column = where(slip.span.start) if where else (line_of(node) if node else 1, 0)
            mistake = Mistake(line, f"{prefix}{slip.what}", column)
            self.mistakes.append(mistake)
            self.excerpts[mistake] = excerpt(text, slip.span)

    say, slips = _say, _slips


class _Compilation:
    """Compiles one written contract."""

    def __init__(
        self, file: FileReading, written: Common, place: tuple[str | int, ...], define: Definitions
    ) -> None:
        self.file, self.written, self.place, self.define = file, written, place, define
        self.prefix = f"Contract {written.id!r}: "

    def contract(self, where: str) -> Contract:
        written = self.written
        rules = self._rules()
        if written.order == "causal" and any(isinstance(rule, Custom) for rule in rules):
            self._say(
                ("order",),
                f"pattern {getattr(written, 'pattern', '')!r} is judged in recorded order only; "
                "leave 'order' out.",
            )
        return Contract(
            id=written.id,
            rules=rules,
            where=where,
            description=written.description,
            catches=self._catches(),
            severity=written.severity,
            enforce=written.enforce,
            order=written.order,
            key=tuple(self._path(text, ("key",), index) for index, text in enumerate(written.key or ())),
            retire=self._retire(),
            pattern=str(getattr(written, "pattern", "")),
            tags=tuple(written.tags),
        )

    def _rules(self) -> tuple[Rule, ...]:
        written = self.written
        if isinstance(written, FormulaContract):
            listed = isinstance(at(self.file.root, (*self.place, "formula")), yaml.SequenceNode)
            return tuple(
                Always(self._formula(text, ("formula", index) if listed else ("formula",)), text)
                for index, text in enumerate(written.formula)
            )
        if isinstance(written, PayloadContract):
            return self._payload(written)
        try:
            return rules_of_pattern(
                getattr(written, "pattern"),  # noqa: B009 - only the pattern's own model has it
                fileformat.own_fields(written),
                read=self._read,
            )
        except UsageError as error:
            self._say((), str(error))
            return ()

    def _payload(self, written: PayloadContract) -> tuple[Rule, ...]:
        from masfire.contracts.payload import compile_schema

        when = self._read(written.when, "when")
        kinds = checks.kinds_of(when)
        if written.where:
            asked = self._condition(written.where, ("where",), tuple(kinds))
            when = And((when, asked))
        path = self._path(written.path, ("path",)) if written.path is not None else _payload_path(kinds)
        if not path:
            told = ", ".join(sorted(kinds))
            self._say(
                ("when",), f"'when' picks several kinds of step ({told}); say which field with 'path:'."
            )
        try:
            compile_schema(written.payload_schema)
        except UsageError as error:
            self._say(("schema",), str(error))
        return (Payload(when, written.payload_schema, path or ("args",)),)

    def _read(self, value: Selector | str, field: str) -> Formula:
        """Return the formula of a selector or a text in the pattern's `field`."""
        place = tuple(int(part) if part.isdecimal() else part for part in field.split("."))
        if isinstance(value, str):
            return self._formula(value, place, part=True)
        return formula_of(value, lambda text: self._condition(text, (*place, "where"), kinds_of(value)))

    def _formula(self, text: str, place: tuple[str | int, ...], *, part: bool = False) -> Formula:
        try:
            return parse_formula(text, define=self.define, part=part)
        except FormulaError as error:
            self.file.slips(error.slips, text, (*self.place, *place), self.prefix)
            return Literal(False)

    def _condition(self, text: str, place: tuple[str | int, ...], kinds: tuple[str, ...]) -> Formula:
        try:
            return parse_condition(text, define=self.define, kinds=kinds)
        except FormulaError as error:
            self.file.slips(error.slips, text, (*self.place, *place), self.prefix)
            return Literal(False)

    def _path(self, text: str, place: tuple[str | int, ...], index: int | None = None) -> StepPath:
        node = at(self.file.root, (*self.place, *place))
        if index is not None and isinstance(node, yaml.SequenceNode):
            place = (*place, index)
        try:
            return parse_path(text)
        except ValueError as error:
            self._say(place, f"{error}.")
            return ("args",)

    def _catches(self) -> tuple[str, ...]:
        from masfire.taxonomy import load

        found = []
        for index, name in enumerate(self.written.catches):
            try:
                found.append(load().entry(name).name)
            except UnknownName as error:
                self._say(("catches", index), f"{error.message} {error.hint}")
        return tuple(found)

    def _retire(self) -> Retire | None:
        retire = self.written.retire
        if retire is None:
            return None
        return Retire(
            at=None if retire.at is None else self._read(retire.at, "retire.at"),
            after=None if retire.after is None else window(retire.after),
            keys=retire.keys,
        )

    def _say(self, place: tuple[str | int, ...], what: str) -> None:
        node = at(self.file.root, (*self.place, *place)) or at(self.file.root, self.place)
        self.file.say(node, self.prefix + what)


def _hanging(rule: Rule) -> Iterator[str]:
    """Yield why a rule's truth hangs on values that no step has shown."""
    match rule:
        case Always(formula=formula) | AtEnd(formula=formula):
            yield from unmonitorable(formula)
        case Response(trigger=trigger, response=response):
            yield from unbound_response(trigger, response)
        case _:
            return


def _payload_path(kinds: frozenset[str]) -> StepPath:
    """Return the field that a payload schema speaks of by default; empty when kinds differ."""
    defaults: dict[str, StepPath] = {
        "message": ("content",), "model_call": ("request",), "model_reply": ("result",),
        "tool_result": ("result",), "memory_value": ("result",), "decision": (),
    }  # fmt: skip
    found = {defaults.get(kind, ("args",)) for kind in kinds}
    return found.pop() if len(found) == 1 else ()
