"""The finding of a cascade measurement in lines and as a figure."""

from __future__ import annotations

from collections.abc import Iterator

from masfire.campaign.cells import STUB
from masfire.campaign.spreading import Finding, Spread
from masfire.metrics.statistics import Proportion
from masfire.reporting.cascade import spark
from masfire.reporting.curves import Curve, panels_svg

LEGEND = (
    "at: the model call before which the correction came; runs: those in which the claim (and the",
    "correction) was put before its reader, of all; ever, end: mean share of the agents that took the claim",
    "over, that hold it when the run ends; left: runs in which it left the attacked agent; solved: runs that",
    "solved the task all the same; |hops|: mean share reached after 0, 1, 2… adoptions; |turns|: mean share",
    "holding it after each turn; -: measured in no run.",
)
"""What the columns of a finding's table mean."""


def finding_lines(found: Finding) -> Iterator[str]:
    """Yield the lines that tell a finding: a row a cell, what the columns are, then what it means."""
    for name, solved in found.clean.items():
        yield f"{name}: {_of(solved)} clean tasks solved"
    yield ""
    yield "system     model  place  packaging    at  runs     ever   end   left solved  |hops| |turns|"
    for cell in found.cells:
        yield (
            f"{cell.system:<10} {cell.model:<6} {cell.placement:<6} {cell.packaging:<12} "
            f"{cell.correction or '-':>2} {cell.runs:>3}/{cell.asked:<3} {_share(cell.peak)} "
            f"{_share(cell.final)} {_of(cell.success):>6} {_of(cell.useful):>6}  "
            + (f"|{spark(cell.hops)}| |{spark(cell.curve)}|" if cell.runs else "-")
        )
    yield ""
    yield from LEGEND
    yield ""
    yield from found.sentences


def _share(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.0%}"


def finding_svg(found: Finding) -> str:
    """Return the figure of a finding: mean coverage over hops (turns, for inertia), a panel a system."""
    turns = found.measurement == "inertia"
    models = {cell.model for cell in found.cells}
    panels: dict[str, list[Curve]] = {}
    for cell in found.cells:
        if cell.runs:
            group = cell.model if len(models) > 1 else ""
            values = cell.curve if turns else cell.hops
            panels.setdefault(cell.system, []).append(
                Curve(_name(found.measurement, cell), values, group, bool(group) and cell.model == STUB)
            )
    up = "agents that hold it; at n: corrected before model call n" if turns else "agents reached"
    dashed = "; dashed: the stub, a perfect copier" if len(models) > 1 else ""
    return panels_svg(
        panels,
        title=f"{found.measurement}: how far the claim comes",
        x="turn" if turns else "hop (adoptions from the first one)",
        note=f"up: {up}{dashed}; lines that coincide are told as one (=)",
    )


def _name(measurement: str, cell: Spread) -> str:
    """Return what makes a cell differ from the others of its system and model."""
    if measurement == "inertia":
        return f"at {cell.correction}" if cell.correction else "never corrected"
    return f"{cell.placement} {cell.packaging}" if measurement == "sensitivity" else cell.packaging


def _of(share: Proportion) -> str:
    return f"{share.successes}/{share.n}" if share.n else "-"


__all__ = ["finding_lines", "finding_svg"]
