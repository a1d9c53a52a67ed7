"""Load a saved model in a new process that has neither mlctl nor the user's code, as a server does.

In the process that trained a model, its classes are there already: a model that needs them would seem to load.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.models import Model

from mlctl.adapters.models.code_pickling import user_modules
from mlctl.adapters.models.isolated_process import run_isolated
from mlctl.adapters.models.load import as_signed
from mlctl.errors import BadDataError
from mlctl.recipes import local_modules

_HINT = "fix the recipe, then resume the run: the trained weights are kept"

_PROGRAM = """
raw, encoded = values
result = {"step": "loading it with mlflow.pyfunc"}
try:
    import mlflow.pyfunc
    model = mlflow.pyfunc.load_model(folder)
    result["step"] = "answering with mlflow.pyfunc"
    result["pyfunc"] = model.predict(raw)
    if os.path.exists(os.path.join(folder, "artifacts", "model", "model.keras")):
        result["step"] = "loading it with mlflow.keras"
        import mlflow.keras
        import keras
        model = mlflow.keras.load_model(folder)
        result["step"] = "answering with mlflow.keras"
        def as_given(tree):
            if isinstance(tree, dict):
                return {name: as_given(part) for name, part in tree.items()}
            if isinstance(tree, tuple):
                return tuple(as_given(part) for part in tree)
            return keras.ops.convert_to_tensor(tree.astype(str) if tree.dtype.kind == "O" else tree)
        answers = model(as_given(encoded), training=False)
        result["keras"] = [keras.ops.convert_to_numpy(part) for part in keras.tree.flatten(answers)]
    result["step"] = ""
except BaseException as error:
    traceback.print_exc()
    cause = error
    while error is not None:  # Keras wraps what a layer raises
        cause = error if isinstance(error, ImportError) else cause
        error = error.__cause__ or error.__context__
    result["error"] = f"{type(cause).__name__}: {cause}"
"""


@dataclass(frozen=True)
class FreshAnswers:
    """What both flavors of a saved model answered in a process of their own.

    Attributes:
        pyfunc: An array, or a dict of arrays by output name.
        keras: What the Keras model returned: its outputs as a flat list; probabilities or logits, as trained.
    """

    pyfunc: Any
    keras: list[Any]


def predict_in_fresh_process(folder: Path, raw: Any, encoded: Any) -> FreshAnswers:
    """Return the answers of both flavors of a saved model in a process without mlctl and the user's code.

    Args:
        folder: the saved model.
        raw: rows as a client sends them.
        encoded: the same rows as the Keras model takes them.

    Raises BadDataError that says in one line what is missing.
    """
    result = run_isolated(
        _PROGRAM,
        folder,
        (as_signed(Model.load(str(folder)).signature, raw), encoded),
        hidden=_hidden_modules(),
        environment=_environment(),
        subject="the saved model",
        hint=_HINT,
    )
    if "error" in result:
        reason = f"{result['step']} ends with {result['error']}"
        raise BadDataError(f"the saved model needs what is only in this process: {reason}", _HINT)
    return FreshAnswers(result["pyfunc"], result.get("keras", []))


def _hidden_modules() -> set[str]:
    """Return the top-level modules that a server lacks: mlctl, and the user's own."""
    own = {name.partition(".")[0] for name in user_modules()} - {"__main__", "__mp_main__"}
    return {"mlctl", *(name for name in own if not name.startswith(local_modules.PREFIX))}


def _environment() -> dict[str, str]:
    """Return this process's environment; PYTHONPATH keeps its folders of installed packages only."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [path for path in paths if path and local_modules.is_installed(Path(path))]
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**others, "PYTHONPATH": os.pathsep.join(kept)}
