"""A Keras model saved by MLflow as it is, without mlctl's checks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mlflow


def save_plain(model: Any, folder: Path) -> None:
    """Save a Keras model as MLflow's keras flavor; what is in the folder is deleted."""
    shutil.rmtree(folder, ignore_errors=True)
    mlflow.keras.save_model(
        model, str(folder), pip_requirements=["keras"]
    )  # else MLflow loads the model to find them
