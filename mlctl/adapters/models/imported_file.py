"""Make a model folder of a file that was trained elsewhere: Keras, ONNX, LiteRT, or a SavedModel.

The folder has a signature, an input example of made rows, and where the file comes from. A Keras file is treated as a
model that mlctl trained; the others are served by their own runtime.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mlctl.adapters.models.model_files import KERAS, LITERT, ONNX, file_kind, saved_model_folder
from mlctl.adapters.models.silence import suppress_output
from mlctl.domain.outputs import Output, Outputs, task_of
from mlctl.domain.short_texts import first_line
from mlctl.errors import BadDataError
from mlctl.machine import silent_stderr
from mlctl.recipes.keras_import import import_keras
from mlctl.serving import scoring

ROWS = 16
FREE_LENGTHS = (16, 64, 224)  # a network of images may need more than 16 pixels
SUM_TOLERANCE = 1e-3  # of probabilities

T = TypeVar("T")
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
        if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
            raise
        raise BadDataError(f"{path} cannot be read as a model: {first_line(exc)}", _hint(exc)) from exc
    return target


def _hint(exc: Exception) -> str:
    text = str(exc)
    if "Lambda" in text and "safe_mode" in text:
        return "mlctl runs no Python code of a file: use Keras's own layers, or export it to ONNX"
    if "register_keras_serializable" in text:
        return "the file has no code of your own layers: use mlctl train SCRIPT, or export it to ONNX"
    return "check that its libraries are installed, and that it is complete"


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
    from mlctl.adapters.models.save import call_keras_flat, save_model

    if path.suffix.lower() == ".keras" and not zipfile.is_zipfile(path):
        raise BadDataError(
            f"{path} is no Keras file", "check that it is complete; model.save(FILE) writes it"
        )
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

    def encoded(rows: Mapping[str, Array]) -> Any:
        return next(iter(rows.values())) if len(inputs) == 1 else rows

    def answer(rows: Mapping[str, Array]) -> Any:
        call_keras_flat(model, encoded({name: array[:1] for name, array in rows.items()}))
        return describe_answers(model, encoded(rows))

    with suppress_output():
        rows, answers = _try_lengths(inputs, answer)
    outputs = tuple(_output(answer.name, answer.activation, answer.shape) for answer in answers)
    with suppress_output():
        save_model(
            target,
            model,
            encoder=None,
            raw=encoded(rows),
            encoded=encoded(rows),
            metadata=_metadata(outputs, describe_file(path)),
            outputs=outputs,
        )


def _import_other(path: Path, target: Path) -> None:
    import_keras()  # save.py needs it
    from mlctl.adapters.models.save import pip_requirements, save_parts

    kind = file_kind(path)
    classes: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch:
        parts = Path(scratch) / "model"
        parts.mkdir()
        with suppress_output(), silent_stderr():
            if kind == ONNX:
                classes = _copy_onnx(path, parts / "model.onnx")
                inputs, run = _open_onnx(parts / "model.onnx")
            elif kind == LITERT:
                shutil.copyfile(path, parts / "model.tflite")
                inputs, run = _open_litert(path)
            else:
                shutil.copytree(saved_model_folder(path) or path, parts / "saved_model")
                inputs, run = _open_saved_model(path)
            asked = _ask(path, inputs, run)
        outputs = tuple(
            _output(name, _guess_activation(array), array.shape[1:], classes)
            for name, array in asked.answers.items()
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
            "outputs": [{"name": name, "activation": ""} for name in asked.answers],
            "fixed_rows": asked.fixed_rows,
        }
        (parts / "encoder.json").write_text(json.dumps(state), encoding="utf-8")
        runtime = {ONNX: "onnxruntime", LITERT: LITERT}.get(kind, "tensorflow")
        packages = {ONNX: "onnxruntime", LITERT: "ai-edge-litert"}.get(kind, "tensorflow")
        shapes = {given.name: (None, *given.shape) for given in inputs}
        save_parts(
            target,
            parts,
            raw=next(iter(asked.rows.values())) if single else asked.rows,
            predictions=asked.answers if len(asked.answers) > 1 else next(iter(asked.answers.values())),
            input_shapes=next(iter(shapes.values())) if single else shapes,
            metadata={**_metadata(outputs, describe_file(path)), "runtime": runtime},
            requirements=pip_requirements("", with_keras=False, others=[packages]),
        )


def _copy_onnx(path: Path, target: Path) -> tuple[str, ...]:
    """Copy a graph with the weights that lie in files of their own; return the classes that a classifier names."""
    import onnx

    from mlctl.adapters.models.onnx_classifier import keep_probabilities

    model = onnx.load(path)
    if not model.graph.output:
        raise BadDataError(f"{path} has no outputs", "check that the file is complete")
    classes = keep_probabilities(model)
    onnx.save(model, target)
    return classes


@dataclass(frozen=True, kw_only=True)
class AskedFile:
    """Made rows, and what a file answers to them by output name; `fixed_rows` is the only number that it takes."""

    rows: Mapping[str, Array]
    answers: Mapping[str, Array]
    fixed_rows: int | None


def _ask(path: Path, inputs: Sequence[FileInput], run: Callable[[Any], Any]) -> AskedFile:
    """Return the answers to made rows, of as many rows and of such free lengths as the file takes.

    Raises BadDataError if the file does not answer row by row, and else what its runtime raises.
    """
    declared = next((given.rows for given in inputs if given.rows), None)

    def ask(fixed_rows: int | None) -> AskedFile:
        runner = scoring.fixed_rows_runner(run, fixed_rows) if fixed_rows else run

        def answer(rows: Mapping[str, Array]) -> Mapping[str, Array]:
            found = runner(rows)
            answers = found if isinstance(found, Mapping) else {"": found}
            _check_rows(path, answers)
            return answers

        rows, answers = _try_lengths(inputs, answer)
        return AskedFile(rows=rows, answers=answers, fixed_rows=fixed_rows)

    try:
        return ask(declared)
    except Exception:  # the runtimes have exceptions of their own
        if not declared:
            with suppress(Exception):
                return ask(1)
        raise


def _try_lengths(
    inputs: Sequence[FileInput], call: Callable[[dict[str, Array]], T]
) -> tuple[dict[str, Array], T]:
    """Return made rows and what `call` returns for them; free lengths grow as long as it fails."""
    has_free_length = any(None in given.shape for given in inputs)
    problem: Exception | None = None
    for length in FREE_LENGTHS if has_free_length else FREE_LENGTHS[:1]:
        rows = _make_rows(inputs, length)
        try:
            return rows, call(rows)
        except Exception as exc:
            problem = problem or exc
    assert problem is not None
    raise problem


def _check_rows(path: Path, answers: Mapping[str, Any]) -> None:
    for name, array in answers.items():
        shown = f"the output {name!r} of {path}" if name else str(path)
        if np.ndim(array) == 0 or len(array) != ROWS:
            raise BadDataError(
                f"{shown} does not answer each row of a batch", "export the model with a batch axis"
            )
        if array.dtype.kind not in "fiub":
            raise BadDataError(f"{shown} does not answer numbers", "export the model with numbers as outputs")


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


def _make_rows(inputs: Sequence[FileInput], free_length: int) -> dict[str, Array]:
    """Return made rows, for the signature and the example."""
    generator = np.random.default_rng(0)
    rows = {}
    for given in inputs:
        shape = (ROWS, *(free_length if size is None else size for size in given.shape))
        if given.dtype == "string":
            rows[given.name] = np.full(shape, "text", dtype=object)
        elif given.dtype == "bool":
            rows[given.name] = generator.random(shape) < 0.5
        elif "int" in given.dtype:
            rows[given.name] = generator.integers(0, 2, shape).astype(given.dtype)
        else:
            rows[given.name] = generator.uniform(0, 1, shape).astype(given.dtype)
    return rows


def _output(name: str, activation: str, shape: Sequence[int | None], classes: tuple[str, ...] = ()) -> Output:
    """Return what an output means, as far as its last layer tells."""
    units = shape[-1] if shape else 1
    if len(shape) != 1 or units is None:
        return Output(kind="values" if len(shape) <= 1 else "none", name=name)
    if len(classes) == units:
        return Output(kind="classes", name=name, classes=classes)
    if activation == "softmax" and units > 1:
        return Output(kind="classes", name=name, classes=tuple(map(str, range(units))))
    if activation == "sigmoid":
        names = tuple(map(str, range(2 if units == 1 else units)))
        return Output(kind="classes" if units == 1 else "labels", name=name, classes=names)
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
