"""The columns of a text table of fixed widths."""

from __future__ import annotations

from collections.abc import Sequence


def column_starts(lines: Sequence[str]) -> list[int]:
    """Return where the columns of a table of fixed widths start: after a place that is blank in all lines."""
    length = max(map(len, lines), default=0)
    is_blank = [all(line[place : place + 1] in ("", " ") for line in lines) for place in range(length)]
    starts = [place for place in range(length) if not is_blank[place] and (not place or is_blank[place - 1])]
    ends = [
        place + 1
        for place in range(length)
        if not is_blank[place] and is_blank[place + 1 : place + 2] != [False]
    ]
    # words of one cell may stand below each other, but only one of them has a name above it
    columns = [
        [start, end, bool(lines[0][start:end].strip())] for start, end in zip(starts, ends, strict=True)
    ]
    place = 0
    while place < len(columns) and len(columns) > 1:
        start, end, has_name = columns[place]
        if has_name:
            place += 1
            continue
        left = start - columns[place - 1][1] if place else length
        right = columns[place + 1][0] - end if place + 1 < len(columns) else length
        first = place - 1 if left <= right else place
        one, other = columns[first : first + 2]
        columns[first : first + 2] = [[one[0], other[1], one[2] or other[2]]]
        place = first
    return [start for start, _, _ in columns]


def cut(line: str, starts: Sequence[int]) -> list[str]:
    """Return the cells of a line whose columns start at these places."""
    ends = [*starts[1:], max(len(line), starts[-1])]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
