"""A histogram of one distribution as SVG in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import escape

from mlctl.domain.drift import DistributionBin

WIDTH, HEIGHT, TOP, BOTTOM, LEFT, RIGHT = 480, 150, 38, 20, 8, 8
CHARACTER = 5.2  # width of one at the labels' size
MAX_WORDS = 84


def draw_histogram(title: str, words: str, bins: Sequence[DistributionBin]) -> str:
    """Return a figure with the share of the training rows in each bin, and as many labels as have room."""
    highest = max((entry.trained for entry in bins), default=0.0) or 1.0
    slot = (WIDTH - LEFT - RIGHT) / max(1, len(bins))
    longest = max((len(entry.name) for entry in bins), default=1)
    room = max(3, int(slot / CHARACTER))
    every = 1 if len(bins) <= 12 else max(1, -(-int(longest * CHARACTER + 12) // int(slot)))
    room = room if every == 1 else longest
    parts = []
    for place, entry in enumerate(bins):
        left = LEFT + place * slot
        height = (HEIGHT - TOP - BOTTOM) * entry.trained / highest
        parts.append(
            f'<rect x="{left + 0.04 * slot:.1f}" y="{HEIGHT - BOTTOM - height:.1f}" width="{0.92 * slot:.1f}" '
            f'height="{height:.1f}" style="fill:var(--mark)"><title>{escape(entry.name)}: {entry.trained:.1%}</title></rect>'
        )
        if place % every == 0:
            anchor = "middle" if every == 1 else "start"
            x = left + slot / 2 if every == 1 else left
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - 6}" font-size="9.5" text-anchor="{anchor}" '
                f'style="fill:var(--muted)">{escape(_shorten(entry.name, room))}</text>'
            )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}: {escape(words)}" '
        'style="fill:var(--ink)" font-family="inherit">'
        f'<text x="{LEFT}" y="14" font-size="13" font-weight="600">{escape(_shorten(title, 48))}</text>'
        f'<text x="{LEFT}" y="29" font-size="11" style="fill:var(--muted)">{escape(_shorten(words, MAX_WORDS))}</text>'
        f"{''.join(parts)}</svg>"
    )


def _shorten(name: str, room: int) -> str:
    return name if len(name) <= room else name[: max(1, room - 1)] + "…"
