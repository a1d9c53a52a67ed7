"""mlctl init: a folder that both mlctl and stock `mlflow run` know what to do with."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from mlctl import __version__
from mlctl.domain.project import Project, WrittenFile
from mlctl.errors import RefusedError
from mlctl.settings import PROJECT_FILE

SETTINGS = """\
# What mlctl is told for this project. An option or an environment variable goes before what is said here,
# and this goes before your own config.toml; `mlctl doctor` shows each value with its source.

# where runs and models are kept: a file, a database, or a server
# tracking_uri = "sqlite:///mlflow.db"
# tracking_uri = "https://mlflow.example.com"

# the experiment that runs go into; without it, each recipe has its own
experiment = "{name}"

# a folder that is searched for data first
# data_dir = "data"

# the S3 bucket where `mlctl server-up` keeps artifacts, where --bucket gives no other
# bucket = "models"

# stages of your own, beside Staging and Production
# stages = ["Canary"]

# defaults of a recipe: anything that `mlctl recipes show digits` lists
# [recipes.digits]
# epochs = 20
# units = 128
# [recipes.tabular]
# column.zip = "category"

# what a version of this registered model must hold before it is promoted
# [models.Digits]
# require = ["test_accuracy>=0.97"]
# no_regress = ["test_accuracy:0.005"]
# from = "Staging"
# smoke = true
"""

# a parameter that is not declared here is passed on as an option: `-P epochs=5` becomes `--epochs 5`
MLPROJECT = """\
# mlflow run . --env-manager local                                    trains digits
# mlflow run . --env-manager local -P epochs=5                        any option of `mlctl train`: -P learning-rate=0.01
# mlflow run . --env-manager local -P source=wine.csv -P target=kind  anything that `mlctl train` takes
# That takes the mlctl that is installed here. Without --env-manager local, MLflow makes the environment of
# python_env.yaml first: it wants pyenv, and an index that has mlctl-keras.
name: {name}

python_env: python_env.yaml

entry_points:
  main:
    parameters:
      source: {{type: string, default: digits}}
    command: "mlctl train {{source}}"
  train:
    parameters:
      source: {{type: string, default: digits}}
    command: "mlctl train {{source}}"
"""

PYTHON_ENV = """\
python: "{python}"
dependencies:
  - mlctl-keras=={version}
"""


def init(folder: Path) -> Project:
    """Write mlctl.toml, MLproject and python_env.yaml; what is there already is left as it is.

    Raises RefusedError where the folder cannot be one.
    """
    if folder.exists() and not folder.is_dir():
        raise RefusedError(f"{folder} is a file", "name a folder")
    name = re.sub(r"[^\w.-]+", "-", folder.resolve().name) or "project"
    texts = {
        PROJECT_FILE: SETTINGS.format(name=name),
        "MLproject": MLPROJECT.format(name=name),
        "python_env.yaml": PYTHON_ENV.format(
            python=".".join(platform.python_version_tuple()[:2]), version=__version__
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for file, text in texts.items():
        fresh = not (folder / file).exists()
        if fresh:
            (folder / file).write_text(text, encoding="utf-8")
        files.append(WrittenFile(str(folder / file), fresh))
    return Project(str(folder), tuple(files))
