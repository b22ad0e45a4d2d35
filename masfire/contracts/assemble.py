"""Source of generated functions put together, and made into functions."""

from __future__ import annotations

import re
from typing import Any

from masfire.contracts.compile import Env
from masfire.contracts.language.syntax import Formula
from masfire.contracts.solve import Solver
from masfire.contracts.tables import RUNTIME
from masfire.contracts.values import Absence, apply, truth
from masfire.errors import UsageError

NAMESPACE = {**RUNTIME, "Absence": Absence, "apply": apply, "truth": truth}
"""The names that generated code may use."""

FAIL, UNKNOWN, WHEN, MAYBE_WHEN, ANSWER, MAYBE_ANSWER, OPEN, MAYBE_OPEN, RETIRED = range(9)
"""What generated code finds: (rule, one of these, values of the rule's variables)."""


def stamps(solver: Solver, node: Formula, certain: bool, env: Env) -> str:
    """Return the expression of (when it last began, when it last ended) of a temporal operator."""
    table = solver.table_of(node, certain, 0)
    rival = solver.rival_of(node, certain, 0)
    parts = []
    for one in (table, rival):
        text = "-1" if one is None else solver.stamp(one, 0, env)
        parts.append(f"({text})[0]" if one is not None and one.timed else f"({text})")
    return f"({', '.join(parts)})"


def build(solver: Solver, definition: str, head: list[str], tail: list[str], what: str) -> Any:
    """Return the function; raise UsageError, naming `what`, when it is nested too deeply for Python."""
    body = "\n".join([*solver.helpers, *solver.lines])
    used = set(re.findall(r"\b[itvh]\d+\b", body + "".join(tail) + (head[-1] if head else "")))
    kept = _needed(head, used)
    source = "\n".join([*solver.helpers, definition, *("    " + line for line in kept), *solver.lines, *tail])
    namespace = {**NAMESPACE, **solver.constants}
    try:
        exec(compile(source, f"<{what}>", "exec"), namespace)  # noqa: S102 - made from a validated tree
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"A formula of {what} is nested too deeply to be monitored.", hint=f"({error})"
        ) from None
    return namespace[definition.split("(")[0].removeprefix("def ")]


def _needed(head: list[str], used: set[str]) -> list[str]:
    """Return the head without names that nothing uses."""
    kept: list[str] = []
    for line in reversed(head):
        name = line.split(" = ")[0]
        if re.fullmatch(r"[ith]\d+|v[1-9]\d*", name) and name not in used:
            continue
        used |= set(re.findall(r"\b[itvh]\d+\b", line))
        kept.append(line)
    return kept[::-1]


def sees_step(source: str) -> bool:
    """Return whether generated code looks at the step itself."""
    return re.search(r"\bv0\b", source) is not None


def found_line(solver: Solver, number: int, code: int, names: tuple[str, ...], env: Env) -> None:
    """Write that something was found for these values of the rule's variables."""
    solver.effects += 1
    solver.answers += code == ANSWER
    values = "".join(f"{env[name]}, " for name in names)
    solver.line("if out is None: out = []")
    solver.line(f"out.append(({number}, {code}, ({values})))")


def passed_line(solver: Solver) -> None:
    """Write that the rule applied and was not violated."""
    solver.effects += 1
    solver.line("ok = True")
