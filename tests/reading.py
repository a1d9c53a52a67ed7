"""Read rows as a trained model reads them: from a file, as JSON, and as CSV, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlctl.data.dataset import Dataset
from mlctl.data.tables import user_table
from mlctl.services.evaluation.inputs import read_batches
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.serving.payloads import table_files, tables
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature
from mlctl.serving.scoring import TRUE_WORDS, DateParser

Cells = dict[str, list[Any]]


class Messages:
    """A progress listener that keeps its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


class ReadTable:
    """A table as training reads it, and how its model reads other rows.

    Attributes:
        data: The table's rows by split.
        inputs: The rows in the order of the file, without those that have no target.
        numbers: Their numbers in the file, from 0.
        info: What a model that was trained on them tells about itself.
    """

    def __init__(self, path: str | Path, target: str, **options: Any) -> None:
        self.data: Dataset = user_table.load_table(Path(path), target, options)
        splits = [split for split in (self.data.train, self.data.validation, self.data.test) if split]
        numbers = np.concatenate(self.data.extra["row_numbers"])
        order = np.argsort(numbers)
        self.inputs: pd.DataFrame = pd.concat([split.inputs for split in splits]).iloc[order]
        self.targets = np.concatenate([split.targets for split in splits])[order]
        self.numbers = numbers[order] - 1
        columns = tuple(
            ColumnSpec(str(name), _kind(self.inputs[name]), required=not self.inputs[name].isna().any())
            for name in self.inputs
        )
        self.info = PredictorInfo(
            name="Own",
            version="1",
            classes=self.data.classes,
            signature=ModelSignature(columns=columns),
            readings=self.data.extra["readings"],
            target_reading=self.data.extra["target_reading"],
            takes_gaps=True,
        )

    @property
    def kinds(self) -> dict[str, str]:
        """The type of each column."""
        return {column.name: column.type for column in self.data.extra["described"]}

    @property
    def cells(self) -> Cells:
        """The cells of each column, as `comparable` returns them."""
        return self.comparable({str(name): self.inputs[name].tolist() for name in self.inputs})

    def of_file(self, path: str | Path) -> tuple[Cells, list[str]]:
        """Return the cells of a file, and what `predict` says about it."""
        messages = Messages()
        parts = [batch.rows for batch in read_batches(self.info, [str(path)], listener=messages)]  # type: ignore[arg-type]
        columns = {name: [cell for part in parts for cell in part[name]] for name in parts[0]}  # type: ignore[call-overload]
        return self.comparable(columns), messages.lines

    def of_json(self, records: Sequence[dict[str, Any]]) -> Cells:
        """Return the cells of a request."""
        columns = tables.columns_from_json("dataframe_records", records, self.info.signature, self._rules)
        return self.comparable({name: list(cells) for name, cells in columns.items()})

    def of_csv(self, text: str) -> Cells:
        """Return the cells of a request with CSV."""
        columns = table_files.columns_from_csv(
            text.encode(), self.info.signature, by_mlctl=True, rules=self._rules
        )
        return self.comparable({name: list(cells) for name, cells in columns.items()})

    @property
    def _rules(self) -> tables.TableRules:
        return replace(tables.LENIENT, readings=self.info.readings)

    def comparable(self, columns: Cells) -> Cells:
        """Return cells as a model takes them: None for a missing value, dates as their moments, yes as true."""
        return {name: [self._comparable(name, cell) for cell in cells] for name, cells in columns.items()}

    def _comparable(self, name: str, cell: Any) -> Any:
        reading = self.info.readings[name]
        if (
            cell is None
            or cell != cell
            or cell == ""
            or (reading.kind == "category" and reading.is_gap(cell))
        ):
            return None
        if reading.kind == "date":
            return DateParser(reading.date_format)(cell)
        if reading.kind == "boolean":
            return str(cell).lower() in TRUE_WORDS
        return cell.item() if isinstance(cell, np.generic) else cell


def _kind(values: pd.Series[Any]) -> str:
    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return "boolean"
    return "double" if values.dtype.kind == "f" else "string"
