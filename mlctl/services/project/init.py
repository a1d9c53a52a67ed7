"""mlctl init: writes the files of a folder in which both mlctl and `mlflow run` work."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from mlctl import __version__
from mlctl.domain.project import Project, WrittenFile
from mlctl.errors import NotFoundError, RefusedError
from mlctl.settings import PROJECT_FILE

SETTINGS = """\
# Settings of this project. Options and environment variables override them; they override your own config.toml.
# `mlctl doctor` shows each value with its source.

# the tracking store for runs and models: a file, a database, or a server
# tracking_uri = "sqlite:///mlflow.db"
# tracking_uri = "https://mlflow.example.com"

# the experiment of new runs; without it, each recipe has its own experiment
experiment = "{name}"

# the folder that is searched for data first
# data_dir = "data"

# the S3 bucket in which `mlctl server-up` keeps artifacts, unless --bucket names another
# bucket = "models"

# custom stages besides Staging and Production
# stages = ["Canary"]

# defaults of a recipe: any value that `mlctl recipes show digits` lists
# [recipes.digits]
# epochs = 20
# units = 128
# [recipes.tabular]
# column.zip = "category"

# requirements for the promotion of this registered model
# [models.Digits]
# require = ["test_accuracy>=0.97"]
# no_regress = ["test_accuracy:0.005"]
# from = "Staging"
# smoke = true
"""

# `mlflow run` passes undeclared parameters on as options: `-P epochs=5` becomes `--epochs 5`
MLPROJECT = """\
# mlflow run . --env-manager local                                    trains digits
# mlflow run . --env-manager local -P epochs=5                        any option of `mlctl train`: -P learning-rate=0.01
# mlflow run . --env-manager local -P source=wine.csv -P target=kind  any source of `mlctl train`
# These use the installed mlctl. Without --env-manager local, MLflow first creates the environment of
# python_env.yaml, which needs pyenv and a package index that has mlctl-keras.
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

# `mlflow run` appends parameters as options: `-P lr=0.01` becomes `--lr 0.01`, after the `--` of the command
SCRIPT_MLPROJECT = """\
# mlflow run . --env-manager local              runs {script}
# mlflow run . --env-manager local -P lr=0.01   with its own argument --lr 0.01
# These use the installed mlctl. Without --env-manager local, MLflow first creates the environment of
# python_env.yaml, which needs pyenv and a package index that has mlctl-keras.
name: {name}

python_env: python_env.yaml

entry_points:
  main:
    command: "mlctl train {script} --"
"""

PYTHON_ENV = """\
python: "{python}"
dependencies:
  - mlctl-keras=={version}
"""


def create_project(folder: Path, script: Path | None = None) -> Project:
    """Write mlctl.toml, MLproject and python_env.yaml to a folder; leave existing files unchanged.

    With `script`, a file in this folder, the project runs it. Raises RefusedError if the folder is a file,
    NotFoundError if there is no such script in it.
    """
    if folder.exists() and not folder.is_dir():
        raise RefusedError(f"{folder} is a file", "name a folder")
    if script is not None:
        script = _in_folder(folder, script)
    name = re.sub(r"[^\w.-]+", "-", folder.resolve().name) or "project"
    python = ".".join(platform.python_version_tuple()[:2])
    contents = {
        PROJECT_FILE: SETTINGS.format(name=name),
        "MLproject": SCRIPT_MLPROJECT.format(name=name, script=script.as_posix())
        if script
        else MLPROJECT.format(name=name),
        "python_env.yaml": PYTHON_ENV.format(python=python, version=__version__),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for file_name, content in contents.items():
        path = folder / file_name
        is_new = not path.exists()
        if is_new:
            path.write_text(content, encoding="utf-8")
        files.append(WrittenFile(str(path), is_new))
    return Project(str(folder), tuple(files))


def _in_folder(folder: Path, script: Path) -> Path:
    """Return a script's path relative to the project's folder."""
    for path in (folder / script, script):
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return path.resolve().relative_to(folder.resolve())
    raise NotFoundError(
        f"there is no script {script} in {folder}", "give the path of a Python file in the folder"
    )
