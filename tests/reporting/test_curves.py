"""Figures of curves: every line can be told apart, found in the legend, and hostile names are text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from masfire.campaign.spreading import Finding, Spread
from masfire.metrics.statistics import wilson
from masfire.reporting.curves import COLOURS, Curve, panels_svg
from masfire.reporting.spreading import finding_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own text


def legend(svg: str) -> list[str]:
    return [
        text.text or ""
        for text in drawn(svg).iter(f"{SVG}text")
        if (text.text or "").endswith(("(model)", "(stub)"))
    ]


def test_lines_differ_in_more_than_colour() -> None:
    curves = [Curve(f"line {n}", (n / 16, 0.5 + n / 32)) for n in range(16)]
    root = drawn(panels_svg({"one": curves}, title="t", x="hop"))
    looks = []
    for path in root.iter(f"{SVG}path"):
        shape = re.sub(r"[\d.-]+", "", path.get("d", ""))
        looks.append((path.get("stroke"), shape))
    assert len(set(looks)) == 16
    assert {colour for colour, _ in looks} == set(COLOURS)
    names = [text.text for text in root.iter(f"{SVG}text")]
    assert all(f"line {n}" in names for n in range(16))


def test_a_line_keeps_its_look_in_every_panel_and_beside_it_is_dashed() -> None:
    curve, beside = Curve("raw", (0.1, 0.9), "model"), Curve("raw", (0.2, 0.8), "stub", beside=True)
    svg = panels_svg({"a": [Curve("other", (0, 1)), curve], "b": [curve, beside]}, title="t", x="hop")
    lines = [line for line in drawn(svg).iter(f"{SVG}polyline") if line.find(f"{SVG}title") is not None]
    named = [
        (line.findtext(f"{SVG}title"), line.get("stroke"), line.get("stroke-dasharray")) for line in lines
    ]
    assert [name for name, *_ in named] == ["other", "raw (model)", "raw (model)", "raw (stub)"]
    assert len({colour for name, colour, _ in named if name and name.startswith("raw")}) == 1
    assert [bool(dash) for *_, dash in named] == [False, False, False, True]


def test_lines_that_coincide_are_one_with_both_names() -> None:
    curves = [
        Curve("raw", (0.5, 1.0), "model"),
        Curve("fud", (0.5, 1.0), "model"),
        Curve("x", (0.5, 0.9), "model"),
    ]
    svg = panels_svg({"a": curves}, title="t", x="hop")
    assert legend(svg) == ["raw = fud (model)", "x (model)"]


def test_a_single_point_is_visible_and_names_are_text() -> None:
    svg = panels_svg({"<script>\x1b": [Curve('"><evil/>', (0.5,))]}, title="a & b", x="<x>")
    root = drawn(svg)
    assert "\x1b" not in svg
    assert len(list(root.iter(f"{SVG}path"))) == 2, "one on the plot, one in the legend"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "rect", "text", "g", "line", "polyline", "path",
    }  # fmt: skip


def spread(packaging: str, model: str, hops: tuple[float, ...], runs: int = 2) -> Spread:
    known = None if not runs else 0.5
    return Spread(
        "star", model, "entry", packaging, 0, 2, runs, hops, hops, known, known, wilson(runs, runs),
        wilson(0, runs), known, known, None,
    )  # fmt: skip


def test_every_packaging_of_a_finding_is_drawn_and_what_was_not_measured_is_not() -> None:
    cells = (
        spread("raw", "model", (0.25, 0.5)),
        spread("compliance", "model", (0.25, 0.75)),
        spread("raw", "stub", (0.25, 1.0)),
        spread("security_fud", "model", (), runs=0),
    )
    svg = finding_svg(Finding("amplification", cells, {}, ()))
    assert legend(svg) == [
        "raw (model)",
        "compliance (model)",
        "raw (stub)",
    ]
