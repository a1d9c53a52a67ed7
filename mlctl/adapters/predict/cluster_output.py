"""A folder of prediction parts that the nodes of a cluster write, one part for each file of the input."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.predict.prediction_job import OTHER_FILE_HINT
from mlctl.adapters.predict.prediction_parts import JOB_FILE, open_writer, to_table
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.errors import RefusedError

MODEL_FILE = "_model.tar"


class ClusterOutput:
    """The folder, in a shared folder or a bucket. A part is written completely or not at all."""

    def __init__(self, uri: str) -> None:
        self.storage = SharedStorage.parse(uri)

    def start(self, job: Mapping[str, Any]) -> set[str]:
        """Record the job, and return the parts that an earlier call has written.

        Raises RefusedError if the folder is complete, or of another job.
        """
        names = set(self.storage.names())
        if not names:
            self._put_json(JOB_FILE, job)
            return names
        if JOB_FILE not in names:
            raise RefusedError(f"{self.storage.uri} already exists", OTHER_FILE_HINT)
        with self.storage.opened(JOB_FILE) as file:
            if json.load(file) != job:
                raise RefusedError(
                    f"{self.storage.uri} was started with another model, version or input", OTHER_FILE_HINT
                )
        return {name for name in names if name.startswith("part-")}

    def finish(self) -> None:
        """Mark the folder as complete."""
        self.storage.remove(MODEL_FILE, JOB_FILE)

    def write(self, part: str, batches: Iterable[Mapping[str, Any]]) -> int:
        """Write the answers to a file as a part; return the number of rows. Nothing is written without rows."""
        rows, writer = 0, None
        with tempfile.TemporaryDirectory(prefix="mlctl-part-") as folder:
            path = Path(folder) / part
            try:
                for columns in batches:
                    table = to_table(rows, columns)
                    writer = writer or open_writer(str(path), table.schema)
                    writer.write_table(table)
                    rows += table.num_rows
            finally:
                if writer is not None:
                    writer.close()
            if rows:
                self.storage.put(part, path)
        return rows

    def count_rows(self, part: str) -> int:
        """Return the number of rows of a part."""
        import pyarrow.parquet

        with self.storage.opened(part) as file:
            return int(pyarrow.parquet.read_metadata(file).num_rows)

    def _put_json(self, name: str, content: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="mlctl-job-") as folder:
            path = Path(folder) / name
            path.write_text(json.dumps(content), encoding="utf-8")
            self.storage.put(name, path)
