"""Curves in a terminal: braille dots where there are colours to tell them apart, else a letter for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from mlctl.domain.run_queries import Curve
from mlctl.output.render import number
from mlctl.output.words import encodable

COLORS = ("cyan", "magenta", "yellow", "green", "red", "blue")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, by row and column
HEIGHT = 14
Dot = tuple[int, int]


def chart(title: str, curves: Sequence[Curve], width: int, colored: bool) -> Text:
    """Return the curves, `width` cells wide, above a legend that says which is which."""
    points = [
        [(x, y) for x, y in zip(one.steps, one.values, strict=True) if math.isfinite(y)] for one in curves
    ]
    every = [point for curve in points for point in curve]
    if not every:
        return Text(f"{title}: no values yet\n")
    low, high = min(y for _, y in every), max(y for _, y in every)
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    braille = encodable("⣿") and (colored or len(curves) == 1)
    labels = {0: number(high), HEIGHT // 2: number((low + high) / 2), HEIGHT - 1: number(low)}
    margin = max(len(one) for one in labels.values())
    columns = max(10, width - margin - 2)
    across, down = (2, 4) if braille else (1, 1)
    cells: dict[Dot, tuple[int, int]] = {}  # where -> (which dots of it, whose)
    for index, curve in enumerate(points):
        pixels = [
            (
                _scaled(x, first, last, columns * across - 1),
                HEIGHT * down - 1 - _scaled(y, low, high, HEIGHT * down - 1),
            )
            for x, y in curve
        ]
        for x, y in _joined(pixels):
            where = (x // across, y // down)
            cells[where] = (cells.get(where, (0, 0))[0] | DOTS[y % down][x % across], index)
    lines = [Text(title, style="bold")]
    for row in range(HEIGHT):
        line = Text(f"{labels.get(row, ''):>{margin}} {'┤' if encodable('┤') else '|'}")
        for column in range(columns):
            dots, owner = cells.get((column, row), (0, -1))
            mark = " " if owner < 0 else chr(0x2800 + dots) if braille else LETTERS[owner % len(LETTERS)]
            line.append(mark, style=COLORS[owner % len(COLORS)] if owner >= 0 else "")
        line.rstrip()
        lines.append(line)
    end = str(last)
    lines.append(Text(f"{'':>{margin}}  {first:<{columns - len(end)}}{end}"))
    for index, one in enumerate(curves):
        mark = ("━━" if encodable("━") else "--") if braille else LETTERS[index % len(LETTERS)]
        final = number(one.values[-1]) if one.values else "none"
        said = f" {one.run_name} ({one.run_id[:8]}): last {final}"
        lines.append(Text(mark, style=COLORS[index % len(COLORS)]).append(said, style="default"))
    return Text("\n").join(lines)


def _scaled(value: float, low: float, high: float, top: int) -> int:
    return round((value - low) / (high - low) * top) if high > low else top // 2


def _joined(pixels: Sequence[Dot]) -> list[Dot]:
    """Return the pixels and those on the straight lines between them."""
    if len(pixels) == 1:
        return list(pixels)
    found = []
    for (x, y), (to_x, to_y) in pairwise(pixels):
        steps = max(abs(to_x - x), abs(to_y - y), 1)
        found += [
            (x + round((to_x - x) * i / steps), y + round((to_y - y) * i / steps)) for i in range(steps + 1)
        ]
    return found
