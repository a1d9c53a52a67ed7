"""mlctl automl beside what a data scientist would try first, on the same rows: test scores and seconds.

    python tests/benchmarks/automl.py [--timeout 60] [--seeds 1] [TABLE …]

LightGBM and HistGradientBoosting run with their defaults on training and validation rows, categories told to them;
FLAML, where it can be imported (pip install flaml xgboost-cpu), has the same time as mlctl and a holdout. Tables are
scikit-learn's breast_cancer and diabetes, and California housing where MLCTL_DATA_DIR has housing.csv.
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
from mlctl.services.automl.metrics import measured
from mlctl.services.recipes import prepare
from mlctl.settings import load

SHOWN = {True: ("accuracy", "log_loss", "auc"), False: ("mae", "rmse", "normalized_root_mean_squared_error")}
Answers = tuple[dict[str, float], float]


def rows_of(data: Dataset) -> tuple[pd.DataFrame, Any, pd.DataFrame, Any]:
    """Return training and validation rows together, and those of test, words as categories."""
    assert data.test is not None
    known = pd.concat([data.train.inputs, data.validation.inputs], ignore_index=True)
    both = pd.concat([known, data.test.inputs], ignore_index=True)
    for name in both:
        if both[name].dtype.kind not in "iuf":
            both[name] = both[name].astype("category")
    targets = np.concatenate((data.train.targets, data.validation.targets))
    return both[: len(known)], targets, both[len(known) :], data.test.targets


def fitted(model: Any, data: Dataset, **told: Any) -> Answers:
    """Fit a model of scikit-learn's form, and score it on the test rows."""
    known, targets, asked, wanted = rows_of(data)
    started = time.perf_counter()
    model.fit(known, targets, **told)
    answers = model.predict_proba(asked) if data.classes else np.asarray(model.predict(asked))[:, None]
    seconds = time.perf_counter() - started
    span = float(np.ptp(targets))
    return measured(
        wanted, answers[:, 1:] if len(data.classes) == 2 else answers, len(data.classes), span
    ), seconds


def by_lightgbm(data: Dataset, _: float) -> Answers:
    kind = lightgbm.LGBMClassifier if data.classes else lightgbm.LGBMRegressor
    return fitted(kind(verbosity=-1), data)


def by_histogram(data: Dataset, _: float) -> Answers:
    kind = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    return fitted(kind(), data)


def by_flaml(data: Dataset, timeout: float) -> Answers:
    from flaml import AutoML

    told: dict[str, Any] = {"task": "classification", "metric": "log_loss"}
    if not data.classes:
        told = {"task": "regression", "metric": "mae"}
    return fitted(AutoML(), data, time_budget=timeout, eval_method="holdout", verbose=0, **told)


def by_mlctl(source: str, given: dict[str, Any], timeout: float, seed: int) -> Answers:
    """Run the command itself."""
    with tempfile.TemporaryDirectory(prefix="mlctl-automl-") as folder:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "mlctl", "automl", source, "--timeout", f"{timeout:g}s", "--seed", str(seed),
             *(word for pair in given.items() for word in ("--set", "=".join(map(str, pair)))), "-o", "json"],
            cwd=folder, env={**os.environ, "MLCTL_STATE_DIR": f"{folder}/state"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout)["metrics"]
        reached = {
            name.removeprefix("test_"): value for name, value in found.items() if name.startswith("test_")
        }
        return reached, time.perf_counter() - started


def tables(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return each table's source, and what is set on its recipe."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    if (Path(os.environ.get("MLCTL_DATA_DIR", "data")) / "housing.csv").is_file():
        found["housing"] = ("housing", {})
    for name in ("breast_cancer", "diabetes"):
        path = folder / f"{name}.csv"
        getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(path, index=False)
        found[name] = (str(path), {"target": "target"})
    return found


def main() -> None:
    """Print a line a table and program: the means over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    others: dict[str, Callable[[Dataset, float], Answers]] = {
        "lightgbm": by_lightgbm,
        "histgradient": by_histogram,
    }
    try:
        import flaml  # noqa: F401 - whether it is there

        others["flaml"] = by_flaml
    except ImportError as exc:
        print(f"flaml is skipped: {exc}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        for name, (source, given) in tables(Path(temporary)).items():
            if asked.names and name not in asked.names:
                continue
            runs: dict[str, list[Answers]] = {}
            for seed in range(asked.seeds):
                own = {**given, "split_seed": 11 + seed}
                resolved = resolve(source)
                values = prepare.check_values(resolved, own)
                data = prepare.prepare(load(), resolved, values, listener=NullProgress()).data
                for program, run in others.items():
                    runs.setdefault(program, []).append(run(data, asked.timeout))
                runs.setdefault("mlctl automl", []).append(by_mlctl(source, own, asked.timeout, seed))
            for program, found in runs.items():
                figures = "  ".join(
                    f"{metric} {statistics.mean(one[metric] for one, _ in found):<9.5g}"
                    for metric in SHOWN[bool(data.classes)]
                )
                seconds = statistics.mean(spent for _, spent in found)
                print(f"{name:<15}{program:<14}{figures}  {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
