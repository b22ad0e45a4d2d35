"""The finding of a cascade measurement in lines and as a figure."""

from __future__ import annotations

from collections.abc import Iterator

from masfire.campaign.spreading import Finding, Spread
from masfire.metrics.statistics import Proportion
from masfire.reporting.cascade import curves_svg, spark

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
    """Return the figure of a finding: mean coverage over hops (turns, for inertia), one curve a cell."""
    turns = found.measurement == "inertia"
    packaging = found.cells[0].packaging if found.cells else ""
    shown = [cell for cell in found.cells if cell.runs and (turns or cell.packaging == packaging)]
    curves = {_legend(cell): cell.curve if turns else cell.hops for cell in shown}
    title = f"{found.measurement}: mean coverage" + ("" if turns else f", packaging {packaging}")
    return curves_svg(curves, title=title, x="turn" if turns else "hop")


def _legend(cell: Spread) -> str:
    where = f" {cell.placement}" if cell.placement != "entry" else ""
    return f"{cell.system}{where}, {cell.model}" + (
        f", corrected at {cell.correction}" if cell.correction else ""
    )


def _of(share: Proportion) -> str:
    return f"{share.successes}/{share.n}" if share.n else "-"


__all__ = ["finding_lines", "finding_svg"]
