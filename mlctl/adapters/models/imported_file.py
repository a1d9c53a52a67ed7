"""Make a model folder of a file that was trained elsewhere: Keras, ONNX, LiteRT, or a SavedModel.

The folder has a signature, an input example of made rows, and where the file comes from. A Keras file is treated as a
model that mlctl trained; the others are served by their own runtime.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.models.model_files import KERAS, LITERT, ONNX, file_kind, saved_model_folder
from mlctl.adapters.models.silence import suppress_output
from mlctl.domain.outputs import Output, Outputs, task_of
from mlctl.errors import BadDataError
from mlctl.recipes.keras_import import import_keras, silent_stderr
from mlctl.serving import scoring

ROWS = 16
FREE_LENGTH = 16
SUM_TOLERANCE = 1e-3  # of probabilities

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class FileInput:
    """One input of a file: `shape` of a row, with None for a free length; `rows` is the only number that it takes."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    rows: int | None = None


def import_file(path: Path, folder: Path) -> Path:
    """Write the model folder of a file into an empty folder, and return it.

    Raises BadDataError if the file cannot be read or does not answer rows of its inputs.
    """
    target = folder / "imported"
    try:
        if file_kind(path) == KERAS:
            _import_keras_file(path, target)
        else:
            _import_other(path, target)
    except BadDataError:
        raise
    except Exception as exc:
        raise BadDataError(
            f"{path} cannot be read as a model: {_first_line(exc)}",
            "check that its libraries are installed, and that it is complete",
        ) from exc
    return target


def describe_file(path: Path) -> dict[str, Any]:
    """Return name, SHA-256, size and the libraries that wrote a file, as far as it says."""
    source = saved_model_folder(path) or path
    files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        if len(files) > 1:
            digest.update(file.relative_to(source).as_posix().encode())
        digest.update(file.read_bytes())
    return {
        "file": path.name,
        "sha256": digest.hexdigest(),
        "size_bytes": sum(file.stat().st_size for file in files),
        "libraries": _libraries_of(source),
    }


def _libraries_of(path: Path) -> dict[str, str]:
    try:
        return _libraries(path)
    except Exception:  # a file that cannot be read is refused when it is imported
        return {}


def _libraries(path: Path) -> dict[str, str]:
    kind = file_kind(path)
    if kind == KERAS and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
        return {"keras": str(metadata.get("keras_version", ""))}
    if kind == ONNX:
        import onnx

        model = onnx.load(path, load_external_data=False)
        opset = max((entry.version for entry in model.opset_import if not entry.domain), default=0)
        return {model.producer_name or "onnx": model.producer_version, "opset": str(opset)}
    if kind not in (KERAS, LITERT):
        import_keras()
        import tensorflow as tf

        return {"tensorflow": str(tf.saved_model.load(str(path)).tensorflow_version)}
    return {}


def _import_keras_file(path: Path, target: Path) -> None:
    import_keras()
    import keras

    from mlctl.adapters.keras.answers import describe_answers
    from mlctl.adapters.models.save import save_model

    with suppress_output():
        model = keras.saving.load_model(path, compile=False)
    tensors = keras.tree.flatten(getattr(model, "inputs", None) or [])
    if not tensors:
        raise BadDataError(f"{path} does not say what it takes", "build the model before you save it")
    inputs = [
        FileInput(
            name=tensor.name,
            dtype=keras.backend.standardize_dtype(tensor.dtype),
            shape=tuple(tensor.shape[1:]),
        )
        for tensor in tensors
    ]
    rows = _make_rows(inputs)
    encoded = next(iter(rows.values())) if len(inputs) == 1 else rows
    answers = describe_answers(model, encoded)
    outputs = tuple(_output(answer.name, answer.activation, answer.shape) for answer in answers)
    save_model(
        target,
        model,
        encoder=None,
        raw=encoded,
        encoded=encoded,
        metadata=_metadata(outputs, describe_file(path)),
        outputs=outputs,
    )


def _import_other(path: Path, target: Path) -> None:
    import_keras()  # save.py needs it
    from mlctl.adapters.models.save import pip_requirements, save_parts

    kind = file_kind(path)
    read = {ONNX: _open_onnx, LITERT: _open_litert}.get(kind, _open_saved_model)
    with suppress_output(), silent_stderr():
        inputs, run = read(path)
        rows = _make_rows(inputs)
        fixed = next((given.rows for given in inputs if given.rows), None)
        if fixed:
            run = scoring.fixed_rows_runner(run, fixed)
        found = run(rows)
    answers = found if isinstance(found, Mapping) else {"": found}
    outputs = tuple(
        _output(name, _guess_activation(array), array.shape[1:]) for name, array in answers.items()
    )
    single = len(inputs) == 1
    state = {
        "encoder": None,
        "input_dtype": _numpy_name(inputs[0].dtype),
        "inputs": [
            {"name": given.name, "dtype": _numpy_name(given.dtype), "rank": len(given.shape) + 1}
            for given in inputs
        ],
        "structure": inputs[0].name if single else {given.name: given.name for given in inputs},
        "outputs": [{"name": name, "activation": ""} for name in answers],
        "fixed_rows": fixed,
    }
    runtime = {ONNX: "onnxruntime", LITERT: LITERT}.get(kind, "tensorflow")
    packages = {ONNX: "onnxruntime", LITERT: "ai-edge-litert"}.get(kind, "tensorflow")
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch:
        parts = Path(scratch) / "model"
        parts.mkdir()
        (parts / "encoder.json").write_text(json.dumps(state), encoding="utf-8")
        _copy(path, kind, parts)
        shapes = {given.name: (None, *given.shape) for given in inputs}
        save_parts(
            target,
            parts,
            raw=next(iter(rows.values())) if single else rows,
            predictions=found if len(answers) > 1 else next(iter(answers.values())),
            input_shapes=next(iter(shapes.values())) if single else shapes,
            metadata={**_metadata(outputs, describe_file(path)), "runtime": runtime},
            requirements=pip_requirements("", with_keras=False, others=[packages]),
        )


def _copy(path: Path, kind: str, parts: Path) -> None:
    if kind == ONNX:
        import onnx

        onnx.save(onnx.load(path), parts / "model.onnx")  # with weights that lie in files of their own
    elif kind == LITERT:
        shutil.copyfile(path, parts / "model.tflite")
    else:
        shutil.copytree(saved_model_folder(path) or path, parts / "saved_model")


def _open_onnx(path: Path) -> tuple[list[FileInput], Callable[[Any], Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = []
    for given in session.get_inputs():
        kind = given.type.removeprefix("tensor(").removesuffix(")")
        dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
        sizes = [size if isinstance(size, int) and size > 0 else None for size in given.shape]
        inputs.append(_file_input(given.name, dtype, sizes))
    names = [output.name for output in session.get_outputs()]
    return inputs, scoring.onnx_runner(str(path), names)


def _open_litert(path: Path) -> tuple[list[FileInput], Callable[[Any], Any]]:
    interpreter = scoring.litert_interpreter(str(path))
    details = interpreter.get_input_details()
    names = scoring._tensor_names([entry["name"] for entry in details])
    signatures = interpreter.get_signature_list()
    if signatures:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        by_name = runner.get_input_details()
        names, details = list(by_name), list(by_name.values())
    inputs = [
        _file_input(
            name,
            "float32" if entry["quantization"][0] else np.dtype(entry["dtype"]).name,
            [int(size) if size > 0 else None for size in entry["shape_signature"]],
        )
        for name, entry in zip(names, details, strict=True)
    ]
    outputs = scoring._tensor_names([entry["name"] for entry in interpreter.get_output_details()])
    if signatures:
        outputs = list(runner.get_output_details())
    return inputs, scoring.litert_runner(str(path), outputs)


def _open_saved_model(path: Path) -> tuple[list[FileInput], Callable[[Any], Any]]:
    import tensorflow as tf

    folder = saved_model_folder(path) or path
    loaded = tf.saved_model.load(str(folder))
    if "serving_default" not in loaded.signatures:
        raise BadDataError(f"{path} has no signature serving_default", "export it with model.export(FOLDER)")
    function = loaded.signatures["serving_default"]
    inputs = []
    for name, spec in function.structured_input_signature[1].items():
        if spec.shape.rank is None or spec.shape.rank == 0:
            raise BadDataError(
                f"the input {name!r} of {path} does not take rows", "export it with a batch axis"
            )
        inputs.append(_file_input(name, spec.dtype.name, spec.shape.as_list()))
    names = list(function.structured_outputs)
    return inputs, scoring.saved_model_runner(str(folder), names)


def _file_input(name: str, dtype: str, sizes: Sequence[int | None]) -> FileInput:
    if not sizes:
        raise BadDataError(f"the input {name!r} does not take rows", "export the model with a batch axis")
    return FileInput(name=name, dtype=dtype, shape=tuple(sizes[1:]), rows=sizes[0])


def _make_rows(inputs: Sequence[FileInput]) -> dict[str, Array]:
    """Return made rows, for the signature and the example."""
    generator = np.random.default_rng(0)
    rows = {}
    for given in inputs:
        shape = (ROWS, *(FREE_LENGTH if size is None else size for size in given.shape))
        if given.dtype == "string":
            rows[given.name] = np.full(shape, "text", dtype=object)
        elif given.dtype == "bool":
            rows[given.name] = generator.random(shape) < 0.5
        elif "int" in given.dtype:
            rows[given.name] = generator.integers(0, 2, shape).astype(given.dtype)
        else:
            rows[given.name] = generator.uniform(0, 1, shape).astype(given.dtype)
    return rows


def _output(name: str, activation: str, shape: Sequence[int | None]) -> Output:
    """Return what an output means, as far as its last layer tells."""
    units = shape[-1] if shape else 1
    if len(shape) != 1 or units is None:
        return Output(kind="values" if len(shape) <= 1 else "none", name=name)
    if activation == "softmax" and units > 1:
        return Output(kind="classes", name=name, classes=tuple(map(str, range(units))))
    if activation == "sigmoid":
        classes = tuple(map(str, range(2 if units == 1 else units)))
        return Output(kind="classes" if units == 1 else "labels", name=name, classes=classes)
    return Output(kind="values", name=name)


def _guess_activation(answers: Array) -> str:
    """Return "softmax" if the answers are probabilities of exclusive classes; "" if nothing is known."""
    if answers.ndim != 2 or answers.shape[1] < 2 or answers.dtype.kind != "f":
        return ""
    is_share = (answers >= 0).all() and (answers <= 1).all()
    return "softmax" if is_share and np.allclose(answers.sum(axis=1), 1, atol=SUM_TOLERANCE) else ""


def _metadata(outputs: Outputs, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "recipe": "",
        "task": task_of(outputs),
        "classes": list(outputs[0].classes) if outputs else [],
        "unit": "",
        "outputs": [output.to_json() for output in outputs],
        "origin": dict(origin),
    }


def _numpy_name(dtype: str) -> str:
    return scoring.TEXT if dtype == "string" else dtype


def _first_line(exc: Exception) -> str:
    text = next((line.strip() for line in str(exc).splitlines() if line.strip()), "") or type(exc).__name__
    return text if len(text) <= 200 else text[:199] + "…"
