"""The words and numbers in which a campaign's summary is told, whatever the medium."""

from __future__ import annotations

from collections import Counter

from masfire.campaign.summary import CellSummary, Rate, Recurrences, Summary
from masfire.reporting.printable import printable

NOTHING = "\N{EN DASH}"
_LEGEND = (
    "RS_f: share of witnessed runs that still solve a task which the fault-free system solves, with n "
    "and 95 % Wilson interval; r: RS_f / RS_control."
)


def number(value: float | None) -> str:
    """Return a rate or ratio with two decimals, or a dash for none."""
    return NOTHING if value is None else f"{value:.2f}"


def interval(rate: Rate) -> str:
    """Return the Wilson interval of a rate, or nothing when there is no data."""
    return "" if rate.low is None or rate.high is None else f"[{rate.low:.2f}, {rate.high:.2f}]"


def counts(states: dict[str, int]) -> str:
    """Return counts by name, the most frequent first.

    >>> counts({"not_exposed": 1, "witnessed": 6})
    '6 witnessed, 1 not exposed'
    """
    ordered = sorted(states.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in ordered if n) or "none"


def cell_lines(cell: CellSummary) -> tuple[str, str]:
    """Return what a cell says in two short lines: the rate with n, then interval and ratio."""
    if cell.verdict == "inapplicable":
        return NOTHING, "inapplicable"
    if cell.verdict == "invalid":
        return "invalid", f"0 of {sum(cell.states.values())} witnessed"
    mark = " short" if cell.verdict == "short" else ""
    return f"{number(cell.rs.rate)} n={cell.rs.n}{mark}", f"{interval(cell.rs)} r={number(cell.ratio)}"


def against_control(summary: Summary, cell: CellSummary) -> str:
    """Return a cell's ratio to the controls in words, or why there is none."""
    if cell.ratio is not None:
        return f"{number(cell.ratio)} of control"
    return "too few controls to compare" if _uncontrolled(summary) else "no control to compare"


def _uncontrolled(summary: Summary) -> list[str]:
    """Return the systems that solved tasks, but with too few fault-free runs a task for RS_control."""
    alone = len(summary.control_seeds) < 2
    return [one.name for one in summary.systems if alone and one.solved and one.control.rate is None]


def rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the (fault, times) of the table's rows, in the plan's order."""
    return list(dict.fromkeys((cell.fault, cell.times) for cell in summary.cells))


def cell_of(summary: Summary, fault: str, times: str, system: str) -> CellSummary:
    """Return the cell at a row and a column."""
    return next(
        cell for cell in summary.cells if (cell.fault, cell.times, cell.system) == (fault, times, system)
    )


def states_of(summary: Summary, fault: str, times: str) -> dict[str, int]:
    """Return the injections of a row by final state, over all systems."""
    total: Counter[str] = Counter()
    for cell in summary.cells:
        if (cell.fault, cell.times) == (fault, times):
            total.update(cell.states)
    return dict(total)


def headline(summary: Summary) -> str:
    """Return what was run, in a sentence."""
    systems = len(summary.systems)
    faults = len({cell.fault for cell in summary.cells})
    witnessed = sum(cell.states.get("witnessed", 0) for cell in summary.cells)
    return (
        f"{_plural(systems, 'system')} under {_plural(faults, 'fault')}: "
        f"{_plural(summary.runs, 'injected run')}, {witnessed} of them witnessed, "
        f"beside {_plural(summary.controls, 'fault-free control')}."
    )


def remarks(summary: Summary) -> list[str]:
    """Return what a reader must know to judge the numbers, one sentence each."""
    model = summary.model
    found = [_LEGEND]
    if model.name:
        heat = "the systems' own" if model.temperature is None else f"{model.temperature:g}"
        place = "local" if model.local else model.endpoint
        named = "none" if model.stub == "only" else f"{model.name} ({place}), temperature {heat}"
        found.append(f"Model: {named}; seeds {_list(summary.control_seeds)}.")
    asked = model.replies.get("cache", 0) + model.replies.get("live", 0)
    if model.cache and asked:
        saved = model.replies.get("cache", 0)
        found.append(f"Reply cache on: {saved} of {asked} model replies ({saved / asked:.0%}) came from it.")
    if model.replies.get("stub"):
        found.append(
            f"Stub control: {model.replies['stub']} replies were written by a perfect copier, not by a "
            "model; its systems are marked ~stub."
        )
    for system in summary.systems:
        if not system.solved:
            why = f" Its errors: {'; '.join(printable(text, limit=200) for text in system.errors)}."
            found.append(
                f"{system.name} solved none of {_plural(system.tasks, 'task')} without faults, so none was "
                f"injected.{why if system.errors else ''}"
            )
    alone = _uncontrolled(summary)
    if alone:
        found.append(
            f"No r for {', '.join(alone)}: whether a solved task is solved again takes at least 2 fault-free "
            f"runs of it, and the plan had {len(summary.control_seeds)}. Give it controls: 3 or more."
        )
    for verdict, why in (
        ("invalid", "not one injection was witnessed, so the cell says nothing"),
        ("short", f"fewer than the {summary.wanted} witnessed runs the plan wants"),
    ):
        names = [_unsaid(cell) for cell in summary.cells if cell.verdict == verdict]
        if names:
            found.append(f"{verdict.capitalize()} ({why}): {'; '.join(names)}.")
    unjudged = sum(cell.unjudged for cell in summary.cells)
    if unjudged:
        found.append(f"{_plural(unjudged, 'witnessed run')} could not be judged: the check itself failed.")
    found += _compliance(summary)
    if summary.recurrences is not None:
        found.append(_recurrences(summary.recurrences))
    if not summary.complete:
        found.append("This campaign is not complete: go on with it by --resume.")
    return found


def _unsaid(cell: CellSummary) -> str:
    """Return the name of a cell that does not say what it was asked, with the most frequent reason."""
    why = f" ({printable(cell.reasons[0], limit=200)})" if cell.reasons else ""
    return f"{cell.fault} {cell.times} on {cell.system}{why}"


def _recurrences(known: Recurrences) -> str:
    """Return which failures the memory knew."""
    if not known.known:
        return f"Recurrences: the memory knew none of {_plural(known.failed, 'failed run')}."
    faults: Counter[str] = Counter()
    for error in known.errors:
        faults[printable(error.fault, limit=80)] += len(error.runs)
    failed = _plural(known.failed, "failed run")
    return f"Recurrences: the memory knew {known.known} of {failed}: {counts(faults)}."


def _compliance(summary: Summary) -> list[str]:
    """Return how far the plan's contracts were kept, and which ones were violated or never applied."""
    found = []
    for kind, words in (("controls", "Fault-free runs"), ("injected", "Witnessed runs")):
        kept = summary.compliance.get(kind)
        if kept is None:
            continue
        rate, steps = kept.runs, kept.steps
        apart = f"; {_plural(kept.inconclusive, 'step')} could not be judged" if kept.inconclusive else ""
        found.append(
            f"{words} that keep every contract: {number(rate.rate)} n={rate.n} {interval(rate)}".rstrip()
            + f"; steps that pass: {number(steps.rate)} n={steps.n}{apart}."
        )
    broken = [
        f"{one.contract} ({one.controls.get('violated', 0)} of {sum(one.controls.values())} fault-free, "
        f"{one.injected.get('violated', 0)} of {sum(one.injected.values())} witnessed)"
        for one in summary.contracts
        if one.controls.get("violated") or one.injected.get("violated")
    ]
    if broken:
        found.append(f"Violated contracts: {'; '.join(broken)}.")
    never = [one.contract for one in summary.contracts if not {*one.controls, *one.injected} - {"vacuous"}]
    if never:
        found.append(f"Contracts that never applied: {', '.join(never)}.")
    return found


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _list(items: list[int]) -> str:
    if len(items) > 2 and items == list(range(items[0], items[-1] + 1)):
        return f"{items[0]}{NOTHING}{items[-1]}"
    return ", ".join(map(str, items))
