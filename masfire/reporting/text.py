"""A campaign's summary as a table: for the terminal, and in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from masfire.campaign.summary import Summary, SystemSummary
from masfire.reporting.words import (
    cell_lines,
    cell_of,
    counts,
    headline,
    interval,
    number,
    remarks,
    rows,
    states_of,
)

if TYPE_CHECKING:
    from rich.table import Table

CONTROL = "(no fault)"


def campaign_tables(summary: Summary, *, width: int) -> list[Table]:
    """Return the table fault by system for a terminal, in as many parts as its `width` needs."""
    fixed = max([len(fault) for fault, _ in rows(summary)], default=0) + 36
    column = max([24, *(len(system.name) for system in summary.systems)]) + 2
    fitting = max(1, (width - fixed) // column)
    systems = summary.systems
    parts = [systems[start : start + fitting] for start in range(0, len(systems), fitting)]
    return [_table(summary, part) for part in parts]


def _table(summary: Summary, systems: list[SystemSummary]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("fault", no_wrap=True, overflow="fold")
    table.add_column("times")
    for system in systems:
        table.add_column(Text(system.name), no_wrap=True)
    table.add_column("injections", overflow="fold")
    table.add_row(CONTROL, "", *map(_control_text, systems), "", end_section=True)
    for fault, times in rows(summary):
        cells = [cell_of(summary, fault, times, system.name) for system in systems]
        texts = []
        for cell in cells:
            first, second = cell_lines(cell)
            style = {"invalid": "yellow", "short": "yellow", "inapplicable": "dim"}.get(cell.verdict, "bold")
            texts.append(Text.assemble((first, style), "\n", (second, "dim")))
        table.add_row(Text(fault), times, *texts, Text(counts(states_of(summary, fault, times))))
    return table


def campaign_markdown(summary: Summary) -> str:
    """Return the same table in Markdown, with its headline and remarks."""
    systems = [system.name for system in summary.systems]
    lines = [headline(summary), ""]
    lines.append(f"| fault | times | {' | '.join(map(_escape, systems))} | injections |")
    lines.append(f"|---|---|{'---|' * len(systems)}---|")
    controls = [" ".join(_control(system)) for system in summary.systems]
    lines.append(f"| {CONTROL} | | {' | '.join(controls)} | |")
    for fault, times in rows(summary):
        cells = [" ".join(cell_lines(cell_of(summary, fault, times, name))) for name in systems]
        states = counts(states_of(summary, fault, times))
        lines.append(f"| {_escape(fault)} | {times} | {' | '.join(cells)} | {states} |")
    return "\n".join([*lines, "", *(f"* {_escape(remark)}" for remark in remarks(summary)), ""])


def _control(system: SystemSummary) -> tuple[str, str]:
    rate = system.control
    solved = f"{len(system.solved)} of {system.tasks} tasks solved"
    return (f"{number(rate.rate)} n={rate.n} {interval(rate)}".strip(), solved)


def _control_text(system: SystemSummary) -> str:
    return "\n".join(_control(system))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
