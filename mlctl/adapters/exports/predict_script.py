"""Writes predict.py, model.json and preprocess.json beside an exported file.

predict.py is made of source text that mlctl runs itself: the runtime's function of `serving.scoring`, or all of its
encoders if the file does not hold the encoder. It needs NumPy and the file's own runtime, and no mlctl.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.exports.clients import client
from mlctl.adapters.exports.model_parts import HeldEncoder, ModelParts
from mlctl.domain.outputs import Output
from mlctl.serving import scoring

INSIDE, BESIDE, NO_ENCODER = "inside", "beside", "none"
MODEL_MARK = "# mlctl: the model\n"
MLFLOW_PART = "def _mlflow_model() -> Any:\n"  # the end of scoring.py, for MLflow only
FUTURE = "from __future__ import annotations\n"

_PREDICTOR = '''
class Predictor:
    """Answers rows: an array, or a dict of arrays by output name."""

    def __init__(self, folder: str = HERE) -> None:
        """Load the model of a folder."""
        self.about = about(folder)
        names = [output["tensor"] for output in self.about["outputs"]]
        self._run = {runner}(os.path.join(folder, {file!r}), names)

    def __call__(self, rows: Any) -> Any:
        """Return the answers to rows: an array of images or numbers, or a dict of arrays by column or input."""
        return self._run(to_arrays(rows, self.about["inputs"]))


if __name__ == "__main__":
    main()
'''
_SCORING_PREDICTOR = '''
class Predictor(Scorer):
    """Answers rows: an array, or a dict of arrays by output name. The encoder is in preprocess.json."""

    STATE_FILE, SAVED_MODEL = "preprocess.json", "1"

    def __init__(self, folder: str = HERE) -> None:
        """Load the model of a folder."""
        super().__init__(folder)
        self.about = about(folder)

    def __call__(self, rows: Any) -> Any:
        """Return the answers to rows: an array of images or numbers, or a dict of arrays by column or input."""
        if self.about["columns"] and not self.takes_columns and isinstance(rows, Mapping):
            import pandas  # for the model's own encoder

            rows = pandas.DataFrame(dict(rows))
        return super().__call__(rows)


if __name__ == "__main__":
    main()
'''


def keras_file_runner(path: str, output_names: Sequence[str] = ("",)) -> Callable[[Any], Any]:
    """Return a function that answers a dict of arrays with a Keras file that holds its encoder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow

    model = keras.saving.load_model(path, compile=False)

    def run(arrays: Any) -> Any:
        tensors = {
            name: tensorflow.constant(array, "string" if array.dtype.kind == "O" else array.dtype)
            for name, array in arrays.items()
        }
        answers = model(next(iter(tensors.values())) if len(tensors) == 1 else tensors, training=False)
        if hasattr(answers, "keys"):
            return {name: np.asarray(answers[name]) for name in output_names}
        if isinstance(answers, (list, tuple)):
            return dict(zip(output_names, map(np.asarray, answers), strict=True))
        return np.asarray(answers)

    return run


# the function that runs each file, and the functions that it calls
RUNNERS: dict[str, tuple[str, ...]] = {
    "model.onnx": ("onnx_runner",),
    "model.tflite": ("litert_runner", "litert_interpreter", "_tensor_names", "_quantized", "_as_floats"),
    "1": ("saved_model_runner", "_tensor"),
    "model.keras": ("keras_file_runner",),
}


def write_script(
    parts: ModelParts, folder: Path, *, file: str, held: HeldEncoder, name: str, version: str
) -> None:
    """Write predict.py and model.json, and preprocess.json if the file does not hold the encoder.

    Args:
        parts: The model.
        folder: The folder of the export.
        file: The model's file in it, one of RUNNERS.
        held: The inputs of the file, and where the encoder is.
        name: Name of the model.
        version: Its version; "" if it has none.
    """
    outputs = parts.info.outputs or tuple(Output(kind="none", name=one.name) for one in parts.outputs)
    described = {
        "name": name,
        "version": version,
        "file": file,
        "encoder": held.place,
        "columns": {column.name: column.kind for column in parts.info.signature.columns},
        "inputs": [given.to_json() for given in held.inputs],
        "outputs": [
            {
                "name": output.name,
                "tensor": tensor,
                "kind": output.kind,
                "classes": list(output.classes),
                "unit": output.unit,
                "threshold": output.threshold,
            }
            for output, tensor in zip(outputs, parts.output_names, strict=True)
        ],
    }
    write_json(folder / "model.json", described)
    if held.place == BESIDE:
        shutil.copyfile(parts.folder / "encoder.json", folder / "preprocess.json")
        if parts.has_own_code:
            shutil.copyfile(parts.folder / "code.pkl", folder / "code.pkl")
    (folder / "predict.py").write_text(_compose(file, held.place), encoding="utf-8")


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file that people can read."""
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _compose(file: str, place: str) -> str:
    common, mark, _ = _read(client).partition(MODEL_MARK)
    if not mark:
        raise ValueError(f"client.py has no line {MODEL_MARK!r}")
    docstring, _, functions = common.partition(FUTURE)
    if place == BESIDE:
        source, mark, _ = _read(scoring).partition(MLFLOW_PART)
        if not mark:
            raise ValueError(f"scoring.py has no line {MLFLOW_PART!r}")
        _, _, encoders = source.partition(FUTURE)
        return f"{docstring}{FUTURE}{encoders.rstrip()}\n\n\n{functions.strip()}\n\n{_SCORING_PREDICTOR}"
    runner, *helpers = RUNNERS[file]
    imports = "import threading\nfrom collections.abc import Callable, Mapping, Sequence\n"
    aliases = "\nArray = np.ndarray\nState = dict\n"
    known = {**_functions(_read(scoring)), **_functions(Path(__file__).read_text(encoding="utf-8"))}
    sources = "\n\n\n".join(known[name] for name in (*helpers, runner)) + "\n"
    functions = functions.replace("import sys\n", f"import sys\n{imports}", 1)
    functions = functions.replace("import numpy as np\n", f"import numpy as np\n{aliases}", 1)
    predictor = _PREDICTOR.format(runner=runner, file=file)
    return f"{docstring}{FUTURE}{functions.rstrip()}\n\n\n{sources}\n{predictor}"


def _read(module: Any) -> str:
    return Path(module.__file__).read_text(encoding="utf-8")


def _functions(source: str) -> dict[str, str]:
    """Return the source of each function of a module by name."""
    return {
        node.name: ast.get_source_segment(source, node) or ""
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
