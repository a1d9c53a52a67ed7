"""What encoders of tables learn from training rows: medians, categories, words, edges of bins, and scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlctl.recipes.ngrams import fit_encoder, pack_numbers
from mlctl.serving.scoring import (
    ColumnsEncoder,
    TableEncoder,
    as_text,
    list_words,
    plain_text,
)

_SPARE_DIRECTIONS, _POWER_ITERATIONS = 10, 2  # of a randomized decomposition

Array = np.ndarray[Any, Any]
State = dict[str, Any]


def fit_table(rows: Any, steps: Sequence[Mapping[str, Any]]) -> TableEncoder:
    """Return an encoder with these steps, fitted to training rows (a DataFrame)."""
    columns = {}
    for name in rows:
        numeric = rows[name].dtype.kind in "iuf"
        values = rows[name].dropna().to_numpy() if numeric else ()
        fill = (float(np.median(values)) if len(values) else 0.0) if numeric else ""
        columns[name] = {"kind": "number" if numeric else "category", "fill": fill}
    fitted_steps = [{**step, **_fit_step(step, rows)} for step in steps]
    encoder = TableEncoder(columns, fitted_steps, [0.0], [1.0])
    width = sum(encoder.widths())
    encoder.mean, encoder.scale = np.zeros(width), np.ones(width)
    scaled = np.repeat([step.get("scaled", True) for step in fitted_steps], encoder.widths())
    encoder.mean = np.where(scaled, _sum_rows(encoder, rows) / len(rows), 0.0)
    deviation = np.sqrt(_sum_rows(encoder, rows, np.square) / len(rows))
    weights = np.repeat([step.get("weight", 1.0) for step in fitted_steps], encoder.widths())
    encoder.scale = np.where(scaled & (deviation > 1e-12), deviation, 1.0) / weights
    return encoder


def fit_columns(rows: Any, vocabularies: Sequence[str] = ()) -> ColumnsEncoder:
    """Return the encoder for rows like these training rows (a DataFrame)."""
    columns: dict[str, State] = {}
    for name in rows:
        cells, kind = rows[name], getattr(rows[name].dtype, "kind", "O")
        if name in vocabularies:
            counts = cells.dropna().map(as_text).value_counts()
            known = [word for _, word in sorted((-count, word) for word, count in counts.items())]
            columns[str(name)] = {"dtype": "int64", "fill": "", "vocabulary": known}
        elif kind in "iub" and not cells.isna().any():
            columns[str(name)] = {"dtype": "int64", "fill": 0}
        elif kind in "iufb":
            filled = cells.dropna().to_numpy(np.float64)
            columns[str(name)] = {
                "dtype": "float32",
                "fill": float(np.median(filled)) if len(filled) else 0.0,
            }
        else:
            columns[str(name)] = {"dtype": "str", "fill": ""}
    return ColumnsEncoder(columns)


def _sum_rows(encoder: TableEncoder, rows: Any, transform: Callable[[Array], Array] = np.asarray) -> Array:
    """Return the sum over rows of `transform` of each feature's difference from its mean."""
    sums = np.zeros(len(encoder.mean))
    for _, feature_slice, features in encoder.feature_blocks(rows):
        terms = np.concatenate(
            [sums[np.newaxis, feature_slice], transform(features - encoder.mean[feature_slice])]
        )
        sums[feature_slice] = terms.cumsum(axis=0)[-1]  # row by row, so that the blocks do not matter
    return sums


def _fit_step(step: Mapping[str, Any], rows: Any) -> State:
    """Return what a step learns from training rows: its categories, words or bin edges, at most `most`."""
    make, most = step["make"], step.get("most")
    if make == "category":
        counts = rows[step["of"]].value_counts()
        return {"known": sorted(counts.index[:most].tolist())}
    if make == "text":
        text_counts: dict[str, int] = {}
        for text in rows[step["of"]].dropna():
            for word in set(list_words(str(text))):
                text_counts[word] = text_counts.get(word, 0) + 1
        by_frequency = sorted((-count, word) for word, count in text_counts.items() if 1 < count < len(rows))
        return {"known": [word for _, word in by_frequency[:most]]}
    if make == "bins":
        values = rows[step["of"]].dropna().to_numpy(np.float64)
        if not len(values):
            return {"edges": []}
        return {"edges": np.unique(np.quantile(values, np.linspace(0, 1, step["most"] + 1))).tolist()}
    if make == "topics":
        texts = [plain_text(text) for text in rows[step["of"]].dropna().astype(str)]
        encoder, bags = fit_encoder(texts, None, most=step["most"])
        directions = _main_directions(*bags, encoder.width, step["topics"])
        return {
            "parts": encoder.parts,
            "directions": pack_numbers(directions, "<f2"),
            "width": directions.shape[1],
        }
    if make == "robust":
        values = rows[step["of"]].dropna().to_numpy(np.float64)
        low, center, high = np.quantile(values, (0.25, 0.5, 0.75)) if len(values) else (0.0, 0.0, 0.0)
        spread = (high - low) or (np.ptp(values) / 2 if len(values) else 0.0)
        return {"center": float(center), "range": float(spread) or 1.0}
    return {}


def _main_directions(columns: Array, starts: Array, values: Array, width: int, count: int) -> Array:
    """Return the directions (width, count or fewer) in which sparse rows differ most: latent semantic analysis.

    Source: Halko and others (arXiv 0909.4061), a randomized singular value decomposition with power iterations.
    """
    from scipy import sparse

    rows = sparse.csr_matrix((values, columns, starts), (len(starts) - 1, width))
    count = min(count, width, len(starts) - 1)
    base = (
        np.random.default_rng(0)
        .normal(size=(width, min(count + _SPARE_DIRECTIONS, width)))
        .astype(np.float32)
    )
    for _ in range(_POWER_ITERATIONS):
        base = np.linalg.qr(rows.T @ np.linalg.qr(rows @ base)[0])[0]
    turned = np.linalg.svd(rows @ base, full_matrices=False)[2]
    directions: Array = (base @ turned.T)[:, :count]
    return directions
