"""A run's record on disk: every entry is written and synced before it is sent to the store.

<state>/runs/<run id>/
    run.json        header: tracking URI, experiment, run, and how the run was created
    lock            held by the one process that writes
    journal.jsonl   one entry per line, in order; a torn last line is dropped
    sent            how many entries the store has acknowledged
    checkpoints/    checkpoints of the training
    files/          artifacts, in the folders that the run shows
    model/          the model folder
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mlctl.adapters.runlog.json_lines import Entry, JsonLines, read_lines
from mlctl.errors import ConfigurationError, RefusedError
from mlctl.files import write_atomically


class Journal:
    """The record of one run, open for writing.

    Raises RefusedError if another process writes it, ConfigurationError if the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.model = folder / "model"
        self.checkpoints = folder / "checkpoints"
        self._path = folder / "journal.jsonl"
        self._sent = folder / "sent"
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock", timeout=0)
            self._lock.acquire()
            self._lines = JsonLines(self._path)
        except Timeout:
            raise RefusedError(
                f"another process is writing run {folder.name[:8]}", "wait until it ends"
            ) from None
        except OSError as exc:
            raise unwritable_state_error(folder.parent, exc) from exc

    @property
    def header(self) -> dict[str, Any]:
        """What the record is of: tracking_uri, experiment, experiment_id, run_id, and the user's request."""
        return read_header(self.folder)

    def update_header(self, **values: Any) -> None:
        """Add values to the header."""
        write_atomically(self.folder / "run.json", json.dumps({**self.header, **values}).encode())

    def add(self, entry: Entry) -> None:
        """Write one entry; when this returns, it survives a crash of the machine."""
        try:
            self._lines.append(entry)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot write the run's record {self.folder}: {exc.strerror}",
                f"free some space, then run: mlctl resume {self.folder.name[:8]}",
            ) from exc

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Yield the entries from number `start`; raises BadDataError for a damaged line before the last."""
        hint = f"move {self.folder} away, then run: mlctl resume, which continues from the store's copy"
        return read_lines(self._path, start, hint=hint)

    @property
    def sent(self) -> int:
        """How many entries the store has acknowledged."""
        return read_count(self._sent)

    def acknowledge(self, count: int) -> None:
        """Store that the first `count` entries need not be sent again."""
        write_count(self._sent, count)

    def close(self, *, remove: bool = False) -> None:
        """Close the file and release the lock; `remove` deletes the record first."""
        self._lines.close()
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()


def read_header(folder: Path) -> dict[str, Any]:
    """Return the header of a record; {} if it was never written."""
    try:
        header: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return header


def unwritable_state_error(folder: Path, exc: OSError) -> ConfigurationError:
    """Return the error for a folder in which no run can be recorded."""
    return ConfigurationError(
        f"cannot record runs in {folder}: {exc.strerror}",
        "set MLCTL_STATE_DIR to a folder that you can write, with free space",
    )


def read_count(path: Path, default: int = 0) -> int:
    """Return a count of acknowledged entries; `default` if there is none, since sending twice is harmless."""
    try:
        return int(path.read_text() or 0)
    except (OSError, ValueError):
        return default


def write_count(path: Path, count: int) -> None:
    """Store a count of acknowledged entries."""
    with contextlib.suppress(OSError):  # a full disk: sending twice is harmless
        write_atomically(path, str(count).encode(), durable=False)
