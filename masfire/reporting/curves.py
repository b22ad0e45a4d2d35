"""Curves of shares as a figure: a panel for each group, lines that can be told apart without colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from msgspec import Struct
from msgspec.structs import replace

from masfire.reporting.printable import printable

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette: told apart by colour-blind readers, too."""
_ACROSS = 2
_PANEL, _LEFT, _TOP, _PLOT_W, _PLOT_H, _AXIS, _ROW = 400, 44, 30, 330, 150, 40, 16
_HEAD = 34
_LONGEST = 60
_SHARES = (0, 0.25, 0.5, 0.75, 1)


class Curve(Struct, frozen=True):
    """A named line of shares (0…1), one value a step from 0 on.

    Lines of the same name share colour and marker. `group` is told behind the name; `beside` draws a line
    dashed and hollow: what stands for comparison beside the measured one.
    """

    name: str
    values: tuple[float, ...]
    group: str = ""
    beside: bool = False

    @property
    def label(self) -> str:
        """Return what the legend says."""
        return f"{self.name} ({self.group})" if self.group else self.name


def panels_svg(panels: Mapping[str, Sequence[Curve]], *, title: str, x: str, note: str = "") -> str:
    """Return a figure of named panels as SVG; `x` is what is counted across.

    Lines of one group that say the same in a panel are one, with all their names.
    """
    names_of = dict.fromkeys(curve.name for curves in panels.values() for curve in curves)
    looks = {name: number for number, name in enumerate(names_of)}
    merged = {name: _merged(curves, looks) for name, curves in panels.items()}
    names = list(merged)
    rows = [names[at : at + _ACROSS] for at in range(0, len(names), _ACROSS)]
    heights = [_TOP + _PLOT_H + _AXIS + _ROW * max(len(merged[name]) for name in row) + 14 for row in rows]
    head = _HEAD + (16 if note else 0)
    width, height = _PANEL * min(_ACROSS, max(1, len(names))), head + sum(heights)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
    parts = [
        f'{opening} height="{height}" role="img" font-family="sans-serif" font-size="11">',
        f"<title>{escape(printable(title))}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(12, 22, title, anchor="start", more=' font-size="15" font-weight="bold"'),
    ]
    if note:
        parts.append(_text(12, 40, note, anchor="start", more=' fill="#444"'))
    at = head
    for row, tall in zip(rows, heights, strict=True):
        for column, name in enumerate(row):
            parts.append(f'<g transform="translate({column * _PANEL} {at})">')
            parts += _panel(name, merged[name], x=x)
            parts.append("</g>")
        at += tall
    return "\n".join([*parts, "</svg>", ""])


def _merged(curves: Sequence[Curve], looks: Mapping[str, int]) -> list[tuple[Curve, int]]:
    """Return the lines with their looks; those that cannot be told apart (to a thousandth) are one."""
    found: dict[tuple[str, bool, tuple[float, ...]], tuple[Curve, int]] = {}
    for curve in curves:
        key = curve.group, curve.beside, tuple(round(value, 3) for value in curve.values)
        before = found.get(key)
        if before is None:
            found[key] = curve, looks[curve.name]
        else:
            found[key] = replace(before[0], name=f"{before[0].name} = {curve.name}"), before[1]
    return list(found.values())


def _panel(name: str, curves: Sequence[tuple[Curve, int]], *, x: str) -> Iterator[str]:
    length = max((len(curve.values) for curve, _ in curves), default=0)
    bottom, right = _TOP + _PLOT_H, _LEFT + _PLOT_W
    yield _text(_LEFT, _TOP - 10, name, anchor="start", more=' font-size="13" font-weight="bold"')
    for share in _SHARES:
        level = bottom - _PLOT_H * share
        yield f'<line x1="{_LEFT}" x2="{right}" y1="{level:g}" y2="{level:g}" stroke="#ddd"/>'
        yield _text(_LEFT - 6, level + 4, f"{share:.0%}", anchor="end")
    every = max(1, -(-length // 12))
    for step in range(0, length, every):
        yield _text(_across(step, length), bottom + 14, str(step))
    yield _text(_LEFT + _PLOT_W / 2, bottom + 28, x, more=' fill="#444"')
    for curve, look in sorted(curves, key=lambda one: one[0].beside):
        places = [
            (_across(step, length), bottom - _PLOT_H * min(1.0, max(0.0, value)))
            for step, value in enumerate(curve.values)
        ]
        yield from _drawn(places, look, beside=curve.beside, name=curve.label)
    for row, (curve, look) in enumerate(curves):
        level = bottom + _AXIS + 6 + _ROW * row
        ends = [(_LEFT, level), (_LEFT + 14, level), (_LEFT + 28, level)]
        yield from _drawn(ends, look, beside=curve.beside, marked=ends[1:2])
        yield _text(_LEFT + 36, level + 4, printable(curve.label, limit=_LONGEST), anchor="start")


def _drawn(
    places: Sequence[tuple[float, float]],
    look: int,
    *,
    beside: bool,
    name: str = "",
    marked: Sequence[tuple[float, float]] | None = None,
) -> Iterator[str]:
    """Yield a line with its markers: pale and wide, or dashed and thin, so that both show where they meet."""
    colour = COLOURS[look % len(COLOURS)]
    pen = 'stroke-width="1.5" stroke-dasharray="5 3"' if beside else 'stroke-width="4" stroke-opacity="0.45"'
    points = " ".join(f"{across:.1f},{level:.1f}" for across, level in places)
    told = f"<title>{escape(printable(name))}</title>" if name else ""
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" {pen}>{told}</polyline>'
    fill = "white" if beside else colour
    for across, level in places if marked is None else marked:
        yield f'<path d="{_marker(look, across, level)}" fill="{fill}" stroke="{colour}"/>'


def _marker(look: int, x: float, y: float) -> str:
    """Return the path of a look's marker: circle, square, triangle, diamond, in turn."""
    r = 3.2
    shapes = (
        f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z",
        f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}Z",
        f"M{x:.1f} {y - r - 1:.1f}l{r + 0.6} {2 * r}h{-2 * r - 1.2}Z",
        f"M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}Z",
    )
    return shapes[look % len(shapes)]


def _across(step: int, length: int) -> float:
    return _LEFT + _PLOT_W * step / max(1, length - 1)


def _text(x: float, y: float, text: str, *, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(printable(text))}</text>'


__all__ = ["COLOURS", "Curve", "panels_svg"]
