"""Which recipe a user's own data is for, found by looking at it."""

from __future__ import annotations

from pathlib import Path

from mlctl.data.files import labelled_files
from mlctl.data.tables import column_types, label_column, reader
from mlctl.errors import BadDataError, UsageError

LONG_TEXT = 8  # words on average, from which on a table of a text and a label is one of texts


def recipe_for(source: str) -> str | None:
    """Return the name of the recipe for this file, folder or address; None where it is no data.

    Raises BadDataError for a folder in which there is nothing to train on, and for a table that is none,
    UsageError for a folder in a bucket.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _of_folder(path)
    if reader.is_table(source):
        return _of_table(path) if path.is_file() and not source.endswith(reader.PARQUET) else "tabular"
    if source.startswith("s3://"):
        raise UsageError(
            f"{source} is no table: from a bucket, tables alone are read (.csv, .tsv, .parquet)",
            f"copy pictures and texts to a folder: aws s3 sync {source} DIR, then mlctl train DIR",
        )
    return None


def _of_folder(folder: Path) -> str:
    if labelled_files.holds(folder, labelled_files.PICTURES):
        return "images"
    if labelled_files.holds(folder, labelled_files.TEXTS):
        return "texts"
    inner = [
        one
        for one in labelled_files.visible(folder)
        if any(labelled_files.holds(one, kind) for kind in (labelled_files.PICTURES, labelled_files.TEXTS))
    ]
    raise BadDataError(
        f"{folder} has no folders of pictures or of .txt files in it",
        f"did you mean {inner[0]}?"
        if len(inner) == 1
        else "put the files of each class into a folder of its own: cats/…, dogs/…",
    )


def _of_table(path: Path) -> str:
    """Tell a list of picture files, and a text with its label, from any other table.

    Names of files that are not there are words like others, unless a label is all that stands beside them. A
    text with a value of a scale is for a regression, which `tabular` does.
    """
    frame = reader.head(path)
    pair = len(frame.columns) == 2
    if any(
        labelled_files.are_paths(frame[name], labelled_files.PICTURES)
        and (pair or labelled_files.lie_beside(path, frame[name]))
        for name in frame
    ):
        return "images"
    if pair:
        kept, found = column_types.typed(frame, {})
        for one in found:
            if (
                one.kind == column_types.TEXT
                and kept[one.name].dropna().str.split().str.len().mean() >= LONG_TEXT
            ):
                label = next(name for name in frame if name != one.name)
                return "tabular" if label_column.is_scale(frame[label]) else "texts"
    return "tabular"


def way_out(recipe: str, source: str | None, target: str = "") -> str:
    """Return how to have a table as a table that this recipe was found for; "" for all else."""
    other = source is not None and recipe != "tabular" and reader.is_table(source)
    return label_column.as_table(source or "", target) if other else ""
