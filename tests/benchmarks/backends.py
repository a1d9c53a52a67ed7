"""Which recipes and scripts train on which Keras backend, and what works with the result.

    python -m tests.benchmarks.backends --folder FOLDER [--backends jax,torch] [--only digits,script,…] [--keep FILE]

Each source is trained for a few epochs with KERAS_BACKEND, and its process is killed in the third one. Then, without
KERAS_BACKEND: `mlctl resume` ends the run with every epoch once, the run has a logged model, ONNX Runtime answers for it,
and `predict`, `evaluate`, `serve` and `export model` take it. A source that is refused has the message and no run.
Generated data of a few hundred rows; a minute for each cell. `--keep FILE` adds each row to a file of JSON lines, and
rows that it holds already are not tried again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
from PIL import Image

EPOCHS, KILLED_IN = 8, 3
TRAIN, RESUME, LOG, ONNX, PREDICT, EVALUATE, SERVE, EXPORT = STEPS = (
    "train",
    "resume",
    "log",
    "ONNX",
    "predict",
    "evaluate",
    "serve",
    "export",
)
YES, NO = "yes", "no"
SCRIPT = """\
import keras
import numpy as np
from sklearn.datasets import load_digits

keras.utils.set_random_seed(0)
pixels, labels = load_digits(return_X_y=True)
pixels = (pixels / 16).astype("float32")
model = keras.Sequential(
    [keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dropout(0.1), keras.layers.Dense(10, "softmax")]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(pixels[:1200], labels[:1200], epochs=8, validation_data=(pixels[1200:1500], labels[1200:1500]), verbose=2)
model.evaluate(pixels[1500:], labels[1500:], verbose=0)
"""
OWN_LAYER = """\
import keras
import numpy as np


class Scaled(keras.layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform")

    def call(self, inputs):
        return keras.ops.tanh(keras.ops.matmul(inputs, self.kernel))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Batches(keras.utils.PyDataset):
    def __init__(self, rows):
        super().__init__()
        generator = np.random.default_rng(0)
        self.x = {"a": generator.normal(size=(rows, 4)).astype("float32"),
                  "b": generator.normal(size=(rows, 2)).astype("float32")}
        self.y = (self.x["a"].sum(1) + self.x["b"].sum(1) > 0).astype("float32")[:, None]

    def __len__(self):
        return len(self.y) // 16

    def __getitem__(self, number):
        rows = slice(number * 16, (number + 1) * 16)
        return {name: array[rows] for name, array in self.x.items()}, self.y[rows]


keras.utils.set_random_seed(0)
inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((2,), name="b")}
hidden = Scaled(16)(keras.layers.Concatenate()([inputs["a"], inputs["b"]]))
model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(Batches(400), epochs=8, validation_data=Batches(80), verbose=2)
"""
ROWS = ("--data", "synthetic", "--rows", "300")
SOURCES: dict[str, Sequence[str]] = {
    "digits": ("digits",),
    "mnist": ("mnist", *ROWS),
    "mnist-mlp": ("mnist-mlp", *ROWS),
    "mnist-cnn": ("mnist-cnn", *ROWS),
    "housing": ("housing", *ROWS),
    "imdb": ("imdb", *ROWS),
    "tabular": ("table.csv", "--target", "label"),
    "texts": ("texts.csv", "--target", "label"),
    "images": ("pictures",),
    "script": ("train.py",),
    "script, own layer, PyDataset": ("own_layer.py",),
}
TEST_ROWS = {"tabular": "table.csv", "texts": "texts.csv", "images": "pictures"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What works with one source on one backend: YES, NO, or a reason, by step; or the message that refuses it."""

    source: str
    backend: str
    steps: dict[str, str]
    refused: str = ""


def make_sources(folder: Path) -> None:
    """Write the user's own data and scripts."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=300), "b": rng.choice(["x", "y", "z"], 300)})
    table["label"] = np.where(table["a"] > 0, "high", "low")
    table.to_csv(folder / "table.csv", index=False)
    texts = [f"{'good film' if number % 2 else 'bad movie'} {number}" for number in range(200)]
    labels = ["positive" if number % 2 else "negative" for number in range(200)]
    pd.DataFrame({"text": texts, "label": labels}).to_csv(folder / "texts.csv", index=False)
    for number in range(80):
        path = folder / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100 + 100 * (number % 2), (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    (folder / "train.py").write_text(SCRIPT)
    (folder / "own_layer.py").write_text(OWN_LAYER)


def mlctl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command without KERAS_BACKEND."""
    return subprocess.run(
        [sys.executable, "-m", "mlctl", *arguments],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return an environment with a store of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLCTL_STATE_DIR": f"{folder}/state"}
    return {**inherited, **store, **variables}


def train_and_kill(folder: Path, backend: str, source: Sequence[str]) -> str:
    """Train, and kill the process in an epoch; return the message if the training is refused."""
    is_script = source[0].endswith(".py")
    epochs = () if is_script else ("--epochs", str(EPOCHS))
    process = subprocess.Popen(
        [sys.executable, "-m", "mlctl", "train", *source, *epochs],
        cwd=folder,
        env=environment(folder, KERAS_BACKEND=backend),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    # Keras names an epoch when it begins, and mlctl when it has ended
    wanted = f"epoch {KILLED_IN if is_script else KILLED_IN - 1}/"
    for line in process.stderr:
        lines.append(line.strip())
        if line.lower().startswith(wanted):
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.close()
    if process.wait() in (2, 5):
        return next((line for line in lines if line.lower().startswith("error")), lines[0]).partition(": ")[2]
    return "" if process.returncode in (0, -signal.SIGKILL) else f"exit {process.returncode}: {lines[-2:]}"


def try_source(folder: Path, name: str, backend: str) -> Result:
    """Return what works."""
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was interrupted
    folder.mkdir(parents=True)
    make_sources(folder)
    refused = train_and_kill(folder, backend, SOURCES[name])
    if refused:
        return Result(source=name, backend=backend, steps={TRAIN: NO}, refused=refused)
    resumed = mlctl(folder, "resume", "last", "-o", "json")
    if resumed.returncode:
        return Result(source=name, backend=backend, steps={TRAIN: YES, RESUME: resumed.stderr[-300:]})
    run: dict[str, Any] = json.loads(resumed.stdout)
    run_id, tags = run["run_id"], run["tags"]
    steps = {
        TRAIN: YES if run["params"].get("backend") == backend else f"on {run['params'].get('backend')}",
        RESUME: YES if epochs_of(folder, run_id) == list(range(1, EPOCHS + 1)) else "other epochs",
        LOG: YES if run["model_uri"] else tags.get("mlctl.model_error", NO),
    }
    if run["model_uri"]:
        steps[ONNX] = YES if tags["mlctl.runtime"] == "onnxruntime" else tags.get("mlctl.runtime_reason", NO)
        is_script = SOURCES[name][0].endswith(".py")
        rows = TEST_ROWS.get(name)
        if not is_script:
            given = [rows] if rows else ["--sample", "3"]
            steps[PREDICT] = outcome(mlctl(folder, "predict", run_id, *given))
            if rows or name == "digits":  # the others' data here is generated
                steps[EVALUATE] = outcome(mlctl(folder, "evaluate", run_id, rows or name))
        else:
            example = next(iter(folder.rglob("serving_input_example.json")))
            steps[PREDICT] = outcome(mlctl(folder, "predict", run_id, str(example)))
        steps[SERVE] = serve(folder, run_id)
        steps[EXPORT] = outcome(mlctl(folder, "export", "model", run_id, "--to", "keras", "exported"))
    return Result(source=name, backend=backend, steps=steps)


def epochs_of(folder: Path, run_id: str) -> list[int]:
    """Return the epochs of the run's losses."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        query = "SELECT step FROM metrics WHERE run_uuid = ? AND key = 'loss' ORDER BY step"
        return [step for (step,) in store.execute(query, (run_id,))]


def outcome(done: subprocess.CompletedProcess[str]) -> str:
    """Return YES, or the message of a command that failed."""
    return YES if not done.returncode else done.stderr.strip().splitlines()[0][-200:]


def serve(folder: Path, run_id: str) -> str:
    """Serve the model, and ask it its input example."""
    started = mlctl(folder, "serve", run_id, "--port", "0", "--detach", "-o", "json")
    if started.returncode:
        return outcome(started)
    endpoint = json.loads(started.stdout)
    example = next(iter(folder.rglob("serving_input_example.json"))).read_bytes()
    try:
        request = Request(
            f"{endpoint['url'].rstrip('/')}/invocations", example, {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=60) as answer:
            return YES if json.load(answer)["predictions"] else NO
    finally:
        mlctl(folder, "endpoints", "stop", endpoint["name"], "--yes")


def print_table(results: Sequence[Result]) -> None:
    """Print one Markdown row per source and backend."""
    print(f"| source | backend | {' | '.join(STEPS)} |\n| --- | --- |{' --- |' * len(STEPS)}")
    for result in results:
        if result.refused:
            cells = [f"refused: {result.refused}", *[""] * (len(STEPS) - 1)]
        else:
            cells = [result.steps.get(step, "").replace("\n", " ") for step in STEPS]
        print(f"| {result.source} | {result.backend} | {' | '.join(cells)} |")


def read_results(file: Path | None) -> Iterator[Result]:
    """Yield the results of earlier calls."""
    if file is not None and file.exists():
        for line in file.read_text().splitlines():
            yield Result(**json.loads(line))


def main() -> None:
    """Try every source on every backend, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--backends", default="jax,torch")
    parser.add_argument("--only", default=",".join(SOURCES))
    parser.add_argument("--keep", type=Path, metavar="FILE")
    options = parser.parse_args()
    results = list(read_results(options.keep))
    known = {(result.source, result.backend) for result in results}
    names = [
        name for name in SOURCES if any(part and name.startswith(part) for part in options.only.split(","))
    ]
    for backend in options.backends.split(","):
        for name in names:
            if (name, backend) in known:
                continue
            folder = options.folder.resolve() / f"{backend}-{name.replace(', ', '-').replace(' ', '_')}"
            result = try_source(folder, name, backend)
            results.append(result)
            print(result, file=sys.stderr)
            if options.keep:
                with options.keep.open("a") as file:
                    file.write(json.dumps(vars(result)) + "\n")
    print_table(results)


if __name__ == "__main__":
    main()
