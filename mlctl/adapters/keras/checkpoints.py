"""Checkpoints of a training: written after every epoch, complete or not at all, and checked by a digest.

    checkpoints/00007-00005.ckpt   the state of the training, and every epoch's metrics, after epoch 7
    checkpoints/best-00005.ckpt    weights of the best epoch so far, epoch 5, in a file of their own

Each file begins with the SHA-256 of the rest. A damaged file is detected, and the one before it is used.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.errors import BadDataError, MlctlError
from mlctl.files import write_atomically

KEPT_CHECKPOINTS = 2
PATTERN = "[0-9]*-[0-9]*.ckpt"
DIGEST_BYTES = 32
HEADER = "about"  # name of the array that holds the JSON header

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Everything that decides how a training goes on after an epoch.

    Attributes:
        variables: those of the model and its optimizer, in Keras's order.
        arrays: other variables by their path, and arrays of `values`.
        values: the random generators of Python and NumPy, and the callbacks' plain attributes, as JSON.
        phase: number of the phase; phases count from 0.
        over: whether the phase has ended before its last epoch, because a callback or the patience stopped it.
    """

    variables: Sequence[Array]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    phase: int = 0
    over: bool = False


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training after an epoch.

    Attributes:
        epoch: number of the last epoch; epochs count from 1.
        state: everything that decides how the training goes on.
        epochs: [number, metrics, seconds, validation rows] of every epoch; earlier versions wrote no rows.
        best_epoch: number of the best epoch.
        best_weights: the model's weights after the best epoch.
    """

    epoch: int
    state: TrainingState
    epochs: Sequence[Sequence[Any]]
    best_epoch: int
    best_weights: Sequence[Array]


class CheckpointWriter:
    """Writes checkpoints in a thread; if the disk is slow, only the newest one is written.

    `upload` is called at most every `upload_every_s` seconds, with the files of the newest checkpoint. `failure`
    is the last error of the thread; training goes on without checkpoints. `cost_s` is how long the last one took.
    """

    def __init__(self, folder: Path, upload: Callable[[list[Path]], None], upload_every_s: float) -> None:
        self.folder = folder
        self.failure: Exception | None = None
        self.cost_s = 0.0
        self._upload = upload
        self._upload_every_s = upload_every_s
        self._uploaded_at = time.monotonic()
        self._best_on_disk = 0
        self._next: Checkpoint | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="mlctl-checkpoints", daemon=True)
        self._thread.start()

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint soon; its arrays must not change any more."""
        with self._changed:
            self._next = checkpoint
            self._changed.notify()

    def close(self) -> None:
        """Wait until the newest checkpoint is on disk."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._next is None:
                    if self._closing:
                        return
                    self._changed.wait()
                checkpoint, self._next = self._next, None
            try:
                started = time.monotonic()
                files = self._save(checkpoint)
                self.cost_s = time.monotonic() - started
                if time.monotonic() - self._uploaded_at >= self._upload_every_s:
                    self._uploaded_at = time.monotonic()
                    self._upload(files)
            except (OSError, MlctlError) as error:  # a full disk, for example: the caller reads `failure`
                self.failure = error

    def _save(self, checkpoint: Checkpoint) -> list[Path]:
        """Write a checkpoint, delete all but the newest two, and return the files of the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{checkpoint.epoch:05}-{checkpoint.best_epoch:05}.ckpt"
        best = best_weights_path(path)
        if checkpoint.best_epoch != self._best_on_disk:  # a file that an earlier process left may be damaged
            _write(best, {"epoch": checkpoint.best_epoch}, checkpoint.best_weights)
            self._best_on_disk = checkpoint.best_epoch
        header, arrays = pack_state(checkpoint.state)
        _write(path, {"epoch": checkpoint.epoch, "epochs": checkpoint.epochs, **header}, arrays)
        newest = sorted(self.folder.glob(PATTERN))[-KEPT_CHECKPOINTS:]
        needed = {*newest, *(best_weights_path(file) for file in newest)}
        for file in self.folder.glob("*.ckpt"):
            if file not in needed:
                file.unlink(missing_ok=True)
        return [best, path]


def best_weights_path(path: Path) -> Path:
    """Return the file of the best weights that belongs to a checkpoint's file."""
    return path.with_name(f"best-{path.stem.rpartition('-')[2]}.ckpt")


def load_newest(folder: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint, or None if there is none."""
    for path in sorted(folder.glob(PATTERN), reverse=True):
        try:
            header, arrays = _read(path)
            best_header, best_weights = _read(best_weights_path(path))
        except (BadDataError, OSError):
            continue
        return Checkpoint(
            epoch=header["epoch"],
            state=unpack_state(header, arrays),
            epochs=header["epochs"],
            best_epoch=best_header["epoch"],
            best_weights=best_weights,
        )
    return None


def pack_state(state: TrainingState) -> tuple[dict[str, Any], list[Array]]:
    """Return a state as a JSON header and arrays: first the variables of model and optimizer, then the others."""
    header = {
        "paths": list(state.arrays),
        "values": state.values,
        "phase": state.phase,
        "over": state.over,
    }
    return header, [*state.variables, *state.arrays.values()]


def unpack_state(header: Mapping[str, Any], arrays: Sequence[Array]) -> TrainingState:
    """Return the state that `pack_state` packed; version 0.1 wrote no more than the variables."""
    paths = header.get("paths", [])
    count = len(arrays) - len(paths)
    return TrainingState(
        variables=arrays[:count],
        arrays=dict(zip(paths, arrays[count:], strict=True)),
        values=header.get("values", {}),
        phase=header.get("phase", 0),
        over=header.get("over", False),
    )


def _write(path: Path, header: dict[str, Any], arrays: Sequence[Array]) -> None:
    buffer = io.BytesIO()
    named: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
    named[HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(buffer, **named)
    content = buffer.getvalue()
    write_atomically(path, hashlib.sha256(content).digest() + content)


def _read(path: Path) -> tuple[dict[str, Any], list[Array]]:
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
        raise BadDataError(f"the checkpoint {path} is damaged", "use the checkpoint before it")
    with np.load(io.BytesIO(content[DIGEST_BYTES:]), allow_pickle=False) as arrays:
        header = json.loads(arrays[HEADER].tobytes())
        return header, [arrays[f"a{number}"] for number in range(len(arrays.files) - 1)]
