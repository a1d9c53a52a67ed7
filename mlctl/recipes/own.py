"""Which recipe a user's own data is for, found by looking at it."""

from __future__ import annotations

from pathlib import Path

from mlctl.data import columns, delimited, folders
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
    if delimited.is_table(source):
        return _of_table(path) if path.is_file() and not source.endswith(delimited.PARQUET) else "tabular"
    if source.startswith("s3://"):
        raise UsageError(
            f"{source} is no table: from a bucket, tables alone are read (.csv, .tsv, .parquet)",
            f"copy pictures and texts to a folder: aws s3 sync {source} DIR, then mlctl train DIR",
        )
    return None


def _of_folder(folder: Path) -> str:
    if folders.holds(folder, folders.PICTURES):
        return "images"
    if folders.holds(folder, folders.TEXTS):
        return "texts"
    raise BadDataError(
        f"{folder} has no folders of pictures or of .txt files in it",
        "put the files of each class into a folder of its own: cats/…, dogs/…",
    )


def _of_table(path: Path) -> str:
    """Tell a list of picture files, and a text with its label, from any other table."""
    frame = delimited.head(path)
    if any(folders.are_paths(frame[name], folders.PICTURES) for name in frame):
        return "images"
    if len(frame.columns) == 2:
        kept, found = columns.typed(frame, {})
        for one in found:
            if one.kind == columns.TEXT and kept[one.name].dropna().str.split().str.len().mean() >= LONG_TEXT:
                return "texts"
    return "tabular"
