"""Measure what a checkpoint costs the training: `python tests/benchmarks/checkpoints.py mnist-mlp imdb`.

For each recipe, this prints the CPU and wall time of an epoch, the time that the training waits for a checkpoint
(the copy), and the time that the background thread then spends (digest, write, fsync).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mlctl.adapters.keras import runtime

Times = tuple[float, float]  # wall and CPU seconds


def run_benchmark(recipe_name: str, epochs: int) -> None:
    from mlctl.adapters.keras import checkpoints
    from mlctl.adapters.keras.fit import make_training_loop
    from mlctl.adapters.keras.outputs import infer_outputs
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
        prepared.encoded_split(data.train),
        validation=prepared.encoded_split(data.validation),
        outputs=infer_outputs(model, data),
        batch_size=prepared.values.batch_size,
        seed=0,
        listener=NullProgress(),
    )
    progress = TrainingProgress(prepared.objective)
    epoch_times: list[Times] = []
    copy_times: list[Times] = []
    write_times: list[Times] = []
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        writer = checkpoints.CheckpointWriter(folder, lambda files: None, 1e9)
        epoch_start = _now()

        def on_epoch_end(_: Epoch) -> None:
            nonlocal epoch_start
            epoch_times.append(_since(epoch_start))
            start = _now()
            checkpoint = progress.make_checkpoint(loop.read_state(progress))
            copy_times.append(_since(start))
            start = _now()
            writer._save(checkpoint)
            write_times.append(_since(start))
            epoch_start = _now()

        loop.run(progress, epochs=epochs, patience=None, on_epoch_end=on_epoch_end)
        writer.close()
        megabytes = sum(path.stat().st_size for path in folder.glob("*")) / 1e6
    (epoch_wall, epoch_cpu), (copy_wall, copy_cpu), (write_wall, write_cpu) = (
        _typical(times[1:]) for times in (epoch_times, copy_times, write_times)
    )
    print(
        f"{recipe_name}: epoch {epoch_wall:.2f} s ({epoch_cpu:.2f} CPU s), {megabytes:.1f} MB on disk; "
        f"copy {copy_wall * 1e3:.1f} ms ({100 * copy_cpu / epoch_cpu:.2f} % of the epoch's CPU), "
        f"write {write_wall * 1e3:.1f} ms in the background ({100 * write_cpu / epoch_cpu:.2f} %)",
        flush=True,
    )


def _now() -> Times:
    return time.perf_counter(), sum(os.times()[:2])


def _since(start: Times) -> Times:
    now = _now()
    return now[0] - start[0], now[1] - start[1]


def _typical(times: Sequence[Times]) -> Times:
    """Return the median of the wall seconds and the mean of the CPU seconds, whose clock is coarse."""
    return statistics.median(wall for wall, _ in times), statistics.mean(cpu for _, cpu in times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    runtime.import_keras()
    for recipe in options.recipes:
        run_benchmark(recipe, options.epochs)
