"""Compare the tabular recipe with scikit-learn's HistGradientBoosting, both with their defaults, on the same splits.

    python tests/benchmarks/tables.py [--seeds 1] [TABLE …]

HistGradientBoosting is fitted to training and validation rows together, as its users do. The recipe needs the
validation rows to choose the best epoch. Both are scored on the same test rows. California housing is included if
MLCTL_DATA_DIR contains housing.csv.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mlctl.adapters.keras import runtime
from mlctl.domain.progress import NullProgress
from mlctl.recipes import resolve
from mlctl.scores import compute_scores
from mlctl.services.recipes import prepare
from mlctl.settings import load


def make_clicks(rows: int = 6000) -> pd.DataFrame:
    """Return synthetic customers who buy or not, with interactions and missing values."""
    rng = np.random.default_rng(3)
    columns = {
        "age": rng.integers(18, 90, rows).astype(float),
        "price": rng.lognormal(3, 0.8, rows).round(2),
        "city": rng.choice(["Bonn", "Lyon", "Oslo", "Porto", "Turku", "Gent"], rows),
        "plan": rng.choice(["free", "basic", "pro"], rows, p=[0.6, 0.3, 0.1]),
        "member": rng.choice(["yes", "no"], rows),
        "seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 500 * 1440, rows), unit="min"),
    }
    frame = pd.DataFrame(columns)
    weekend = frame["seen"].dt.dayofweek >= 5
    z = np.where((frame["age"] > 30) & (frame["age"] < 55), 1.5, -0.8) + 1.2 * weekend
    z += np.where(frame["plan"] == "pro", 2.0, 0.0) - 0.03 * frame["price"] * (frame["member"] == "no")
    z += frame["city"].map({"Bonn": 0.5, "Lyon": -0.5, "Oslo": 1.0}).fillna(0)
    frame["bought"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-z)), "yes", "no")
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    return frame


def make_machine(rows: int = 5000) -> pd.DataFrame:
    """Return the synthetic power consumption of machines in kW: Friedman's function, scaled by a category."""
    x, y = datasets.make_friedman1(rows, noise=1.0, random_state=5)
    frame = pd.DataFrame(x, columns=[f"sensor_{number}" for number in range(x.shape[1])])
    kind = np.random.default_rng(6).choice(["old", "new", "test"], rows)
    frame["kind"] = kind
    frame["kw"] = y * pd.Series(kind).map({"old": 1.5, "new": 1.0, "test": 0.7}).to_numpy()
    return frame


def write_tables(folder: Path) -> dict[str, tuple[Path, str]]:
    """Write every table as CSV; return the file and the target of each."""
    frames: dict[str, tuple[pd.DataFrame, str]] = {
        name: (getattr(datasets, f"load_{name}")(as_frame=True).frame, "target")
        for name in ("breast_cancer", "wine", "diabetes")
    }
    frames |= {"clicks": (make_clicks(), "bought"), "machine": (make_machine(), "kw")}
    files = {}
    for name, (frame, target) in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        files[name] = (folder / f"{name}.csv", target)
    housing = Path(os.environ.get("MLCTL_DATA_DIR", "data")) / "housing.csv"
    if housing.is_file():
        files["housing"] = (housing, "median_house_value")
    return files


def score_recipe(
    path: Path, target: str, seed: int, overrides: dict[str, Any]
) -> tuple[prepare.PreparedData, dict[str, float]]:
    """Train the recipe with its defaults, and score its best epoch on the test rows."""
    from mlctl.adapters.keras.fit import make_training_loop
    from mlctl.adapters.keras.training_loop import TrainingProgress

    resolved = resolve(str(path))
    values = prepare.check_values(resolved, {"target": target, "split_seed": 7 + seed, **overrides})
    prepared = prepare.prepare(load(), resolved, values, listener=NullProgress())
    data, test = prepared.data, prepared.data.test
    assert test is not None
    runtime.start_session(seed, runtime.FLOAT32)
    model = prepared.recipe.build(prepared.values, data)
    classes = len(data.classes)
    loop = make_training_loop(
        model,
        prepared.encoded(data.train),
        data.train.targets,
        validation=(prepared.encoded(data.validation), data.validation.targets),
        classes=classes,
        batch_size=prepared.values.batch_size,
        seed=seed,
        listener=NullProgress(),
    )
    progress = loop.run(
        TrainingProgress(prepared.objective),
        epochs=prepared.values.epochs,
        patience=None,
        on_epoch_end=lambda _: None,
    )
    model.set_weights(progress.best_weights)
    predictions = np.asarray(model(prepared.encoded(test), training=False))
    scores = compute_scores(test.targets, predictions, classes)
    assert progress.best is not None
    return prepared, {**scores, "best_epoch": progress.best.number}


def score_boosting(prepared: prepare.PreparedData, seed: int) -> dict[str, float]:
    """Fit HistGradientBoosting with its defaults to the same rows, with categories declared, and score it."""
    data = prepared.data
    assert data.test is not None
    known = pd.concat([data.train.inputs, data.validation.inputs], ignore_index=True)
    inputs = pd.concat([known, data.test.inputs], ignore_index=True)
    for name, kind in data.extra["columns"].items():
        if kind == "date":
            dates = pd.to_datetime(inputs[name])
            inputs[name], inputs[f"{name}_day"] = dates.astype("int64"), dates.dt.dayofweek
        elif kind != "number":
            inputs[name] = inputs[name].astype("category")
    model_class = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    model = model_class(random_state=seed, categorical_features="from_dtype")
    model.fit(inputs[: len(known)], np.concatenate([data.train.targets, data.validation.targets]))
    test_inputs = inputs[len(known) :]
    predictions = model.predict_proba(test_inputs) if data.classes else model.predict(test_inputs)[:, None]
    if len(data.classes) == 2:
        predictions = predictions[:, 1:]
    return compute_scores(data.test.targets, predictions, len(data.classes))


def main() -> None:
    """Print one line per table: both scores and their difference, in points or in percent of the error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    runtime.import_keras()
    overrides = dict(assignment.split("=", 1) for assignment in options.set)
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, target) in write_tables(Path(folder)).items():
            if options.names and name not in options.names:
                continue
            runs = []
            for seed in range(options.seeds):
                prepared, recipe_scores = score_recipe(path, target, seed, overrides)
                runs.append((recipe_scores, score_boosting(prepared, seed)))
            is_classification = bool(prepared.data.classes)
            line = [f"{name:<14}"]
            for metric in ("accuracy", "f1") if is_classification else ("mae", "rmse"):
                recipe, boosting = (float(np.mean([run[side][metric] for run in runs])) for side in (0, 1))
                difference = (
                    f"{100 * (recipe - boosting):+.1f} points"
                    if is_classification
                    else f"{recipe / boosting - 1:+.1%}"
                )
                line.append(f"{metric} {recipe:.5g}, boosting {boosting:.5g} ({difference})")
            print(
                "  ".join(line), " best epochs", [int(scores["best_epoch"]) for scores, _ in runs], flush=True
            )


if __name__ == "__main__":
    main()
