"""Checked columns as the DataFrame that a model takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlctl.serving.payloads.signature import ModelSignature
from mlctl.serving.payloads.tables import Columns


def to_frame(columns: Columns, signature: ModelSignature, *, first_row: int = 0) -> Any:
    """Return columns as mlctl's own encoders take them: texts as objects with None for a gap."""
    import pandas as pd  # models that mlctl saves do not need it

    frame = pd.DataFrame(
        {
            column.name: pd.Series(columns[column.name], dtype=columns[column.name].dtype)
            for column in signature.columns
        },
        copy=False,
    )
    return frame.set_index(pd.RangeIndex(first_row, first_row + len(frame))) if first_row else frame


def to_mlflow_frame(columns: Columns, signature: ModelSignature) -> Any:
    """Return columns as MLflow's server builds them: with pandas' own type of texts, and NaN for a missing one."""
    import pandas as pd

    series = {}
    for column in signature.columns:
        if column.name not in columns:  # optional
            continue
        cells = columns[column.name]
        if column.kind == "string":
            is_empty = all(cell is None for cell in cells)  # pandas would take it for a column of numbers
            texts = [np.nan if cell is None else cell for cell in cells]
            series[column.label] = pd.Series(texts, dtype=object if is_empty else None)
        else:
            series[column.label] = pd.Series(cells, dtype=cells.dtype)
    return pd.DataFrame(series, copy=False)


def has_integer_gaps(columns: Columns, signature: ModelSignature) -> bool:
    """Whether a column of whole numbers has missing values, so that it is no longer of its integer type."""
    return any(
        column.kind in ("long", "integer") and columns[column.name].dtype.kind not in "iu"
        for column in signature.columns
        if column.name in columns
    )
