"""Which recipe a user's own data is for, found by looking at it."""

from __future__ import annotations

from pathlib import Path

from mlctl.data import columns, delimited, folders, labels
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
    inner = [
        one
        for one in folders.visible(folder)
        if any(folders.holds(one, kind) for kind in (folders.PICTURES, folders.TEXTS))
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
    frame = delimited.head(path)
    pair = len(frame.columns) == 2
    if any(
        folders.are_paths(frame[name], folders.PICTURES) and (pair or folders.lie_beside(path, frame[name]))
        for name in frame
    ):
        return "images"
    if pair:
        kept, found = columns.typed(frame, {})
        for one in found:
            if one.kind == columns.TEXT and kept[one.name].dropna().str.split().str.len().mean() >= LONG_TEXT:
                label = next(name for name in frame if name != one.name)
                return "tabular" if labels.is_scale(frame[label]) else "texts"
    return "tabular"


def way_out(recipe: str, source: str | None, target: str = "") -> str:
    """Return how to have a table as a table that this recipe was found for; "" for all else."""
    other = source is not None and recipe != "tabular" and delimited.is_table(source)
    return labels.as_table(source or "", target) if other else ""
