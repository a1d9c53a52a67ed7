"""The tabular recipe beside scikit-learn's HistGradientBoosting, both with their defaults, on the same splits.

    python tests/benchmarks/tables.py [--seeds 1] [TABLE …]

HistGradientBoosting is fitted to training and validation rows together, as its user would; the recipe keeps
its validation rows for choosing the epoch. Both are scored on the same test rows. Set MLCTL_DATA_DIR to a
folder with housing.csv to have that table, too.
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


def clicks(rows: int = 6000) -> pd.DataFrame:
    """Made up: who buys, from an age, a price, a city, a plan and a weekday, with interactions and gaps."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({
        "age": rng.integers(18, 90, rows).astype(float),
        "price": rng.lognormal(3, 0.8, rows).round(2),
        "city": rng.choice(["Bonn", "Lyon", "Oslo", "Porto", "Turku", "Gent"], rows),
        "plan": rng.choice(["free", "basic", "pro"], rows, p=[0.6, 0.3, 0.1]),
        "member": rng.choice(["yes", "no"], rows),
        "seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 500 * 1440, rows), unit="min"),
    })  # fmt: skip
    weekend = frame["seen"].dt.dayofweek >= 5
    z = np.where((frame["age"] > 30) & (frame["age"] < 55), 1.5, -0.8) + 1.2 * weekend
    z += np.where(frame["plan"] == "pro", 2.0, 0.0) - 0.03 * frame["price"] * (frame["member"] == "no")
    z += frame["city"].map({"Bonn": 0.5, "Lyon": -0.5, "Oslo": 1.0}).fillna(0)
    frame["bought"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-z)), "yes", "no")
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    return frame


def machine(rows: int = 5000) -> pd.DataFrame:
    """Made up: a machine's consumption, Friedman's function with a category that scales it, in kW."""
    x, y = datasets.make_friedman1(rows, noise=1.0, random_state=5)
    frame = pd.DataFrame(x, columns=[f"sensor_{number}" for number in range(x.shape[1])])
    kind = np.random.default_rng(6).choice(["old", "new", "test"], rows)
    frame["kind"] = kind
    frame["kw"] = y * pd.Series(kind).map({"old": 1.5, "new": 1.0, "test": 0.7}).to_numpy()
    return frame


def tables(folder: Path) -> dict[str, tuple[Path, str]]:
    """Write every table as CSV; return its file and target by name."""
    made: dict[str, tuple[pd.DataFrame, str]] = {
        name: (getattr(datasets, f"load_{name}")(as_frame=True).frame, "target")
        for name in ("breast_cancer", "wine", "diabetes")
    }
    made |= {"clicks": (clicks(), "bought"), "machine": (machine(), "kw")}
    found = {}
    for name, (frame, target) in made.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        found[name] = (folder / f"{name}.csv", target)
    housing = Path(os.environ.get("MLCTL_DATA_DIR", "data")) / "housing.csv"
    if housing.is_file():
        found["housing"] = (housing, "median_house_value")
    return found


def ours(
    path: Path, target: str, seed: int, given: dict[str, Any]
) -> tuple[prepare.PreparedData, dict[str, float]]:
    """Train the recipe with its defaults, and score the kept epoch on the test rows."""
    from mlctl.adapters.keras.fit import make_training_loop
    from mlctl.adapters.keras.training_loop import TrainingProgress

    resolved = resolve(str(path))
    values = prepare.check_values(resolved, {"target": target, "split_seed": 7 + seed, **given})
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
    answers = np.asarray(model(prepared.encoded(test), training=False))
    reached = compute_scores(test.targets, answers, classes)
    assert progress.best is not None
    return prepared, {**reached, "best_epoch": progress.best.number}


def theirs(prepared: prepare.PreparedData, seed: int) -> dict[str, float]:
    """Fit HistGradientBoosting with its defaults to the same rows, categories told, and score it."""
    data = prepared.data
    assert data.test is not None
    fitted = pd.concat([data.train.inputs, data.validation.inputs], ignore_index=True)
    both = pd.concat([fitted, data.test.inputs], ignore_index=True)
    for name, kind in data.extra["columns"].items():
        if kind == "date":
            moments = pd.to_datetime(both[name])
            both[name], both[f"{name}_day"] = moments.astype("int64"), moments.dt.dayofweek
        elif kind != "number":
            both[name] = both[name].astype("category")
    made = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    model = made(random_state=seed, categorical_features="from_dtype")
    model.fit(both[: len(fitted)], np.concatenate([data.train.targets, data.validation.targets]))
    rest = both[len(fitted) :]
    answers = model.predict_proba(rest) if data.classes else model.predict(rest)[:, None]
    return compute_scores(data.test.targets, answers[:, 1:] if len(data.classes) == 2 else answers, len(data.classes))


def main() -> None:
    """Print a line a table: both scores, and by how much ours is behind (points, or percent of the error)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    runtime.import_keras()
    given = dict(one.split("=", 1) for one in asked.set)
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, target) in tables(Path(folder)).items():
            if asked.names and name not in asked.names:
                continue
            runs = []
            for seed in range(asked.seeds):
                prepared, mine = ours(path, target, seed, given)
                runs.append((mine, theirs(prepared, seed)))
            shown = ("accuracy", "f1") if prepared.data.classes else ("mae", "rmse")
            words = [f"{name:<14}"]
            for metric in shown:
                a, b = (float(np.mean([run[side][metric] for run in runs])) for side in (0, 1))
                gap = f"{100 * (a - b):+.1f} points" if prepared.data.classes else f"{a / b - 1:+.1%}"
                words.append(f"{metric} {a:.5g} against {b:.5g} ({gap})")
            print("  ".join(words), " best epochs", [int(run[0]["best_epoch"]) for run in runs], flush=True)


if __name__ == "__main__":
    main()
