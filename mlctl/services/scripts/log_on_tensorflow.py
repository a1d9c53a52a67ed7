"""Logs the model of a script that trains on another Keras backend than TensorFlow.

Models are saved, exported, checked and scored on TensorFlow. A process has one backend, so that another process loads
the model there: from a folder with the model as Keras saves it on any backend, and with rows of its data.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlctl
from mlctl.data.dataset import Dataset, Split
from mlctl.data.trees import map_tree
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.errors import BadDataError, MlctlError
from mlctl.machine import die_with_parent
from mlctl.recipes.keras_import import TENSORFLOW, import_keras

if TYPE_CHECKING:
    from mlctl.adapters.keras.fit import Model
    from mlctl.adapters.runlog.recorder import Recorder
    from mlctl.services.recipes.prepare import PreparedData
    from mlctl.services.training.logged_model import LoggedModel

PROGRAM = f"from {__name__} import main; main()"
JOB, ANSWER, LOG = "job", "answer", "log"
MODEL_FILE = "trained.keras"
CHECKED_ROWS = 2
MAX_REASON = 300


@dataclass(frozen=True, kw_only=True)
class ModelJob:
    """What the process gets to log.

    Attributes:
        name, file: The script.
        data: A few rows that the model takes, and the targets that tell what its outputs mean.
        scored: Rows to score the logged model on; None: it is not scored.
        code: The script's own layers, losses and functions, as `code_pickling.pack` packs them.
        target: The folder that becomes the run's model.
    """

    name: str
    file: Path
    data: Dataset
    scored: Split | None
    code: bytes
    target: Path


@dataclass(frozen=True, kw_only=True)
class JobAnswer:
    """What the process has logged, what it tells the user, and the run's new tags; or why it has failed."""

    logged: LoggedModel | None
    messages: list[str]
    tags: dict[str, Any]
    error: str = ""
    hint: str = ""


def log_on_tensorflow(
    recorder: Recorder,
    prepared: PreparedData,
    model: Model,
    split: Split | None,
    *,
    listener: ProgressListener,
) -> LoggedModel:
    """Write and check a model as `log_keras_model` does, in a process that has it on TensorFlow.

    Raises BadDataError if the model cannot be saved there, or answers differently.
    """
    from mlctl.adapters.models import code, code_pickling
    from mlctl.adapters.models.served_model import inputs_for, to_arrays

    data = prepared.data
    inputs = to_arrays(data.train.inputs)
    served = prepared.recipe.serving(model, data)
    if served is not model:  # a part of it, which may take other inputs
        inputs, _ = inputs_for(served, inputs)
        data = replace(data, train=Split(inputs), input_shape=map_tree(lambda leaf: leaf.shape[1:], inputs))
    few = map_tree(lambda leaf: leaf[:CHECKED_ROWS], inputs)
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        folder = Path(temporary)
        saved, note = code.savable_model(served, few)
        packed = code_pickling.pack(code.save_keras(saved, folder / MODEL_FILE))
        job = ModelJob(
            name=prepared.recipe.name,
            file=prepared.recipe.source_file(),
            data=data,
            scored=split,
            code=packed.content,
            target=recorder.journal.model.resolve(),
        )
        (folder / JOB).write_bytes(pickle.dumps(job, protocol=5))
        answer = _run(folder)
    for message in [*([note] if note else []), *answer.messages]:
        listener.message(message)
    if answer.logged is None:
        raise BadDataError(answer.error, answer.hint)
    recorder.set_tags(answer.tags)
    return answer.logged


def _run(folder: Path) -> JobAnswer:
    package = str(Path(mlctl.__file__).resolve().parents[1])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {
        **os.environ,
        "KERAS_BACKEND": TENSORFLOW,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(paths),
        "CUDA_VISIBLE_DEVICES": "-1",  # the script's process may have filled the GPU
    }
    with (folder / LOG).open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), str(os.getpid())],
            cwd=folder,  # the script's folder may have files with the names of packages
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    if (folder / ANSWER).exists():
        answer: JobAnswer = pickle.loads((folder / ANSWER).read_bytes())  # noqa: S301 - the process's own answer
        return answer
    last = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    reason = "".join(last)[:MAX_REASON]
    return JobAnswer(
        logged=None,
        messages=[],
        tags={},
        error=f"the process that saves it on TensorFlow ended with status {done.returncode}: {reason}",
    )


# -- in that process --------------------------------------------------------------------------------------


@dataclass
class _Journal:
    model: Path


@dataclass
class _TagRecorder:
    """Stands for the run's recorder: keeps the tags for it."""

    journal: _Journal
    tags: dict[str, Any] = field(default_factory=dict)

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Keep them."""
        self.tags.update(tags)


@dataclass
class _Messages(NullProgress):
    """Keeps the messages for the user."""

    lines: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


def main() -> None:
    """Log the model of the folder that the command line names, in this process, which ends with its parent."""
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    part = folder / f"{ANSWER}.part"
    part.write_bytes(pickle.dumps(_log(folder), protocol=5))
    part.rename(folder / ANSWER)
    os._exit(0)  # the clean-up of an interpreter with TensorFlow takes a second


def _log(folder: Path) -> JobAnswer:
    """Log the model; return what came of it."""
    import_keras()
    from mlctl.adapters.models.code import load_keras
    from mlctl.services.recipes.prepare import PreparedData
    from mlctl.services.recipes.user_code import describe
    from mlctl.services.scripts.model_recipe import FAILURES, script_recipe
    from mlctl.services.training.logged_model import log_keras_model

    job: ModelJob = pickle.loads((folder / JOB).read_bytes())  # noqa: S301 - our own
    recorder: Any = _TagRecorder(_Journal(job.target))
    messages = _Messages()
    recipe = script_recipe(job.name, job.file)()
    prepared = PreparedData(recipe=recipe, values=recipe.values({}), data=job.data, encoder=None)
    try:
        model = load_keras(folder / MODEL_FILE, job.code)
        logged = log_keras_model(recorder, prepared, model, job.scored, listener=messages)
    except FAILURES as error:
        text, hint = (error.message, error.hint) if isinstance(error, MlctlError) else (describe(error), "")
        return JobAnswer(logged=None, messages=messages.lines, tags={}, error=text, hint=hint)
    return JobAnswer(logged=logged, messages=messages.lines, tags=recorder.tags)
