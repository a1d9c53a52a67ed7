"""Compare mlctl automl with what a data scientist would try first, on the same rows: test scores and seconds.

    python tests/benchmarks/automl.py [--timeout 60] [--seeds 1] [TABLE …]

LightGBM and HistGradientBoosting are fitted with their defaults to training and validation rows, with categorical
columns declared. FLAML runs if it is installed (pip install flaml xgboost-cpu), with the same time limit as mlctl and
a holdout. The tables are scikit-learn's breast_cancer and diabetes, and California housing if MLCTL_DATA_DIR contains
housing.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mlctl.data.dataset import Dataset
from mlctl.domain.progress import NullProgress
from mlctl.recipes import resolve
from mlctl.services.automl.metrics import measure
from mlctl.services.recipes import prepare
from mlctl.settings import load

CLASSIFICATION_METRICS = ("accuracy", "log_loss", "auc")
REGRESSION_METRICS = ("mae", "rmse", "normalized_root_mean_squared_error")
Result = tuple[dict[str, float], float]  # metrics, seconds


def to_frames(data: Dataset) -> tuple[pd.DataFrame, Any, pd.DataFrame, Any]:
    """Return inputs and targets of training and validation rows together, and those of the test rows."""
    assert data.test is not None
    known = pd.concat([data.train.inputs, data.validation.inputs], ignore_index=True)
    inputs = pd.concat([known, data.test.inputs], ignore_index=True)
    for name in inputs:
        if inputs[name].dtype.kind not in "iuf":
            inputs[name] = inputs[name].astype("category")
    targets = np.concatenate((data.train.targets, data.validation.targets))
    return inputs[: len(known)], targets, inputs[len(known) :], data.test.targets


def fit_and_score(model: Any, data: Dataset, **fit_options: Any) -> Result:
    """Fit a model with scikit-learn's interface, and score it on the test rows."""
    inputs, targets, test_inputs, test_targets = to_frames(data)
    started = time.perf_counter()
    model.fit(inputs, targets, **fit_options)
    if data.classes:
        predictions = model.predict_proba(test_inputs)
    else:
        predictions = np.asarray(model.predict(test_inputs))[:, None]
    seconds = time.perf_counter() - started
    if len(data.classes) == 2:
        predictions = predictions[:, 1:]
    return measure(test_targets, predictions, len(data.classes), float(np.ptp(targets))), seconds


def run_lightgbm(data: Dataset, _: float) -> Result:
    model_class = lightgbm.LGBMClassifier if data.classes else lightgbm.LGBMRegressor
    return fit_and_score(model_class(verbosity=-1), data)


def run_histgradient(data: Dataset, _: float) -> Result:
    model_class = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    return fit_and_score(model_class(), data)


def run_flaml(data: Dataset, timeout: float) -> Result:
    from flaml import AutoML

    task = {"task": "classification", "metric": "log_loss"}
    if not data.classes:
        task = {"task": "regression", "metric": "mae"}
    return fit_and_score(AutoML(), data, time_budget=timeout, eval_method="holdout", verbose=0, **task)


def run_mlctl(source: str, overrides: dict[str, Any], timeout: float, seed: int) -> Result:
    """Run mlctl automl in its own process."""
    sets = [word for name, value in overrides.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "mlctl", "automl", source, "--timeout", f"{timeout:g}s"]
    with tempfile.TemporaryDirectory(prefix="mlctl-automl-") as folder:
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--seed", str(seed), *sets, "-o", "json"],
            cwd=folder,
            env={**os.environ, "MLCTL_STATE_DIR": f"{folder}/state"},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr)
    metrics = json.loads(done.stdout)["metrics"]
    scores = {
        name.removeprefix("test_"): value for name, value in metrics.items() if name.startswith("test_")
    }
    return scores, seconds


def write_tables(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the source of each table and the overrides of its recipe."""
    tables: dict[str, tuple[str, dict[str, Any]]] = {}
    if (Path(os.environ.get("MLCTL_DATA_DIR", "data")) / "housing.csv").is_file():
        tables["housing"] = ("housing", {})
    for name in ("breast_cancer", "diabetes"):
        path = folder / f"{name}.csv"
        getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(path, index=False)
        tables[name] = (str(path), {"target": "target"})
    return tables


def main() -> None:
    """Print one line per table and program, with means over the seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    competitors: dict[str, Callable[[Dataset, float], Result]] = {
        "lightgbm": run_lightgbm,
        "histgradient": run_histgradient,
    }
    try:
        import flaml  # noqa: F401 - is it installed?

        competitors["flaml"] = run_flaml
    except ImportError as exc:
        print(f"flaml is skipped: {exc}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        for name, (source, overrides) in write_tables(Path(temporary)).items():
            if options.names and name not in options.names:
                continue
            results: dict[str, list[Result]] = {}
            for seed in range(options.seeds):
                split_overrides = {**overrides, "split_seed": 11 + seed}
                resolved = resolve(source)
                values = prepare.check_values(resolved, split_overrides)
                data = prepare.prepare(load(), resolved, values, listener=NullProgress()).data
                for program, run in competitors.items():
                    results.setdefault(program, []).append(run(data, options.timeout))
                result = run_mlctl(source, split_overrides, options.timeout, seed)
                results.setdefault("mlctl automl", []).append(result)
            metrics = CLASSIFICATION_METRICS if data.classes else REGRESSION_METRICS
            for program, program_results in results.items():
                means = "  ".join(
                    f"{metric} {statistics.mean(scores[metric] for scores, _ in program_results):<9.5g}"
                    for metric in metrics
                )
                seconds = statistics.mean(seconds for _, seconds in program_results)
                print(f"{name:<15}{program:<14}{means}  {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
