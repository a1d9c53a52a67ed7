"""Predictions in the form of a sample: its id column, its header and its kind of answers, as Kaggle wants them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.tables import reader
from mlctl.data.tables.column_names import match_names
from mlctl.domain.outputs import Output
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.serving import PredictionFile
from mlctl.domain.truths import TRUTHS
from mlctl.errors import BadDataError, RefusedError, UsageError
from mlctl.files import atomic_writer
from mlctl.services.evaluation.answer_columns import answer_columns
from mlctl.services.evaluation.answers import class_names, split_outputs
from mlctl.services.evaluation.inputs import read_batches
from mlctl.services.evaluation.predictor import Answers, Array, Predictor, open_predictor
from mlctl.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_FILE = "submission.csv"


def predict_like(
    settings: Settings,
    model: str,
    table: str,
    *,
    sample: Path,
    out: Path,
    key_file: Path | None = None,
    batch_size: int | None = None,
    listener: ProgressListener | None = None,
) -> PredictionFile:
    """Write the predictions of a table's rows as a CSV file with the header and the ids of a sample.

    The sample's columns that the table has, too, are the ids, and the others are answers. If the table has none of
    them, the ids are those of the sample, in its order. A sample with the same ids in another order decides the
    order, and one with fewer ids which rows are written. The sample's answers decide what is written: labels as they are spelled there, probabilities of the
    positive class if they are fractions, or a probability for each class if its columns are named after classes.

    Raises what `predict` raises, RefusedError if `out` exists, NotFoundError for a missing file, BadDataError for a sample that does not fit.
    """
    if out.exists():
        raise RefusedError(f"{out} already exists", "remove it, or choose another file with --out")
    table_path = Path(table).expanduser()
    for path in (sample, table_path):
        reader.files_of(path)  # raises NotFoundError
    shape = reader.read(sample).frame
    rows = reader.read(table_path).frame
    rows = rows.rename(columns=match_names(list(map(str, rows)), list(map(str, shape))))
    with open_predictor(TrackingStore(settings.tracking_uri), model, key_file) as predictor:
        answers = _predict(predictor, table, batch_size, listener or NullProgress())
        info = predictor.info
        ids, wanted = _split_columns(sample, list(map(str, shape)), list(map(str, rows)))
        outputs = split_outputs(info, answers)
        if len(outputs) != 1 or outputs[0][0].kind not in ("classes", "values", "none"):
            raise UsageError("--like needs a model with one output: a class or a number", "use --out instead")
        count = len(outputs[0][1])
        if count != len(rows):
            raise BadDataError(
                f"{table} has {len(rows):,} rows, and {count:,} were predicted", "use --out instead"
            )
        labels = {name: np.asarray(cells) for name, cells in answer_columns(info, answers).items()}
        columns = {
            name: _answers_for(name, shape[name], wanted, outputs[0][0], outputs[0][1], labels)
            for name in wanted
        }
    order, note = _order(table, sample, ids, shape, rows)
    if note and listener is not None:
        listener.message(note)
    id_cells = {name: _written(shape[name] if name not in rows else rows[name].iloc[order]) for name in ids}
    columns = {name: [cells[row] for row in order] for name, cells in columns.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(out) as binary, io.TextIOWrapper(binary, encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([str(name) for name in shape])
        writer.writerows(zip(*({**id_cells, **columns}[str(name)] for name in shape), strict=True))
    return PredictionFile(file=str(out), rows=len(order), resumed=0, model=info.name, version=info.version)


def _predict(predictor: Predictor, table: str, batch_size: int | None, listener: ProgressListener) -> Answers:
    """Return the model's answers to all rows."""
    parts: list[Answers] = []
    for batch in read_batches(
        predictor.info, [table], size=batch_size, table_rows=predictor.batch_rows, listener=listener
    ):
        parts.append(predictor.predict(batch.load(), batch.first_row))
    if not parts:
        raise BadDataError(f"{table} has no rows", "check the file")
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def _split_columns(sample: Path, names: Sequence[str], table: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the sample's columns of ids and of answers."""
    ids = [name for name in names if name in table]
    if not ids:
        ids = list(names[:1]) if len(names) > 1 else []
    wanted = [name for name in names if name not in ids]
    if not wanted:
        raise BadDataError(
            f"{sample}: the table has all of its columns, and none is left for the answers",
            "a sample has a column that the table lacks: the target",
        )
    return ids, wanted


def _answers_for(
    name: str,
    sample: pd.Series[Any],
    wanted: Sequence[str],
    output: Output,
    answers: Array,
    labels: dict[str, Array],
) -> Sequence[Any]:
    """Return the cells of one of the sample's columns of answers."""
    if "value" in labels:
        return [_number(value) for value in labels["value"]]
    if "label" not in labels:
        raise UsageError("--like needs a model that answers a class or a number", "use --out instead")
    probabilities = answers.reshape(len(answers), -1).astype(np.float64)
    classes = list(class_names(output, max(2, probabilities.shape[1])))
    if probabilities.shape[1] == 1:
        probabilities = np.column_stack([1 - probabilities[:, 0], probabilities[:, 0]])
    if len(wanted) > 1:
        place = _class_of_column(name, wanted, classes)
        return [_number(value) for value in probabilities[:, place]]
    cells = sample.dropna()
    is_share = cells.dtype.kind == "f" and bool(((cells > 0) & (cells < 1)).any())
    if is_share and not {f"{cell:.15g}" for cell in cells.unique()[:20]} <= set(classes):
        return [_number(value) for value in probabilities[:, -1]]
    return _spelled(labels["label"], cells)


def _class_of_column(name: str, wanted: Sequence[str], classes: Sequence[str]) -> int:
    """Return the class that a column of probabilities is for: Status_CL is for CL."""
    matches = [place for place, label in enumerate(classes) if name.lower() == label.lower()]
    matches = matches or sorted(
        (place for place, label in enumerate(classes) if name.lower().endswith(label.lower())),
        key=lambda place: -len(classes[place]),
    )
    if matches:
        return matches[0]
    raise BadDataError(
        f"the sample's column {name} is no class of the model: {', '.join(classes[:12])}",
        "its columns of answers must be named after the classes, or be one",
    )


def _spelled(labels: Array, sample: pd.Series[Any]) -> list[Any]:
    """Return labels as the sample spells them: True and not true, 1 and not yes."""
    spellings = {str(cell).lower(): str(cell) for cell in sample.unique()[:1000]}
    written = [str(label) for label in labels]
    if all(label.lower() in spellings for label in set(written)):
        return [spellings[label.lower()] for label in written]
    if sample.dtype.kind == "b" or set(spellings) <= {"true", "false"}:
        words = list(spellings.values())
        style = str.upper if all(word.isupper() for word in words) else str.capitalize
        style = str.lower if all(word.islower() for word in words) and sample.dtype.kind != "b" else style
        return [style(str(TRUTHS.get(label.lower(), label))) for label in written]
    if set(spellings) <= {"0", "1"} and all(label.lower() in TRUTHS for label in set(written)):
        return [int(TRUTHS[label.lower()]) for label in written]
    return written


def _order(
    table: str, sample: Path, ids: Sequence[str], shape: pd.DataFrame, rows: pd.DataFrame
) -> tuple[list[int], str]:
    """Return which row of the table comes when, and what to say about it.

    It is the sample's order if the sample has the table's ids, or at least half of them and no others.
    """
    keys = [name for name in ids if name in rows]
    if not keys:
        if ids and len(shape) != len(rows):
            raise BadDataError(
                f"{table} has {len(rows):,} rows and no column {ids[0]}, and the sample has {len(shape):,}",
                "the table needs the sample's id column",
            )
        return list(range(len(rows))), ""
    of_table = list(zip(*(_written(rows[name]) for name in keys), strict=True))
    of_sample = list(zip(*(_written(shape[name]) for name in keys), strict=True))
    place = {key: row for row, key in enumerate(of_table)}
    if (
        len(place) < len(of_table)
        or not set(of_sample) <= set(of_table)
        or 2 * len(of_sample) < len(of_table)
    ):
        note = (
            ""
            if set(of_sample) & set(of_table)
            else f"{sample.name} has other ids: those of {table} are written"
        )
        return list(range(len(rows))), note
    left_out = len(of_table) - len(set(of_sample))
    note = f"{left_out:,} rows of {table} are not in {sample.name}, and are left out" if left_out else ""
    return [place[key] for key in of_sample], note


def _written(cells: pd.Series[Any]) -> list[Any]:
    """Return cells as they are written."""
    if cells.dtype.kind == "f" and bool((cells.dropna() % 1 == 0).all()) and not cells.isna().any():
        return [int(cell) for cell in cells]
    return ["" if cell != cell or cell is None else cell for cell in cells.tolist()]


def _number(value: Any) -> float:
    return float(f"{float(value):.9g}")
