"""What a checkpoint costs the training that it interrupts: `python tests/benchmarks/checkpoints.py mnist-mlp imdb`.

Printed for each recipe: the CPU and wall time of an epoch, and, of a checkpoint after it, what the training
waits for (the copy), and what a thread of its own then spends (digest, writing, fsync).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlctl.adapters.keras import runtime


def measured(recipe_name: str, epochs: int) -> None:
    from mlctl.adapters.keras import checkpoints
    from mlctl.adapters.keras.fit import make_training_loop
    from mlctl.adapters.keras.training_loop import Epoch, TrainingProgress
    from mlctl.domain.progress import NullProgress
    from mlctl.recipes import resolve
    from mlctl.services.recipes import prepare
    from mlctl.settings import load

    resolved = resolve(recipe_name)
    values = prepare.check_values(resolved, {})
    prepared = prepare.prepare(load(), resolved, values, listener=NullProgress())
    runtime.start_session(0, runtime.FLOAT32)
    data, model = prepared.data, prepared.recipe.build(prepared.values, prepared.data)
    loop = make_training_loop(
        model,
        prepared.encoded(data.train),
        data.train.targets,
        validation=(prepared.encoded(data.validation), data.validation.targets),
        classes=len(data.classes),
        batch_size=prepared.values.batch_size,
        seed=0,
        listener=NullProgress(),
    )
    progress, copies, writes, spans = TrainingProgress(prepared.objective), [], [], []
    folder = Path(tempfile.mkdtemp(dir="."))
    writer = checkpoints.CheckpointWriter(folder, lambda files: None, 1e9)
    started = [_now()]

    def on_epoch_end(epoch: Epoch) -> None:
        spans.append(_since(started[0]))
        start = _now()
        state = progress.make_checkpoint(model)
        copies.append(_since(start))
        start = _now()
        writer._save(state)
        writes.append(_since(start))
        started[0] = _now()

    loop.run(progress, epochs=epochs, patience=None, on_epoch_end=on_epoch_end)
    writer.close()
    size = sum(path.stat().st_size for path in folder.glob("*")) / 1e6
    for path in folder.glob("*"):
        path.unlink()
    folder.rmdir()
    epoch, copy, write = _middle(spans[1:]), _middle(copies[1:]), _middle(writes[1:])
    print(
        f"{recipe_name}: epoch {epoch[0]:.2f} s ({epoch[1]:.2f} CPU s), {size:.1f} MB on disk; "
        f"copy {copy[0] * 1e3:.1f} ms ({100 * copy[1] / epoch[1]:.2f} % of the epoch's CPU), "
        f"write {write[0] * 1e3:.1f} ms in the background ({100 * write[1] / epoch[1]:.2f} %)",
        flush=True,
    )


def _now() -> tuple[float, float]:
    return time.perf_counter(), sum(os.times()[:2])


def _since(then: tuple[float, float]) -> tuple[float, float]:
    now = _now()
    return now[0] - then[0], now[1] - then[1]


def _middle(found: Sequence[Any]) -> tuple[float, float]:
    return statistics.median(one[0] for one in found), statistics.mean(one[1] for one in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--epochs", type=int, default=6)
    asked = parser.parse_args()
    runtime.import_keras()
    for name in asked.recipes:
        measured(name, asked.epochs)
