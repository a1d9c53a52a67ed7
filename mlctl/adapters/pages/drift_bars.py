"""Bars of two distributions as SVG in the page's own colours: training behind, live in front."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import escape

from mlctl.domain.drift import DistributionBin
from mlctl.domain.short_texts import shorten

WIDTH, HEIGHT, TOP, BOTTOM, LEFT, RIGHT = 480, 220, 40, 48, 8, 28
SHOWN_NAME = 14


def draw_bars(title: str, words: str, bins: Sequence[DistributionBin]) -> str:
    """Return a figure with the share of the rows in each bin, in training (grey) and live (blue)."""
    bins = [entry for entry in bins if entry.trained or entry.live]
    highest = max(max(entry.trained, entry.live) for entry in bins)
    slot = (WIDTH - LEFT - RIGHT) / len(bins)
    parts = []
    for place, entry in enumerate(bins):
        left = LEFT + place * slot
        for share, start, style in (
            (entry.trained, 0.08, "fill:var(--muted);opacity:.55"),
            (entry.live, 0.5, "fill:var(--mark)"),
        ):
            height = (HEIGHT - TOP - BOTTOM) * share / highest
            parts.append(
                f'<rect x="{left + start * slot:.1f}" y="{HEIGHT - BOTTOM - height:.1f}" '
                f'width="{0.42 * slot:.1f}" height="{height:.1f}" style="{style}"/>'
            )
        parts.append(
            f'<text x="{left + slot / 2:.1f}" y="{HEIGHT - BOTTOM + 12}" transform="rotate(28 {left + slot / 2:.1f} '
            f'{HEIGHT - BOTTOM + 12})" font-size="9">{escape(shorten(entry.name, SHOWN_NAME))}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}: {escape(words)}" '
        'style="fill:var(--ink)" font-family="inherit">'
        f'<text x="{LEFT}" y="14" font-size="13" font-weight="600">{escape(title)}</text>'
        f'<text x="{LEFT}" y="30" font-size="11" style="fill:var(--muted)">{escape(words)}</text>{"".join(parts)}</svg>'
    )
