"""Compare `mlctl serve` with `mlflow models serve` for models that stock MLflow saved: requests per CPU second.

    python tests/benchmarks/converted_serving.py [--seconds 4] [--only NAME …]

The models: a Keras CNN with 1,199,882 parameters, and, on a table of 8 numbers, scikit-learn's logistic regression
behind a scaler, a forest of 100 trees, gradient boosting, and LightGBM. mlctl converts each to ONNX at its start.
Both servers get one row a request at 1, 8 and 32 clients, one after the other on the same cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.serving import Result, measure, write_request
from tests.parts import free_port

ROWS, COLUMNS = 2000, 8


def save_models(folder: Path, names: list[str]) -> None:
    """Save the models as MLflow's flavors do, each with its signature and an example."""
    import mlflow
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature

    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        generator.normal(size=(ROWS, COLUMNS)), columns=[f"x{number}" for number in range(COLUMNS)]
    )
    values = (3 * table.x0 + np.sin(table.x1) + generator.normal(size=ROWS) / 10).to_numpy()

    def save(name: str, flavor: Any, model: Any, rows: Any, **options: Any) -> None:
        (folder / name).mkdir()
        signature = infer_signature(rows, model.predict(rows))
        flavor.save_model(
            model,
            str(folder / name),
            signature=signature,
            input_example=rows[:1],
            pip_requirements=["mlflow"],
            **options,
        )

    if "keras" in names:
        save("keras", mlflow.keras, _cnn(), generator.random((2, 28, 28, 1)).astype(np.float32))
    for name, model in _table_models().items():
        if name in names:
            is_classifier = name in ("logistic", "forest")
            fitted = model.fit(table, values > 0 if is_classifier else values)
            options = {} if name == "lightgbm" else {"serialization_format": "cloudpickle"}
            save(name, mlflow.lightgbm if name == "lightgbm" else mlflow.sklearn, fitted, table, **options)


def _cnn() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _table_models() -> dict[str, Any]:
    import lightgbm
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(100, random_state=0),
        "boosting": GradientBoostingRegressor(random_state=0),
        "lightgbm": lightgbm.LGBMRegressor(verbose=-1),
    }


def compare(folder: Path, name: str, seconds: int) -> tuple[Result, Result]:
    """Return the measurements of mlctl and of stock."""
    model, port = folder / name, free_port()
    body = (model / "serving_input_example.json").read_bytes()
    write_request(folder, name, body, "application/json")
    python = [sys.executable, "-m"]
    mlctl = [*python, "mlctl", "serve", str(model), "--port", str(port)]
    stock = [
        *python,
        "mlflow",
        "models",
        "serve",
        "--env-manager",
        "local",
        "-p",
        str(port),
        "-m",
        str(model),
    ]
    first, second = (
        measure(server, command, request=name, port=port, folder=folder, seconds=seconds)
        for server, command in (("mlctl", mlctl), ("stock", stock))
    )
    return first, second


def main() -> None:
    """Measure, and print the table."""
    names = ["keras", "logistic", "forest", "boosting", "lightgbm"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    options = parser.parse_args()
    print("| model | requests per CPU second: mlctl | stock | ratio | requests/s | stock | MB | stock |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="mlctl-bench-") as temporary:
        folder = Path(temporary)
        scripts = str(Path(sys.executable).parent)  # mlflow starts uvicorn from the PATH
        os.environ.update(
            PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}",
            MLCTL_STATE_DIR=str(folder / "state"),
            MLCTL_CACHE_DIR=str(folder / "cache"),
            TF_CPP_MIN_LOG_LEVEL="3",
        )
        save_models(folder, options.only)
        for name in options.only:
            ours, stock = compare(folder, name, options.seconds)
            rates = [
                " / ".join(f"{load.requests_per_s:.0f}" for load in result.loads) for result in (ours, stock)
            ]
            print(
                f"| {name} | {1000 / ours.cpu_ms:.0f} | {1000 / stock.cpu_ms:.0f}"
                f" | {stock.cpu_ms / ours.cpu_ms:.1f}x | {rates[0]} | {rates[1]}"
                f" | {ours.memory_mb:.0f} | {stock.memory_mb:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
