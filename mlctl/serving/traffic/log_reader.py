"""Read the requests that an endpoint has logged."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlctl.serving.traffic.log_tables import ANSWER, INPUT, Columns, from_table, take, times_of
from mlctl.serving.traffic.request_log import log_files

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 100_000  # the newest are read


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Logged rows of one version, the newest one that has answered.

    Attributes:
        request_ids: The request of each row.
        places: The place of each row in its request.
        requests: Number of requests.
        other_versions: Number of rows that other versions have answered.
        is_cut: There are more rows than were read.
    """

    version: str
    inputs: Columns
    answers: Columns
    request_ids: list[str]
    places: list[int]
    requests: int
    other_versions: int
    is_cut: bool

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.request_ids)


def read_traffic(folder: Path, since: float, *, max_rows: int = MAX_ROWS) -> Traffic | None:
    """Return the rows that were logged after a time (seconds since the epoch), the newest first; None without any."""
    tables, found, is_cut = [], 0, False
    for table in _tables(folder, since):
        tables.append(table.slice(0, max_rows - found))
        found += len(tables[-1])
        if found >= max_rows:
            is_cut = True
            break
    if not tables:
        return None
    tables.sort(key=lambda table: int(times_of(table)[0]), reverse=True)
    newest = tables[0]
    version = newest["version"][0].as_py()
    versions = Counter[str]()
    for table in tables:
        versions.update(table["version"].to_pylist())
    joined = _join([_of_version(table, version) for table in tables])
    ids, places = joined["request_id"].to_pylist(), joined["row"].to_pylist()
    return Traffic(
        version=version,
        inputs=from_table(joined, INPUT),
        answers=from_table(joined, ANSWER),
        request_ids=ids,
        places=places,
        requests=len(set(ids)),
        other_versions=versions.total() - versions[version],
        is_cut=is_cut,
    )


def _tables(folder: Path, since: float) -> Iterator[pa.Table]:
    """Yield the tables of all files, the newest first, with their newest row first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in reversed(log_files(folder)):
        with contextlib.suppress(
            OSError, pa.ArrowInvalid
        ):  # it was joined with others, or removed, meanwhile
            if path.stat().st_mtime < since:
                continue
            table = pq.ParquetFile(path).read()
            times = times_of(table)
            newest_first = np.argsort(-times, kind="stable")
            table = take(table, newest_first[times[newest_first] >= since * 1e6])
            if len(table):
                yield table


def _of_version(table: pa.Table, version: str) -> pa.Table:
    versions = table["version"].to_pylist()
    return take(table, np.array([place for place, found in enumerate(versions) if found == version]))


def _join(tables: list[pa.Table]) -> pa.Table:
    """Return one table of rows that are there once; a row may be in two files when small files are joined."""
    import pyarrow as pa

    try:
        joined = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column has other cells than before
        newest = tables[0].schema
        joined = pa.concat_tables([table for table in tables if table.schema == newest])
    # clients may send an id more than once
    ids, places = joined["request_id"].to_pylist(), joined["row"].to_pylist()
    keys = list(zip(ids, places, times_of(joined).tolist(), strict=True))
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    if len(first) == len(keys):
        return joined
    return take(joined, np.sort(np.array(list(first.values()))))
