"""The models of the serving benchmark, with the request that is sent to each server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = 64  # of the pictures


@dataclass(frozen=True, kw_only=True)
class BenchmarkModel:
    """A model of the benchmark.

    Attributes:
        name: Its name in the table.
        served: Folder that mlctl serves.
        stock: Folder that `mlflow models serve` serves.
        peer: Folder from which the peers load what they serve.
        request: Body of a request to mlctl and the peers.
        content_type: Content type of `request`.
        stock_request: Body of the request to `mlflow models serve`, in JSON.
        kind: Name of the service in peers/bento.py.
        high: Value of a fully lit pixel.
    """

    name: str
    served: Path
    stock: Path
    peer: Path
    request: bytes
    content_type: str
    stock_request: bytes
    kind: str
    high: float = 1.0


def make(name: str, folder: Path) -> BenchmarkModel:
    """Train or save a model of the benchmark in a folder."""
    folder.mkdir()
    return {
        "mnist": _mnist,
        "digits": _digits,
        "housing": _housing,
        "keras": _stock_keras,
        "sklearn": _sklearn,
        "pictures": _pictures,
    }[name](folder)


def _train(folder: Path, *arguments: str) -> Path:
    """Train with mlctl and return the folder of the logged model."""
    command = [sys.executable, "-m", "mlctl", "train", *arguments, "-o", "json"]
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/store.db"}
    run_id = json.loads(_run(command, folder, environment))["run_id"]
    target = folder / "trained"
    program = "import sys, mlflow; mlflow.artifacts.download_artifacts(sys.argv[1], dst_path=sys.argv[2])"
    client = "import sys, mlflow; print(mlflow.MlflowClient().get_run(sys.argv[1]).outputs.model_outputs[0].model_id)"
    model_id = _run([sys.executable, "-c", client, run_id], folder, environment).strip()
    _run([sys.executable, "-c", program, f"models:/{model_id}", str(target)], folder, environment)
    return target


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def _of_mlctl(name: str, trained: Path, *, kind: str, request: dict[str, Any], **more: Any) -> BenchmarkModel:
    body = json.dumps(request).encode()
    return BenchmarkModel(
        name=name,
        served=trained,
        stock=trained,
        peer=more.pop("peer", trained / "artifacts" / "model"),
        request=more.pop("body", body),
        content_type=more.pop("content_type", "application/json"),
        stock_request=body,
        kind=kind,
        **more,
    )


def _mnist(folder: Path) -> BenchmarkModel:
    """The CNN with 1,199,882 parameters, with random weights."""
    import keras
    import numpy as np
    from keras import layers

    from mlctl.adapters.models.save import save_model
    from mlctl.serving.scoring import PixelEncoder

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    assert model.count_params() == 1_199_882
    images = np.random.default_rng(1).integers(0, 256, (64, 28, 28), dtype=np.uint8)
    encoder = PixelEncoder((28, 28), high=255)
    save_model(
        folder / "trained",
        model,
        encoder=encoder,
        raw=images,
        encoded=encoder(images),
        metadata={"task": "multiclass", "classes": list("0123456789"), "unit": "", "recipe": "mnist"},
    )
    request = {"inputs": images[:1].tolist()}
    return _of_mlctl("mnist", folder / "trained", kind="Tensor", request=request, high=255.0)


def _digits(folder: Path) -> BenchmarkModel:
    from sklearn.datasets import load_digits

    trained = _train(folder, "digits", "--epochs", "2")
    request = {"inputs": load_digits().images[:1].tolist()}
    return _of_mlctl("digits", trained, kind="Tensor", request=request, high=16.0)


def _housing(folder: Path) -> BenchmarkModel:
    trained = _train(folder, "housing", "--epochs", "2", "--data", "synthetic")
    row = json.loads((trained / "serving_input_example.json").read_text())["dataframe_split"]
    request = {"dataframe_split": {"columns": row["columns"], "data": row["data"][:1]}}
    return _of_mlctl("housing", trained, kind="Table", request=request, peer=trained)


def _pictures(folder: Path) -> BenchmarkModel:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for label in ("dark", "light"):
        (folder / "data" / label).mkdir(parents=True)
        for number in range(60):
            pixels = random.integers(0, 128, (SIZE, SIZE, 3)) + (128 if label == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "data" / label / f"{number}.png")
    trained = _train(folder, str(folder / "data"), "--epochs", "1", "--set", f"image_size={SIZE}")
    picture = folder / "data" / "light" / "0.png"
    request = {"inputs": np.asarray(Image.open(picture))[np.newaxis].tolist()}
    return _of_mlctl(
        "pictures",
        trained,
        kind="Picture",
        request=request,
        body=picture.read_bytes(),
        content_type="image/png",
    )


def _stock_keras(folder: Path) -> BenchmarkModel:
    """A convolution for 28x28 pixels, as `mlflow.keras` logs it."""
    import keras
    import mlflow
    import numpy as np
    from keras import layers

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    rows = np.random.default_rng(1).random((8, 28, 28, 1)).astype(np.float32)
    signature = mlflow.models.infer_signature(rows, model.predict(rows, verbose=0))
    (folder / "model").mkdir()  # MLflow saves the example before it makes the folder
    mlflow.keras.save_model(
        model, str(folder / "model"), signature=signature, input_example=rows[:2], pip_requirements=["keras"]
    )
    body = json.dumps({"inputs": rows[:1].round(4).tolist()}).encode()
    return _of_stock("keras", folder / "model", body, kind="Tensor")


def _sklearn(folder: Path) -> BenchmarkModel:
    """A pipeline of imputer, scaler, one-hot encoder and forest on eight columns."""
    import mlflow
    import numpy as np
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(0)
    rows = pd.DataFrame({f"x{number}": random.normal(size=500) for number in range(6)})
    rows["city"], rows["kind"] = random.choice(["Rome", "Oslo"], 500), random.choice(["a", "b", "c"], 500)
    numbers = [f"x{number}" for number in range(6)]
    encode = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "kind"]),
        ]
    )
    model = make_pipeline(encode, RandomForestClassifier(50, random_state=0))
    model.fit(rows, (rows["x0"] + rows["x1"] > 0).astype(int))
    mlflow.sklearn.save_model(
        model,
        str(folder / "model"),
        signature=mlflow.models.infer_signature(rows, model.predict(rows)),
        input_example=rows[:2],
        pip_requirements=["scikit-learn"],
        skops_trusted_types=["numpy.dtype", "sklearn.tree._tree.Tree"],
    )
    row = {"columns": list(rows), "data": rows[:1].to_numpy().tolist()}
    return _of_stock("sklearn", folder / "model", json.dumps({"dataframe_split": row}).encode(), kind="Table")


def _of_stock(name: str, model: Path, body: bytes, *, kind: str) -> BenchmarkModel:
    return BenchmarkModel(
        name=name,
        served=model,
        stock=model,
        peer=model,
        request=body,
        content_type="application/json",
        stock_request=body,
        kind=kind,
    )
