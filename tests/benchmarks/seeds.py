"""Measure what a recipe reaches with its defaults: `python tests/benchmarks/seeds.py digits --seeds 10`.

It trains with each seed on this processor's arithmetic, and on that of an older processor, which rounds differently:
without AVX, and without oneDNN. For each kind this prints the lowest and the highest test score of the kept epochs,
those of the epochs that the objective alone would keep, and the CPU seconds of a training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

KINDS: Mapping[str, Mapping[str, str]] = {
    "this processor": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"},
    "SSE4.1, without oneDNN": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Sandybridge",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    },
}


def train_seeds(recipe_name: str, seeds: int, split_seed: int | None) -> None:
    """Train with each seed in this process; print one JSON line for each."""
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    from mlctl.adapters.keras.fit import make_training_loop
    from mlctl.adapters.keras.outputs import infer_outputs
    from mlctl.adapters.keras.training_loop import TrainingProgress
    from mlctl.domain.progress import Epoch, NullProgress
    from mlctl.recipes import resolve
    from mlctl.services.recipes import prepare
    from mlctl.settings import load

    resolved = resolve(recipe_name)
    overrides = {} if split_seed is None else {"split_seed": split_seed}
    values = prepare.check_values(resolved, overrides)
    prepared = prepare.prepare(load(), resolved, values, listener=NullProgress())
    data, objective = prepared.data, prepared.objective
    assert data.test is not None
    test = prepared.encoded_split(data.test)
    metric = objective.metric.removeprefix("val_")
    for seed in range(seeds):
        started = _cpu_s()
        runtime.start_session(seed, runtime.FLOAT32)
        model = prepared.recipe.build(prepared.values, data)
        loop = make_training_loop(
            model,
            prepared.encoded_split(data.train),
            validation=prepared.encoded_split(data.validation),
            outputs=infer_outputs(model, data),
            batch_size=prepared.values.batch_size,
            seed=seed,
            listener=NullProgress(),
            epochs=prepared.values.epochs,
        )
        progress = TrainingProgress(objective)
        best: tuple[Epoch, list[Any]] | None = None  # by the objective alone

        def on_epoch_end(epoch: Epoch) -> None:
            nonlocal best
            score = epoch.metrics[objective.metric]
            if best is None or objective.is_better(score, best[0].metrics[objective.metric]):
                best = epoch, model.get_weights()  # noqa: B023 - it is called in this iteration

        loop.run(progress, epochs=prepared.values.epochs, patience=None, on_epoch_end=on_epoch_end)
        cpu_s = _cpu_s() - started
        assert best is not None
        scores = []
        for weights in (progress.best_weights, best[1]):
            model.set_weights(weights)
            evaluation = loop.predictor.evaluate(test)
            scores.append({**loop.score(evaluation), **evaluation.metrics}[metric])
        epoch = progress.best.number if progress.best else 0
        line = {
            "seed": seed,
            "metric": metric,
            "test": scores[0],
            "objective_alone": scores[1],
            "epoch": epoch,
        }
        print(json.dumps({**line, "cpu_s": round(cpu_s, 2)}), flush=True)


def run_benchmark(recipe_name: str, seeds: int, split_seed: int | None, kinds: list[str]) -> None:
    """Train in a process for each kind of arithmetic, and print what was reached."""
    for kind in kinds:
        arguments = [recipe_name, "--seeds", str(seeds), "--one-kind"]
        arguments += [] if split_seed is None else ["--split-seed", str(split_seed)]
        done = subprocess.run(
            [sys.executable, __file__, *arguments],
            env={**os.environ, **KINDS[kind]},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        results = [json.loads(line) for line in done.stdout.splitlines()]
        tests, alone = ([result[key] for result in results] for key in ("test", "objective_alone"))
        epochs = [result["epoch"] for result in results]
        print(
            f"{recipe_name}, {kind}: test {results[0]['metric']} {min(tests):.4f} to {max(tests):.4f} of {seeds} "
            f"seeds, epochs {min(epochs)} to {max(epochs)} kept (by the objective alone {min(alone):.4f} to "
            f"{max(alone):.4f}); {statistics.median(result['cpu_s'] for result in results):.1f} CPU s a training",
            flush=True,
        )


def _cpu_s() -> float:
    return sum(os.times()[:2])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--split-seed", type=int)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="default: all")
    parser.add_argument("--one-kind", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_kind:
        train_seeds(options.recipe, options.seeds, options.split_seed)
    else:
        run_benchmark(options.recipe, options.seeds, options.split_seed, options.kind or list(KINDS))
