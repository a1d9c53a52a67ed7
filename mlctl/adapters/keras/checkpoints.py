"""Where a training stands, on disk after every epoch: whole or not at all, and known by its digest.

    checkpoints/00007-00005.ckpt   all variables of model and optimizer, and every epoch's metrics, after epoch 7
    checkpoints/best-00005.ckpt    the weights of the best epoch so far, kept apart

Each file begins with the SHA-256 of the rest, so that a torn one is seen, and the one before is taken.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.runlog.journal import write_atomically
from mlctl.domain.run_queries import CHECKPOINT
from mlctl.errors import BadDataError, MlctlError

Array = np.ndarray[Any, Any]
SHARED = CHECKPOINT
KEPT = 2
EVERY = "[0-9]*-[0-9]*.ckpt"
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
    """Writes checkpoints behind the training's back: only the newest matters, so a slow disk skips some.

    Every `share_every_s` seconds at most, `share` is called with the files that the newest is made of.
    """

    def __init__(self, folder: Path, share: Callable[[list[Path]], None], share_every_s: float) -> None:
        self.folder = folder
        self._share = share
        self._share_every_s = share_every_s
        self._shared_at = time.monotonic()
        self._best_on_disk = 0
        self.failure: Exception | None = None
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
                written = self._save(checkpoint)
                if time.monotonic() - self._shared_at >= self._share_every_s:
                    self._shared_at = time.monotonic()
                    self._share(written)
            except (OSError, MlctlError) as error:  # a full disk: training goes on, and its end will tell
                self.failure = error

    def _save(self, checkpoint: Checkpoint) -> list[Path]:
        """Write a checkpoint, take away all but the newest two, and return the files of the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        best = best_of(path := self.folder / f"{checkpoint.epoch:05}-{checkpoint.best:05}.ckpt")
        if checkpoint.best != self._best_on_disk:  # one that an earlier process has left may be torn
            _write(best, {"epoch": checkpoint.best}, checkpoint.best_weights)
            self._best_on_disk = checkpoint.best
        _write(path, {"epoch": checkpoint.epoch, "epochs": checkpoint.epochs}, checkpoint.variables)
        kept = sorted(self.folder.glob(EVERY))[-KEPT:]
        wanted = {*kept, *(best_of(one) for one in kept)}
        for one in self.folder.glob("*.ckpt"):
            if one not in wanted:
                one.unlink(missing_ok=True)
        return [best, path]


def best_of(path: Path) -> Path:
    """Return the file of the best weights that belongs to a checkpoint's file."""
    return path.with_name(f"best-{path.stem.rpartition('-')[2]}.ckpt")


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint, or None where there is none."""
    for path in sorted(folder.glob(EVERY), reverse=True):
        try:
            about, variables = _read(path)
            best, best_weights = _read(best_of(path))
        except (BadDataError, OSError):
            continue
        return Checkpoint(about["epoch"], variables, about["epochs"], best["epoch"], best_weights)
    return None


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
