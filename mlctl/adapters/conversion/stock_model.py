"""Convert a model that another program logged: the steps, and the comparison that decides whether it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mlctl.adapters.conversion.candidates import Candidate, candidates
from mlctl.adapters.conversion.equality import difference
from mlctl.adapters.conversion.families import find_family
from mlctl.adapters.conversion.generated_rows import generate_rows, take, with_gaps
from mlctl.adapters.models.export_error import ExportError
from mlctl.domain.short_texts import shorten
from mlctl.serving.conversion.scorer import DESCRIPTION, GRAPH, ConvertedScorer
from mlctl.serving.model import ServedModel
from mlctl.serving.prediction import parse_request

GENERATED_ROWS = 256
BATCHES = (1, 7, 64)  # a converted model can be right for one number of rows and wrong for another
MAX_TEXTS = 200  # that are asked one by one which of them the model knows
UNKNOWN_TEXT = "a text that no column has"
MAX_COLUMNS = 100  # in which gaps are tried one by one
MAX_REASON = 160
_ONNX_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed: ?)?")

Array = np.ndarray[Any, Any]


class NotEqualError(Exception):
    """A converted model answers otherwise than the model; the message says how."""


def convert(folder: Path, target: Path) -> str:
    """Convert the model in a folder to ONNX in the folder `target`; return "", or the reason why it cannot be used."""
    family = find_family(folder)
    if isinstance(family, str):
        return family
    try:
        return _StockModel(folder, family.name, family.predict_fn).convert(target)
    except Exception as exc:  # of any library
        return _short(exc)


class _StockModel:
    """A model as its library answers, and rows to compare answers on."""

    def __init__(self, folder: Path, family: str, predict_fn: str) -> None:
        self._served = ServedModel(folder)
        self._signature = self._served.signature
        self._family = family
        self._predict_fn = predict_fn
        self._model = self._served.by_mlflow.get_raw_model()
        self._example = self._read_example()
        self._texts = self._known_texts()
        self._rows = generate_rows(self._signature, self._example, GENERATED_ROWS, self._texts)
        self._expected = _join([self._answer(take(self._rows, part)) for part in _slices(GENERATED_ROWS)])

    def convert(self, target: Path) -> str:
        reasons: list[str] = []
        differences: list[str] = []
        example = take(self._rows, slice(0, 64)) if self._family == "keras" else self._example
        forms = candidates(
            self._family,
            self._model,
            signature=self._signature,
            example=example,
            predict_fn=self._predict_fn,
        )
        for form in forms:
            try:
                self._try(form, target)
            except NotEqualError as exc:
                differences.append(_short(exc))
            except Exception as exc:  # of any converter
                reasons.append(_short(exc))
            else:
                return ""
        return [*differences, *reasons][0]

    def _try(self, form: Candidate, target: Path) -> None:
        form.write(target / GRAPH)
        plan = self._plan(form, target)
        self._write(plan, target)
        self._compare_rows(ConvertedScorer(target))
        if self._signature.columns:
            scorer = ConvertedScorer(target)
            plan |= {"refused": self._compare_gaps(scorer), "absent": self._compare_absent(scorer)}
            self._write(plan, target)
            self._compare_unknown_texts(ConvertedScorer(target))

    def _plan(self, form: Candidate, target: Path) -> dict[str, Any]:
        """Return what `ConvertedScorer` reads: how the library's answers follow from the graph's outputs."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            str(target / GRAPH), options, providers=["CPUExecutionProvider"]
        )
        graph_outputs = [output.name for output in session.get_outputs()]
        names = [graph_outputs[int(name[1:])] if name.startswith("#") else name for name in form.outputs]
        shape = "array"
        expected = self._expected
        if isinstance(expected, dict):
            shape, arrays = "dict", list(expected.values())
            names = names or [name if name in graph_outputs else f"answer_{name}" for name in expected]
        elif isinstance(expected, list):
            shape, arrays = "list", expected
        else:
            arrays = [expected]
        names = names or graph_outputs
        keeps_shape = self._family == "keras"
        return {
            "inputs": self._graph_inputs(form, session),
            "form": shape,
            "names": list(expected) if shape == "dict" else [],
            "answers": [
                {
                    "output": name,
                    "dtype": "str" if array.dtype.kind in "OU" else array.dtype.name,
                    "shape": None if keeps_shape else array.shape[1:],
                }
                for name, array in zip(names, arrays, strict=True)
            ],
            "refused": {},
            "absent": {},
        }

    @staticmethod
    def _graph_inputs(form: Candidate, session: Any) -> list[dict[str, Any]]:
        """Return the inputs; of a Keras model's, the graph knows the type."""
        types = {"tensor(string)": "object", "tensor(float)": "float32", "tensor(double)": "float64"}
        graph = {given.name: given for given in session.get_inputs()}
        inputs = []
        for given in form.inputs:
            if not given["dtype"]:
                name = given["name"] if given["name"] in graph else next(iter(graph))
                kind = graph[name].type
                dtype = types.get(kind, kind.removeprefix("tensor(").removesuffix(")"))
                given = {**given, "name": name, "dtype": dtype, "rank": len(graph[name].shape)}
            inputs.append(given)
        return inputs

    @staticmethod
    def _write(plan: Mapping[str, Any], target: Path) -> None:
        (target / DESCRIPTION).write_text(json.dumps(plan), encoding="utf-8")

    def _compare_rows(self, scorer: ConvertedScorer) -> None:
        parts = [scorer(take(self._rows, part)) for part in _slices(GENERATED_ROWS)]
        _require_equal(_join(parts), self._expected, "")
        for count in BATCHES:
            rows = take(self._rows, slice(0, count))
            _require_equal(scorer(rows), self._answer(rows), f"for {count} rows")
        if self._example is not None:
            _require_equal(scorer(self._example), self._answer(self._example), "on the input example")

    def _compare_gaps(self, scorer: ConvertedScorer) -> dict[str, str]:
        """Return what the library says if a value is missing, by the columns in which it refuses that."""
        may_lack = [column.name for column in self._signature.columns]
        rows = take(self._rows, slice(0, 64))
        refused: dict[str, str] = {}
        groups = [[name] for name in may_lack] if len(may_lack) <= MAX_COLUMNS else []
        for names in [*groups, may_lack]:
            asked = with_gaps(rows, [name for name in names if name not in refused])
            try:
                expected = self._answer(asked)
            except Exception as exc:
                if len(names) > 1 and groups:
                    raise NotEqualError("it refuses some rows with missing values") from exc
                refused |= dict.fromkeys(names, _short(exc))
                continue
            _require_equal(scorer(asked), expected, f"if {' or '.join(names[:3])} is missing")
        return refused

    def _compare_absent(self, scorer: ConvertedScorer) -> dict[str, str]:
        """Return what the library says if an optional column is missing, by the columns that it asks for."""
        absent = {}
        for column in self._signature.columns:
            if column.required:
                continue
            rows = {
                name: values for name, values in take(self._rows, slice(0, 8)).items() if name != column.name
            }
            try:
                expected = self._answer(rows)
            except Exception as exc:
                absent[column.name] = _short(exc)
                continue
            _require_equal(scorer(rows), expected, f"without the column {column.name}")
        return absent

    def _compare_unknown_texts(self, scorer: ConvertedScorer) -> None:
        for column in self._signature.columns:
            if column.kind != "string":
                continue
            rows = dict(take(self._rows, slice(0, 8)))
            rows[column.name] = np.full(8, UNKNOWN_TEXT, object)
            try:
                expected = self._answer(rows)
            except Exception:
                raise NotEqualError(f"it refuses texts that {column.name} had not in training") from None
            _require_equal(scorer(rows), expected, f"for an unknown text in {column.name}")

    def _answer(self, rows: Any) -> Any:
        """Return the library's answers, in a form that can be compared. Raises ExportError for any other form."""
        if self._signature.columns:
            answers = self._served.predict_table(rows)
        else:
            answers = self._served.predict_tensors(rows)
        if isinstance(answers, Mapping) and all(isinstance(array, np.ndarray) for array in answers.values()):
            return dict(answers)
        if isinstance(answers, (list, tuple)) and all(isinstance(array, np.ndarray) for array in answers):
            return list(answers)
        if isinstance(answers, np.ndarray) and answers.ndim:
            return answers
        raise ExportError(f"its answers are a {type(answers).__name__}")

    def _read_example(self) -> Any:
        if self._served.example is None:
            return None
        call = parse_request(self._served, self._served.example, "application/json")
        return None if call is None else call.inputs

    def _known_texts(self) -> dict[str, list[str]]:
        """Return texts for each column that has texts: of the example, and categories that the model knows."""
        columns = [column.name for column in self._signature.columns if column.kind == "string"]
        if not columns:
            return {}
        categories = list(dict.fromkeys(_categories(self._model)))[:MAX_TEXTS]
        found = {}
        for name in columns:
            own = [] if self._example is None else [text for text in self._example[name] if text is not None]
            texts = list(dict.fromkeys([*own, *categories]))
            if self._example is not None:
                texts = [text for text in texts if text in own or self._knows(name, text)]
            found[name] = texts
        return found

    def _knows(self, name: str, text: str) -> bool:
        rows = take(self._example, slice(0, 1))
        rows[name] = np.array([text], object)
        try:
            self._answer(rows)
        except Exception:
            return False
        return True


def _categories(model: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts that the parts of a scikit-learn model know as categories."""
    for values in getattr(model, "categories_", ()):
        yield from (str(value) for value in values if isinstance(value, str))
    if vocabulary := getattr(model, "vocabulary_", None):
        yield " ".join(list(vocabulary)[:50])
    if depth > 6:
        return
    parts: Sequence[Any] = [step[1] for step in getattr(model, "steps", ())]
    parts = [*parts, *(part[1] for part in getattr(model, "transformers_", ()))]
    for part in parts:
        yield from _categories(part, depth + 1)


def _slices(count: int, size: int = 32) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]


def _join(parts: Sequence[Any]) -> Any:
    """Return answers to parts of the rows as answers to all rows."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    if isinstance(first, list):
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    return np.concatenate(parts)


def _require_equal(found: Any, expected: Any, where: str) -> None:
    if gap := difference(found, expected):
        raise NotEqualError(" ".join(f"its answers in ONNX differ {where} in {gap}".split()))


def _short(exc: Exception) -> str:
    """Return the reason that an exception tells, in one line."""
    text = " ".join(str(exc).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = "ONNX Runtime refuses the graph: " + _ONNX_PREFIX.sub("", text)
    elif not isinstance(exc, (ExportError, NotEqualError)):
        text = f"{type(exc).__name__}: {text}"
    return shorten(text, MAX_REASON)
