"""Where a training stands, on disk after every epoch: whole or not at all, and known by its digest.

    checkpoints/00007.ckpt   all variables of model and optimizer, and every epoch's metrics, after epoch 7
    checkpoints/best-5.ckpt  the weights of the best epoch so far, kept apart

Each file begins with the SHA-256 of the rest, so that a torn one is seen, and the one before is taken.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.journal import write_atomically
from mlctl.errors import BadDataError

Array = np.ndarray[Any, Any]
KEPT = 2
DIGEST_BYTES = 32


@dataclass(frozen=True)
class Checkpoint:
    """State after an epoch: `variables` of model and optimizer in Keras's order, `best` weights and epoch.

    `epochs` are [number, metrics, seconds] of every finished epoch.
    """

    epoch: int
    variables: Sequence[Array]
    epochs: Sequence[Sequence[Any]]
    best: int
    best_weights: Sequence[Array]


class CheckpointWriter:
    """Writes checkpoints behind the training's back: only the newest matters, so a slow disk skips some."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.failure: OSError | None = None
        self._next: Checkpoint | None = None
        self._closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="mlctl-checkpoints", daemon=True)
        self._thread.start()

    def write(self, checkpoint: Checkpoint) -> None:
        """Have a checkpoint written soon; its arrays must not change any more."""
        with self._wake:
            self._next = checkpoint
            self._wake.notify()

    def close(self) -> None:
        """Wait until the newest checkpoint is on disk."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                while self._next is None:
                    if self._closing:
                        return
                    self._wake.wait()
                checkpoint, self._next = self._next, None
            try:
                save(self.folder, checkpoint)
            except OSError as error:  # a full disk: training goes on, and its end will tell
                self.failure = error


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and take away all but the newest two."""
    best = folder / f"best-{checkpoint.best}.ckpt"
    if not best.exists():
        _write(best, {"epoch": checkpoint.best}, checkpoint.best_weights)
    about = {"epoch": checkpoint.epoch, "epochs": checkpoint.epochs, "best": checkpoint.best}
    _write(folder / f"{checkpoint.epoch:05}.ckpt", about, checkpoint.variables)
    kept = sorted(folder.glob("[0-9]*.ckpt"))[-KEPT:]
    wanted = {best.name, *(path.name for path in kept)}
    for path in kept[:-1]:
        about, _ = _read(path) if path.stat().st_size else ({}, [])
        wanted.add(f"best-{about.get('best')}.ckpt")
    for path in folder.glob("*.ckpt"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint, or None where there is none."""
    for path in sorted(folder.glob("[0-9]*.ckpt"), reverse=True):
        try:
            about, variables = _read(path)
            _, best_weights = _read(folder / f"best-{about['best']}.ckpt")
        except (BadDataError, OSError):
            continue
        return Checkpoint(about["epoch"], variables, about["epochs"], about["best"], best_weights)
    return None


def files(folder: Path) -> list[Path]:
    """Return the files that the newest checkpoint is made of."""
    found = newest(folder)
    return [] if found is None else [folder / f"{found.epoch:05}.ckpt", folder / f"best-{found.best}.ckpt"]


def _write(path: Path, about: dict[str, Any], arrays: Sequence[Array]) -> None:
    buffer = io.BytesIO()
    named: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
    named["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(buffer, **named)
    content = buffer.getvalue()
    write_atomically(path, hashlib.sha256(content).digest() + content)


def _read(path: Path) -> tuple[dict[str, Any], list[Array]]:
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST_BYTES:]).digest() != content[:DIGEST_BYTES]:
        raise BadDataError(f"{path} is torn", "the checkpoint before it will do")
    with np.load(io.BytesIO(content[DIGEST_BYTES:]), allow_pickle=False) as found:
        about = json.loads(found["about"].tobytes())
        return about, [found[f"a{number}"] for number in range(len(found.files) - 1)]
