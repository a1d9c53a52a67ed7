"""Run trainings for tests, by the command or in this process, and a user's recipe."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.domain.progress import NullProgress
from tests.warm_server import warm_command

COMMAND = [sys.executable, "-m", "mlctl"]  # with its imports: for tests that send signals to the process

# a recipe with 120 rows and two classes that a small model learns; tests replace parts of this text
TINY = '''\
import numpy as np

from mlctl.data.dataset import Dataset, Split
from mlctl.recipes import Recipe, hyperparameter, maximize


class Tiny(Recipe):
    """Whether the sum of six numbers is positive"""

    name = "tiny"
    objective = maximize("val_accuracy")
    epochs, batch_size, learning_rate = 3, 16, 1e-2
    units = hyperparameter(8, low=4, high=16, step=4, help="width")

    def load(self, source):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(120, 6)).astype("float32")
        y = (x.sum(axis=1) > 0).astype("int64")
        splits = (Split(x[rows], y[rows]) for rows in (slice(80), slice(80, 100), slice(100, 120)))
        return Dataset("tiny", *splits, classes=("no", "yes"), source="generated")

    def build(self, hp, data):
        import keras

        inputs = keras.Input(data.input_shape)
        hidden = keras.layers.Dense(hp.units, activation="relu")(inputs)
        outputs = keras.layers.Dense(1, activation="sigmoid", dtype="float32")(hidden)
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.Adam(hp.rate), loss="binary_crossentropy", metrics=["accuracy"])
        return model
'''


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return an environment that keeps state and caches in this folder."""
    xdg = {f"XDG_{kind}_HOME": str(folder / f"xdg-{kind.lower()}") for kind in ("CONFIG", "CACHE", "STATE")}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MLFLOW_") and name != "PYTHONPATH"
    }
    return {**inherited, **xdg, "COLUMNS": "100", **variables}


def mlctl(
    folder: Path, *arguments: str, piped: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run mlctl in this folder and wait for its end; `tests.warm_server` saves the imports."""
    own = environment(folder, **variables)
    return subprocess.run(
        [*warm_command(own), *arguments],
        cwd=folder,
        env=own,
        input=piped,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        folder: Working directory, with the tracking store.
        answer: The JSON output.
        stderr: The output on stderr, empty for a training in this process.

    """

    folder: Path
    answer: Mapping[str, Any]
    stderr: str = ""

    @property
    def uri(self) -> str:
        """The URI of the tracking store."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def model(self) -> Path:
        """The folder of the logged model."""
        model_id = self.answer["model_uri"].removeprefix("models:/")
        return next(path.parent for path in self.folder.glob("mlruns/**/MLmodel") if model_id in path.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the fields, without the folder."""
        return {"answer": self.answer, "stderr": self.stderr}


def trained(folder: Path, *arguments: str) -> Trained:
    """Train in a process of its own; fail if the command fails."""
    done = mlctl(folder, "train", *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return Trained(folder, json.loads(done.stdout), done.stderr)


def train_here(folder: Path, source: str, uri: str = "", **options: Any) -> Trained:
    """Train in this process, to save the imports; exceptions of the service are not caught."""
    import keras

    from mlctl import settings
    from mlctl.output.views.base import document
    from mlctl.services.training.request import TrainRequest
    from mlctl.services.workflows.train import train

    with contextlib.chdir(folder):
        loaded = settings.load({"tracking_uri": uri or f"sqlite:///{folder / 'mlflow.db'}"})
        try:
            run = train(
                dataclasses.replace(loaded, state_dir=folder / "state"),
                TrainRequest(source=source, **options),
                NullProgress(),
            )
        finally:
            keras.config.set_dtype_policy("float32")
        return Trained(folder, document(run))
