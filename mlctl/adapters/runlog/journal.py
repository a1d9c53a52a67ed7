"""A run's own record on disk: every line is there before anything is sent, and is safe once written.

<state>/runs/<run id>/
    run.json        whose record this is: tracking URI, experiment, run, and how it was begun
    lock            held by the one process that writes
    journal.jsonl   one entry a line, in order; a torn last line is a crash's, and is dropped
    sent            how many entries the store has acknowledged
    checkpoints/    where the training stands
    files/          artifacts, as the run will show them
    model/          the model folder
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mlctl.errors import BadDataError, ConfigurationError, RefusedError

Entry = Mapping[str, Any]


class Journal:
    """The record of one run, open for writing by one process.

    Raises RefusedError where another process writes it, ConfigurationError where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.model = folder / "model"
        self.checkpoints = folder / "checkpoints"
        self._path = folder / "journal.jsonl"
        self._writing = threading.Lock()
        self._sent = folder / "sent"
        try:
            self.files.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock", timeout=0)
            self._lock.acquire()
            self._drop_torn_line()
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except Timeout:
            raise RefusedError(
                f"run {folder.name[:8]} is being written by another process", "wait for it"
            ) from None
        except OSError as exc:
            raise ConfigurationError(
                f"runs cannot be recorded in {folder.parent}: {exc.strerror}",
                "free it up, or name another place in MLCTL_STATE_DIR",
            ) from exc

    @property
    def about(self) -> dict[str, Any]:
        """Whose record this is: tracking_uri, experiment, experiment_id, run_id, and the request."""
        return read_about(self.folder)

    def describe(self, **values: Any) -> None:
        """Add to what is known about the run."""
        write_atomically(self.folder / "run.json", json.dumps({**self.about, **values}).encode())

    def add(self, entry: Entry) -> None:
        """Write one entry; when this returns, it survives a crash of the machine."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._writing:
            before = os.fstat(self._file).st_size
            try:
                while line:
                    line = line[os.write(self._file, line) :]
                os.fsync(self._file)
            except OSError as exc:
                os.ftruncate(self._file, before)  # half a line must not swallow the next
                raise ConfigurationError(
                    f"the run's record {self.folder} cannot be written: {exc.strerror}",
                    f"free some space, then: mlctl resume {self.folder.name[:8]}",
                ) from exc

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Return the entries from number `start`; raises BadDataError for a damaged line that is not the last."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    return  # it is being written just now
                if number < start:
                    continue
                try:
                    yield json.loads(line)
                except ValueError as exc:
                    raise BadDataError(
                        f"{self._path}, line {number + 1} is damaged",
                        f"move {self.folder} away: mlctl resume then goes on from the store's copy",
                    ) from exc

    @property
    def sent(self) -> int:
        """How many entries the store has acknowledged."""
        try:
            return int(self._sent.read_text() or 0)
        except (OSError, ValueError):
            return 0  # sending again is harmless: each entry says what it said before

    def acknowledge(self, count: int) -> None:
        """Note that the first `count` entries need not be sent again."""
        with contextlib.suppress(OSError):  # a full disk: sending again is harmless
            write_atomically(self._sent, str(count).encode(), durable=False)

    def close(self, remove: bool = False) -> None:
        """Close the file and let others at it; the record stays, or is removed while it is still ours."""
        os.close(self._file)
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _drop_torn_line(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)


def read_about(folder: Path) -> dict[str, Any]:
    """Return run.json of a record, or {} where it was never written."""
    try:
        found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Replace a file's content: a crash leaves the old or the new, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
