"""A folder of part files, as Spark, Dask and Hive write them, read as one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mlctl.data.tables import compression
from mlctl.data.tables.formats.content import Reader, ReadOptions, TableContent
from mlctl.domain.short_texts import list_some
from mlctl.errors import BadDataError

if TYPE_CHECKING:
    import pandas as pd

MOST_LACKING = 0.5  # of all columns, that a part may lack
HIDDEN = (".", "_")  # first characters of names such as _SUCCESS and .part-0.crc


def list_parts(folder: Path, is_part: Callable[[str], bool]) -> list[Path]:
    """Return the files of a folder that are parts of one table, by name; [] if its files are of several kinds."""
    parts: list[Path] = []
    suffixes: set[str] = set()
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        for name in files:
            if name.startswith(HIDDEN) or not Path(root, name).is_file():
                continue
            suffixes.add(compression.inner_name(name).rpartition(".")[2])
            if len(suffixes) > 1 or not is_part(name):  # a folder of many images or texts is left at once
                return []
            parts.append(Path(root, name))
    return sorted(parts)


def read_parts(
    folder: Path, parts: list[Path], options: ReadOptions, read: Callable[[Path], Reader]
) -> TableContent:
    """Return the rows of all parts, in the order of their names.

    A folder such as year=2020 is a column of its parts. A column that some parts lack is missing there. Raises
    BadDataError if a part has fewer than half of all columns: it is another table.
    """
    import pandas as pd

    parts = [part for part in parts if part.stat().st_size]  # Spark writes parts without rows
    if not parts:
        raise BadDataError(f"{folder} has no rows", "its files are empty")
    contents = list(_read_each(folder, parts, options, read))
    first = contents[0]
    frames = [content.frame for content in contents]
    names = list(dict.fromkeys(name for frame in frames for name in frame))
    notes = dict.fromkeys(note for content in contents for note in content.notes)
    for part, part_frame in zip(parts, frames, strict=True):
        lacking = [str(name) for name in names if name not in part_frame]
        if len(lacking) > MOST_LACKING * len(names):
            odd = sorted(map(str, set(part_frame) ^ set(frames[0])))
            raise BadDataError(
                f"{part} has other columns than {parts[0].name}: {list_some(odd, 6)}",
                "the files of a folder must be parts of one table",
            )
        if lacking:
            notes[f"{part.name} lacks columns, which are missing there: {list_some(lacking, 6)}"] = None
    frame = pd.concat([_as_common_types(frame, frames) for frame in frames], ignore_index=True)
    count = f"{len(parts):,} files" if len(parts) > 1 else "1 file"
    return TableContent(
        frame=frame[names],
        description=f"{count}, {first.description}",
        notes=tuple(notes)[:8],
    )


def _read_each(
    folder: Path, parts: list[Path], options: ReadOptions, read: Callable[[Path], Reader]
) -> Iterator[TableContent]:
    """Yield the contents of the parts; what the first one has for a header, the others have, too."""
    first_names: list[str] = []
    for part in parts:
        content = read(part)(part, options)
        names = list(map(str, content.frame))
        if lacks_header(names, first_names) and "header" in content.description:
            content = read(part)(part, replace(options, header=False))
            note = f"{part.name} has no header: its columns are those of {parts[0].name}"
            content = replace(content, frame=content.frame.set_axis(first_names, axis=1), notes=(note,))
        elif "without a header" in content.description:
            options = replace(options, header=False)
        else:
            options = replace(options, known_names=frozenset(names))
            first_names = first_names or names
        levels = dict(name.split("=", 1) for name in part.relative_to(folder).parts[:-1] if "=" in name)
        frame = content.frame.assign(**{name: _level(value) for name, value in levels.items()})
        yield replace(content, frame=frame)


def lacks_header(names: Sequence[str], first_names: Sequence[str]) -> bool:
    """Whether a part has none of the first one's names, but as many columns, as if one table had been cut."""
    return len(names) == len(first_names) and not set(names) & set(first_names)


def _level(value: str) -> str | int:
    value = unquote(value)
    return int(value) if value.isdigit() and not value.startswith("0") else value


def _as_common_types(frame: pd.DataFrame, frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return a part in which columns that hold texts in another part are texts, too."""
    texts = {
        name: frame[name]
        .map(lambda cell: f"{cell:.15g}" if isinstance(cell, float) else str(cell), na_action="ignore")
        .astype("str")
        for name in frame
        if frame[name].dtype.kind in "iufb"
        and any(
            other[name].dtype.kind not in "iufb"
            for other in frames
            if name in other and other[name].notna().any()
        )
    }
    return frame.assign(**texts)
