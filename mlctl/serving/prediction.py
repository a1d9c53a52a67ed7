"""From a request to a prediction: recognise the payload, have it checked, and prepare the model's call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mlctl.errors import did_you_mean
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads import pictures, table_files, tables
from mlctl.serving.payloads.cells import NO_GAPS_IN_TRAINING, InexactNumber, first_gap
from mlctl.serving.payloads.content_types import CSV, JSON, parse_content_type
from mlctl.serving.payloads.json_body import read_exactly, read_json
from mlctl.serving.payloads.named_tensors import (
    TensorRules,
    Tensors,
    table_rules,
    tensors_from_columns,
    tensors_from_json,
    tensors_from_table,
)
from mlctl.serving.payloads.request_error import bad_request, quote, unsupported_media_type
from mlctl.serving.payloads.simple_columns import check_simple_columns, check_simple_csv
from mlctl.serving.payloads.table_tensors import tensor_from_csv, tensor_from_parquet, tensor_from_table
from mlctl.serving.payloads.tables import Columns, TableRules
from mlctl.serving.payloads.tensors import holds_only_numbers, tensor_from_json

KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records")
KEYS_TEXT = ", ".join(KEYS)
CHAT_KEYS = ("messages", "prompt", "input")  # MLflow passes a document with one of them to the model as it is
DEFAULT_MAX_BYTES = 10_000_000

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PredictionCall:
    """A checked request.

    Attributes:
        rows: Its number of rows.
        predict: Returns the model's raw answers.
        inputs: The columns, the array, or the arrays by name that the model gets.
    """

    rows: int
    predict: Callable[[], Any]
    inputs: Columns | Array | Tensors


def parse_request(
    model: ServedModel,
    body: bytes,
    content_type: str,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    strict: bool = False,
) -> PredictionCall | None:
    """Return the call that answers a request; None if only MLflow's own application can read it.

    That is so for signatures that are neither tensors nor a table of simple columns.

    Args:
        model: The model that will answer.
        body: The request's body, decompressed.
        content_type: Its Content-Type header; "" means JSON.
        max_bytes: Largest size that a compressed file may unpack to.
        strict: Refuse unknown columns, names and keys, and gaps in required columns.

    Raises:
        RequestError: The client made a mistake.
    """
    if pictures.is_picture_type(content_type):
        return RequestParser(model, strict=strict).pictures(body, content_type)
    kind = parse_content_type(content_type)
    if not body:
        raise bad_request("the body is empty", f"send JSON with one of {KEYS_TEXT}")
    parser = RequestParser(model, strict=strict)
    if kind != JSON:
        return parser.file(body, kind, max_bytes)
    document = read_json(body)
    try:
        return parser.document(document, body, is_exact=False)
    except InexactNumber:
        return parser.document(read_exactly(body), body, is_exact=True)


class RequestParser:
    """Reads requests for one model."""

    def __init__(self, model: ServedModel, *, strict: bool) -> None:
        self._model = model
        self._signature = model.signature
        self._strict = strict
        self._takes_gaps = model.takes_gaps and not strict

    def document(self, document: Any, body: bytes, *, is_exact: bool) -> PredictionCall | None:
        """Return the call for a JSON document. Raises InexactNumber unless `is_exact`."""
        if not isinstance(document, dict):
            raise bad_request(
                f"the body is {_type_name(document)}, not a JSON object",
                f"send an object with one of {KEYS_TEXT}",
            )
        key = self._data_key(document)
        if key is None:
            check_simple_columns(document, self._signature, is_exact=is_exact)
            return None
        call = self._json_call(key, document[key], body, is_exact=is_exact)
        if (params := document.get("params")) and self._signature.params:
            return replace(call, predict=partial(self._model.predict_with_params, call.inputs, params))
        return call

    def _json_call(self, key: str, value: Any, body: bytes, *, is_exact: bool) -> PredictionCall:
        signature = self._signature
        if signature.columns:
            return self.table_call(
                tables.columns_from_json(key, value, signature, self.table_rules(is_exact=is_exact))
            )
        rules = self.tensor_rules(is_exact=is_exact)
        if signature.tensor is None:
            if key in ("inputs", "instances"):
                return self.tensors_call(tensors_from_json(value, signature.tensors, body, rules))
            return self.tensors_call(tensors_from_table(key, value, signature, rules))
        if key not in ("inputs", "instances"):
            return self.tensor_call(tensor_from_table(key, value, signature.tensor, rules))
        if (files := pictures.files_of_json(value, body)) is not None:
            return self._pictures(files)
        if not isinstance(value, list):
            raise bad_request(
                f"{key} is {_type_name(value)}", f"send nested lists that form {signature.tensor}"
            )
        array = tensor_from_json(
            value,
            signature.tensor,
            self._model.full_scale,
            only_numbers=holds_only_numbers(body, keys=1),
            takes_gaps=rules.takes_gaps,
            is_exact=is_exact,
        )
        return self.tensor_call(array)

    def pictures(self, body: bytes, content_type: str) -> PredictionCall:
        """Return the call for a picture file, or for an upload of several."""
        return self._pictures(pictures.files_of_body(body, content_type))

    def file(self, body: bytes, kind: str, max_bytes: int) -> PredictionCall | None:
        """Return the call for a CSV or Parquet file."""
        signature = self._signature
        if not signature.is_known:
            if kind == CSV:
                check_simple_csv(body, signature)
            return None
        if signature.tensor is not None:
            return self._file_of_tensor(body, kind, max_bytes)
        table = signature.as_table if signature.tensors else signature
        if table is None:
            raise unsupported_media_type(
                f"this model takes lists of values, not {kind}", "send JSON, inputs: a tensor for each name"
            )
        tensor_rules = self.tensor_rules()
        rules = table_rules(signature, tensor_rules) if signature.tensors else self.table_rules()
        if kind == CSV:
            by_mlctl = self._model.info.by_mlctl
            columns = table_files.columns_from_csv(body, table, by_mlctl=by_mlctl, rules=rules)
        else:
            columns = table_files.columns_from_parquet(body, table, max_bytes=max_bytes, rules=rules)
        if signature.tensors:
            return self.tensors_call(tensors_from_columns(columns, signature, tensor_rules))
        return self.table_call(columns)

    def _file_of_tensor(self, body: bytes, kind: str, max_bytes: int) -> PredictionCall:
        spec = self._signature.tensor
        assert spec is not None
        if len(spec.shape) > 2:
            raise unsupported_media_type(
                f"this model takes a tensor, not {kind}", f"send JSON, inputs: {spec}"
            )
        rules = self.tensor_rules()
        if kind == CSV:
            return self.tensor_call(tensor_from_csv(body, spec, rules))
        return self.tensor_call(tensor_from_parquet(body, spec, rules, max_bytes=max_bytes))

    def _data_key(self, document: dict[str, Any]) -> str | None:
        """Return the key that holds the data; None if only MLflow can interpret the document."""
        present = [key for key in KEYS if key in document]
        if not present and (
            not self._signature.is_known or self._is_chat(document)
        ):  # such as the payload of a chat or completion
            return None
        unknown = [key for key in document if key not in (*KEYS, "params", "signature_name")]
        if unknown and (self._strict or not present):
            suggestion = did_you_mean(unknown[0], KEYS)
            raise bad_request(f"unknown key {quote(unknown[0])}", suggestion or f"send one of {KEYS_TEXT}")
        if len(present) != 1:
            problem = (
                f"the body has {' and '.join(present)}" if present else "the body has none of the data keys"
            )
            raise bad_request(f"{problem}; exactly one must hold the data", f"send one of {KEYS_TEXT}")
        if not self._signature.is_known:
            return None
        if document.get("params") and self._strict and not self._signature.params:
            raise bad_request("this model takes no params", "remove the key params")
        return present[0]

    def _is_chat(self, document: dict[str, Any]) -> bool:
        return not self._model.info.by_mlctl and any(key in document for key in CHAT_KEYS)

    def _pictures(self, files: list[bytes]) -> PredictionCall:
        if self._signature.tensor is None:
            raise unsupported_media_type(
                "this model does not take pictures", "GET /model describes its input"
            )
        model = self._model
        return self.tensor_call(
            pictures.read_pictures(
                files, self._signature.tensor, full_scale=model.full_scale, by_mlctl=model.info.by_mlctl
            )
        )

    def table_rules(self, *, is_exact: bool = True) -> TableRules:
        """Return what the columns of a table may have besides the values of the signature."""
        by_mlctl = self._model.info.by_mlctl
        kinds = ("double", "float", "string", *(("long", "integer", "boolean") if by_mlctl else ()))
        return TableRules(
            extra=not self._strict,
            gaps=frozenset(kinds if self._takes_gaps else ()),
            gap_hint=NO_GAPS_IN_TRAINING if self._model.takes_gaps else "the model takes no missing values",
            fills_absent=by_mlctl,
            is_exact=is_exact,
            readings=self._model.readings,
        )

    def tensor_rules(self, *, is_exact: bool = True) -> TensorRules:
        """Return what tensors may have besides the values of the signature."""
        return TensorRules(extra=not self._strict, takes_gaps=self._takes_gaps, is_exact=is_exact)

    def table_call(self, columns: Columns) -> PredictionCall:
        """Return the call for checked columns."""
        model = self._model
        rows = len(next(iter(columns.values())))
        if model.info.by_mlctl:
            return PredictionCall(rows, lambda: model.predict_table(columns), columns)
        return PredictionCall(rows, lambda: _predict_with_gaps(model, columns), columns)

    def tensor_call(self, array: Array) -> PredictionCall:
        """Return the call for a checked array."""
        model = self._model
        return PredictionCall(len(array), lambda: model.predict_tensors(array), array)

    def tensors_call(self, tensors: Tensors) -> PredictionCall:
        """Return the call for checked arrays by name."""
        model = self._model
        rows = len(next(iter(tensors.values())))
        return PredictionCall(rows, lambda: model.predict_tensors(tensors), tensors)


def _predict_with_gaps(model: ServedModel, columns: Columns) -> Any:
    """Return the model's answers. Raises RequestError if it fails, and if there are missing values, which may be why."""
    try:
        return model.predict_table(columns)
    except Exception as exc:
        found = ((name, first_gap(column)) for name, column in columns.items())
        name, row = next((item for item in found if item[1] is not None), ("", None))
        if row is None:
            raise
        reason = str(exc).strip().partition("\n")[0][:200]
        raise bad_request(
            f"the model cannot take the missing value in row {row}, column {quote(name)}: {reason}",
            "send a value",
        ) from exc


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "a text"
    if isinstance(value, list):
        return "a list"
    return "a dictionary" if isinstance(value, dict) else "a number"
