"""Trainings that several tests look at: real commands in folders of their own, and a recipe of a user's."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "mlctl"]

# 120 rows, two classes, learnable; tests change a word of it to see what happens then
TINY = '''\
import numpy as np

from mlctl.data.dataset import Dataset, Split
from mlctl.recipes import Recipe, hyperparameter, maximize


class Tiny(Recipe):
    """Whether six numbers sum to more than nothing"""

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
        answer = keras.layers.Dense(1, activation="sigmoid", dtype="float32")(hidden)
        model = keras.Model(inputs, answer)
        model.compile(keras.optimizers.Adam(hp.rate), loss="binary_crossentropy", metrics=["accuracy"])
        return model
'''


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment whose state and caches lie in this folder."""
    own = {f"XDG_{kind}_HOME": str(folder / f"xdg-{kind.lower()}") for kind in ("CONFIG", "CACHE", "STATE")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_") and k != "PYTHONPATH"}
    return {**kept, **own, "COLUMNS": "100", **more}


def mlctl(folder: Path, *arguments: str, piped: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run mlctl in this folder to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(folder, **more), input=piped, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A finished training: its folder, what it answered as JSON, and what it said on stderr."""

    folder: Path
    answer: Mapping[str, Any]
    said: str = ""

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def model(self) -> Path:
        """The logged model's folder."""
        wanted = self.answer["model_uri"].removeprefix("models:/")
        return next(path.parent for path in self.folder.glob("mlruns/**/MLmodel") if wanted in path.parts)


def trained(folder: Path, *arguments: str) -> Trained:
    """Train by the command itself."""
    done = mlctl(folder, "train", *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return Trained(folder, json.loads(done.stdout), done.stderr)


@dataclass
class Seen:
    """A Watcher that remembers what it was told."""

    said: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    epochs: list[Mapping[str, float]] = field(default_factory=list)

    def message(self, text: str) -> None:
        self.said.append(text)

    def stage(self, what: str) -> None:
        self.stages.append(what)

    def epoch_ended(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        self.epochs.append(metrics)

    def download(self, *_: Any) -> None: ...

    def training_started(self, *_: Any) -> None: ...

    def step(self, *_: Any) -> None: ...


def train_here(folder: Path, source: str, seen: Seen | None = None, uri: str = "", **asked: Any) -> Trained:
    """Train in this process, which has TensorFlow loaded already; raises what the service raises."""
    import keras

    from mlctl import settings
    from mlctl.output.views.base import document
    from mlctl.services.training.request import Request
    from mlctl.services.workflows.train import train

    with contextlib.chdir(folder):
        found = settings.load({"tracking_uri": uri or f"sqlite:///{folder / 'mlflow.db'}"})
        found = type(found)(**{**vars(found), "state_dir": folder / "state"})
        try:
            run = train(found, Request(source, **asked), seen or Seen())
        finally:
            keras.config.set_dtype_policy("float32")
        return Trained(folder, document(run))
