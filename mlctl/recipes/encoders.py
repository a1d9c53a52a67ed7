"""The encoders that a recipe may name: raw client input to model input, the same in training and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlctl.errors import BadDataError
from mlctl.serving.scoring import Pixels, Table, Words

Step = Mapping[str, Any]


def pixels(shape: Sequence[int], high: float) -> Pixels:
    """Pictures of `shape` whose fully lit pixel is `high`: scaled to 0..1, with a channel."""
    return Pixels(shape, high)


def words(vocabulary: Sequence[str], column: str = "text") -> Words:
    """Texts as multi-hot rows over a vocabulary, most frequent word first."""
    return Words(vocabulary, column)


def table(rows: Any, steps: Sequence[Step]) -> Table:
    """Rows of a table through these steps, fitted to the training rows (a DataFrame).

    Raises BadDataError where nothing in them could tell one row from another.
    """
    fitted = Table.fitted(rows, steps)
    if not len(fitted.mean):
        raise BadDataError(
            f"nothing in {', '.join(map(str, rows.columns[:20]))} tells the rows that train apart",
            "texts need words that some of them share; other columns cells that are filled",
        )
    return fitted


def number(*names: str) -> list[Step]:
    """Columns as they are, gaps filled with the median."""
    return [{"make": "number", "of": name} for name in names]


def log(*names: str) -> list[Step]:
    """Logarithms of columns that count or measure."""
    return [{"make": "log", "of": name} for name in names]


def ratio(name: str, by: str) -> list[Step]:
    """The logarithm of one column per another."""
    return [{"make": "ratio", "of": name, "by": by}]


def missing(*names: str) -> list[Step]:
    """Whether there is a gap."""
    return [{"make": "missing", "of": name} for name in names]


def category(*names: str, most: int | None = None) -> list[Step]:
    """Columns of words, one feature a word that training saw (the `most` frequent); an unseen word is none."""
    return [{"make": "category", "of": name, "most": most} for name in names]


def bins(*names: str, most: int) -> list[Step]:
    """How far a number fills each of up to `most` bins that hold equally many training rows."""
    return [{"make": "bins", "of": name, "most": most} for name in names]


def boolean(*names: str) -> list[Step]:
    """Columns of yes and no, in English words or as true and false."""
    return [{"make": "boolean", "of": name} for name in names]


def text(*names: str, most: int) -> list[Step]:
    """Whether each of the `most` frequent words occurs in a text."""
    return [{"make": "text", "of": name, "most": most} for name in names]


def date(name: str, format: str, sure: bool = False) -> list[Step]:
    """A date's years, season, weekday and hour; `format` as pandas has it, or ISO8601.

    Of a column that is `sure`, a cell that is no such date is refused; else it is taken as a gap.
    """
    return [{"make": "date", "of": name, "format": format, "sure": sure}]


def distance(latitude: str, longitude: str, place: tuple[float, float]) -> list[Step]:
    """The logarithm of the distance, in degrees, from a place."""
    return [{"make": "distance", "of": [latitude, longitude], "from": list(place)}]


def waves(latitude: str, longitude: str, directions: int, frequencies: Sequence[float]) -> list[Step]:
    """A place along several directions, with sines and cosines at frequencies in turns a degree."""
    return [
        {
            "make": "waves",
            "of": [latitude, longitude],
            "directions": directions,
            "frequencies": list(frequencies),
        }
    ]
