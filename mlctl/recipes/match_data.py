"""Choosing the recipe that fits a user's own data, by what the data holds."""

from __future__ import annotations

from pathlib import Path

from mlctl.data.files import labelled_files
from mlctl.data.tables import column_types, label_column, reader
from mlctl.data.tables.convert_columns import convert_columns
from mlctl.data.tables.formats import numpy_arrays
from mlctl.data.unspaced_scripts import UNSPACED_SHARE, share_unspaced
from mlctl.errors import BadDataError, NotFoundError, UsageError, did_you_mean

CHARACTERS_PER_WORD = 1.5  # of Chinese; other scripts without blanks between words have more
ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
LONG_TEXT = 8  # a table of two columns is a text task if its texts have this many words on average


def recipe_for(source: str) -> str | None:
    """Return the name of the recipe for this file, folder or URL; None if it is not data.

    Raises NotFoundError for a path that does not exist, BadDataError for a folder without training data and for an
    unreadable table, UsageError for a folder in a bucket.
    """
    path = Path(source).expanduser()
    is_remote = "://" in source
    if reader.is_part_of_file(source):
        return _recipe_for_table(path)
    if path.is_dir():
        return "tabular" if reader.parts_of(path) else _recipe_for_folder(path)
    if not is_remote and not path.exists() and (path.suffix or "/" in source):
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise NotFoundError(
            f"there is no file or folder {source}", did_you_mean(path.name, beside) or "check the path"
        )
    if not is_remote and source.lower().endswith(".npz") and numpy_arrays.holds_pictures(path):
        return "images"
    if reader.is_table(source):
        return "tabular" if is_remote else _recipe_for_table(path)
    if path.is_file() and source.lower().endswith(ARCHIVES):
        raise BadDataError(
            f"{source} is an archive that mlctl does not open", "unpack it, and give a file or folder in it"
        )
    if path.is_file():
        raise BadDataError(
            f"{source} is no data that mlctl can train on",
            "give a table (.csv, .xlsx, .json, .parquet, FILE.db::TABLE, …), a folder of images or texts, or a recipe"
            " file",
        )
    if source.startswith("s3://"):
        raise UsageError(
            f"{source} is not a table: mlctl reads only tables from a bucket (.csv, .tsv, .parquet)",
            f"copy images and texts to a folder: aws s3 sync {source} DIR, then mlctl train DIR",
        )
    return None


def as_table_hint(recipe: str, own_data: str | None, target: str = "") -> str:
    """Return how to train on a table as a table, if another recipe was chosen for it; else ""."""
    if own_data is None or recipe == "tabular" or not reader.is_table(own_data):
        return ""
    return label_column.tabular_hint(own_data, target)


def count_words(texts: list[str]) -> float:
    """Return how many words texts have on average."""
    if share_unspaced(texts) >= UNSPACED_SHARE:
        return sum(map(len, texts)) / CHARACTERS_PER_WORD / max(len(texts), 1)
    return sum(len(text.split()) for text in texts) / max(len(texts), 1)


def _recipe_for_folder(folder: Path) -> str:
    if labelled_files.has_class_folders(folder, labelled_files.IMAGE_SUFFIXES):
        return "images"
    if labelled_files.has_class_folders(folder, labelled_files.TEXT_SUFFIXES):
        return "texts"
    usable = [
        subfolder
        for subfolder in labelled_files.visible_folders(folder)
        if any(
            labelled_files.has_class_folders(subfolder, suffixes)
            for suffixes in (labelled_files.IMAGE_SUFFIXES, labelled_files.TEXT_SUFFIXES)
        )
    ]
    tables = sorted(file.name for file in folder.iterdir() if reader.is_only_table(file.name))
    if tables:
        raise BadDataError(
            f"{folder} holds other files than the parts of one table",
            f"give one of its tables, such as {folder / tables[0]}, or a folder of files with the same suffix",
        )
    raise BadDataError(
        f"{folder} has no folders of images or .txt files in it",
        f"did you mean {usable[0]}?"
        if len(usable) == 1
        else "put the files of each class into a folder of its own: cats/…, dogs/…",
    )


def _recipe_for_table(path: Path) -> str:
    """Tell a list of image files, and a text with its label, from any other table.

    Names of missing files are plain words, unless the only other column is a label. A text with a value on a
    scale is a regression, which `tabular` does.
    """
    frame = reader.read_head(path)
    two_columns = len(frame.columns) == 2
    if any(
        labelled_files.are_file_names(frame[name], labelled_files.IMAGE_SUFFIXES)
        and (two_columns or labelled_files.do_files_exist(path, frame[name], labelled_files.IMAGE_SUFFIXES))
        for name in frame
    ):
        return "images"
    if two_columns:
        columns, types = convert_columns(frame, {})
        for column in types:
            if (
                column.type == column_types.TEXT
                and count_words(columns[column.name].dropna().tolist()) >= LONG_TEXT
            ):
                label = next(name for name in frame if name != column.name)
                return "tabular" if label_column.is_continuous(frame[label]) else "texts"
    return "tabular"
