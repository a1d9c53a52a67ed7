"""JSON Schemas of what a model takes and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.domain.outputs import Output
from mlctl.serving.payloads.named_tensors import TensorRules
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature, TensorSpec
from mlctl.serving.payloads.tables import TableRules

MAX_EXAMPLES = 20  # categories of a column that its schema lists

Schema = dict[str, Any]

_SPLIT_HINT = "As pandas writes it with orient='split'; `index` is ignored."

_PICTURES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {
        "anyOf": [
            {
                "type": "object",
                "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
                "required": ["b64"],
            },
            {"type": "string", "pattern": "^data:image/", "examples": ["data:image/png;base64,…"]},
        ]
    },
}


class InputSchemas:
    """Schemas of what a model takes."""

    def __init__(
        self,
        signature: ModelSignature,
        choices: Mapping[str, Sequence[str]],
        *,
        table_rules: TableRules,
        tensor_rules: TensorRules,
        takes_pictures: bool = False,
    ) -> None:
        """Prepare the schemas.

        Args:
            signature: What the model takes.
            choices: The categories of each column that has them.
            table_rules: What columns may have besides the values of the signature.
            tensor_rules: What tensors may have besides the values of the signature.
            takes_pictures: A row may be a picture's file in base64.
        """
        self._signature = signature
        self._choices = choices
        self._table_rules = table_rules
        self._tensor_rules = tensor_rules
        self._takes_pictures = takes_pictures

    def forms(self) -> dict[str, Schema]:
        """Return the schema of each key that a JSON body may have: one of them must be there."""
        signature = self._signature
        if signature.tensor is not None:
            return self._forms_of_tensor(signature.tensor)
        if signature.tensors:
            return self._forms_of_tensors(signature.tensors)
        if signature.columns:
            return self._forms_of_table(signature)
        anything: Schema = {"description": "The model has no signature: any data that it understands."}
        return dict.fromkeys(("inputs", "instances", "dataframe_split", "dataframe_records"), anything)

    def _forms_of_tensor(self, spec: TensorSpec) -> dict[str, Schema]:
        value = self._value(spec)
        tensor = _nested(value, spec.shape) | {"description": str(spec)}
        if self._takes_pictures:
            tensor = {"anyOf": [tensor, _PICTURES]}
        forms = {"inputs": tensor, "instances": tensor}
        if len(spec.shape) <= 2:
            forms["dataframe_split"] = _split_schema({"type": ["string", "integer"]}, value)
            forms["dataframe_records"] = _list_of({"type": "object", "additionalProperties": value})
        return forms

    def _forms_of_tensors(self, specs: Sequence[TensorSpec]) -> dict[str, Schema]:
        extra = self._tensor_rules.extra
        rows = {spec.name: _nested(self._value(spec), spec.shape[1:]) for spec in specs}
        tensors = {spec.name: _nested(self._value(spec), spec.shape) for spec in specs}
        either = {"anyOf": [_object_of(tensors, extra=extra), _list_of(_object_of(rows, extra=extra))]}
        forms: dict[str, Schema] = {"inputs": either, "instances": either}
        if (table := self._signature.as_table) is not None:
            of_table = self._forms_of_table(table)
            forms |= {key: of_table[key] for key in ("dataframe_split", "dataframe_records")}
        return forms

    def _forms_of_table(self, table: ModelSignature) -> dict[str, Schema]:
        cells = {column.name: self._cell(column) for column in table.columns}
        required = [column.name for column in table.columns if column.required]
        extra = self._table_rules.extra
        records = _list_of(_object_of(cells, required, extra=extra))
        columns = {name: _list_of(schema) for name, schema in cells.items()}
        either = {"anyOf": [records, _object_of(columns, required, extra=extra)]}
        any_cell = {"type": ["number", "string", "boolean", "null"]}
        names = {"type": ["string", "integer"], "examples": list(cells)}
        return {
            "dataframe_split": _split_schema(names, any_cell),
            "dataframe_records": records,
            "inputs": either,
            "instances": either,
        }

    def _value(self, spec: TensorSpec) -> Schema:
        value = _value_schema(spec.dtype)
        if self._tensor_rules.takes_gaps and value.get("type") == "number":
            value["type"] = ["number", "null"]
        return value

    def _cell(self, column: ColumnSpec) -> Schema:
        """Return the schema of a cell; null is a missing value."""
        kind = {"string": "string", "boolean": "boolean", "long": "integer", "integer": "integer"}.get(
            column.kind, "number"
        )
        can_be_missing = not column.required or column.kind in self._table_rules.gaps
        schema: Schema = {"type": [kind, "null"] if can_be_missing else kind}
        if kind == "integer":
            limits = np.iinfo(np.int64 if column.kind == "long" else np.int32)
            schema |= {"minimum": int(limits.min), "maximum": int(limits.max)}
        if choices := self._choices.get(column.name):
            schema["examples"] = list(choices[:MAX_EXAMPLES])
        return schema


def answer_schema(signature: ModelSignature, outputs: Sequence[Output]) -> Schema:
    """Return the schema of `predictions`: a list of rows, or such a list for each output by its name."""
    specs = signature.outputs
    if not specs:
        return {"description": "An answer for each row."}
    meanings = {output.name: output for output in outputs}
    if len(specs) == 1 and not specs[0].name:
        return _tensor_schema(specs[0]) | _meaning(outputs[0] if len(outputs) == 1 else None)
    return _object_of({spec.name: _tensor_schema(spec) | _meaning(meanings.get(spec.name)) for spec in specs})


def detailed_answer_schema(outputs: Sequence[Output]) -> Schema:
    """Return the schema of `predictions` if a client asks for details."""
    rows = [_list_of(_detail_schema(output)) for output in outputs]
    if len(outputs) == 1:
        return rows[0]
    if not outputs:
        return {"description": "An answer for each row, or such a list for each output by its name."}
    return _object_of({output.name: schema for output, schema in zip(outputs, rows, strict=True)})


def _tensor_schema(spec: TensorSpec) -> Schema:
    """Return the schema of a tensor as nested lists, of which the outermost counts the rows."""
    return _nested(_value_schema(spec.dtype), spec.shape)


def _nested(value: Schema, shape: Sequence[int]) -> Schema:
    for length in reversed(shape):
        value = {"type": "array", "items": value}
        if length >= 0:
            value |= {"minItems": length, "maxItems": length}
    return value


def _value_schema(dtype: str) -> Schema:
    if dtype == "str":
        return {"type": "string"}
    if dtype == "bool":
        return {"type": "boolean"}
    try:
        kind = np.dtype(dtype)
    except TypeError:  # of an answer
        return {}
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return {"type": "number"} if kind.kind == "f" else {}


def _split_schema(name: Schema, cell: Schema) -> Schema:
    return {
        "type": "object",
        "description": _SPLIT_HINT,
        "required": ["columns", "data"],
        "properties": {
            "columns": {"type": "array", "items": name},
            "data": {"type": "array", "minItems": 1, "items": {"type": "array", "items": cell}},
            "index": {"type": "array"},
        },
    }


def _detail_schema(output: Output) -> Schema:
    number: Schema = {"type": "number"}
    label: Schema = {"type": "string"} | ({"enum": list(output.classes)} if output.classes else {})
    of_each_class = {"type": "object", "additionalProperties": number}
    if output.kind == "classes":
        return _object_of({"label": label, "probability": number, "probabilities": of_each_class})
    if output.kind == "labels":
        return _object_of({"labels": {"type": "array", "items": label}, "probabilities": of_each_class})
    if output.kind == "sequence":
        labels, probabilities = {"type": "array", "items": label}, {"type": "array", "items": number}
        return _object_of({"labels": labels, "probabilities": probabilities})
    if output.kind == "pixels":
        shape = {"type": "array", "items": {"type": "integer"}}
        return _object_of({"shape": shape, "shares": of_each_class})
    value: Schema = {"description": "A number, or nested lists of numbers."}
    return _object_of({"value": value} | ({"unit": {"const": output.unit}} if output.unit else {}))


def _meaning(output: Output | None) -> Schema:
    """Return what the description of an answer says about its classes or unit."""
    if output is None:
        return {}
    what = {
        "classes": "The probability of each class",
        "labels": "The probability of each label",
        "pixels": "The probabilities of the classes of each pixel",
        "sequence": "The probabilities of the classes of each step",
    }.get(output.kind, "Values")
    if output.kind == "classes" and len(output.classes) == 2:
        what = f"The probability of {output.classes[1]}, or that of each class"
    classes = ", ".join(output.classes[:MAX_EXAMPLES]) + (" …" if len(output.classes) > MAX_EXAMPLES else "")
    unit = f" in {output.unit}" if output.unit else ""
    return {"description": f"{what}{unit}{': ' + classes if classes else ''}."}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def _object_of(
    properties: Mapping[str, Schema], required: Sequence[str] | None = None, *, extra: bool = True
) -> Schema:
    """Return the schema of an object; by default, all properties are required, and others are allowed."""
    schema: Schema = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties) if required is None else list(required),
    }
    return schema if extra else schema | {"additionalProperties": False}
