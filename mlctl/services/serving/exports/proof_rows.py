"""The rows of which an export is asked: the test split of the model's training, other data, or the input example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.conversion.generated_rows import generate_rows
from mlctl.adapters.models.load import read_example, to_client_input
from mlctl.adapters.models.signatures import client_input
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.trees import take_rows
from mlctl.domain.exports import is_relative
from mlctl.domain.objective import lower_is_better
from mlctl.domain.outputs import Outputs
from mlctl.domain.progress import ProgressListener
from mlctl.domain.registry import ModelReference
from mlctl.errors import BadDataError, MlctlError, UsageError
from mlctl.scores import score_split
from mlctl.services.evaluation.evaluate import EvaluationSet, FullSet, SplitSet, load_evaluation_set
from mlctl.services.evaluation.model_targets import model_targets
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.services.evaluation.recipe_of_model import prepare_training_data
from mlctl.services.evaluation.split_answers import predict_split
from mlctl.services.recipes.prepare import PreparedData
from mlctl.serving.saved_model import read_choices, read_saved_model
from mlctl.settings import Settings

EXAMPLE_ROWS = 64
EXAMPLE = "example"
CALIBRATION_ROWS = 200
FALLBACK_METRICS = ("accuracy", "mae", "f1", "macro_f1", "iou")

Array = np.ndarray[Any, Any]
Raw = Any  # an array, or a dict of arrays by column or input name


@dataclass(frozen=True, kw_only=True)
class ProofRows:
    """Rows in the form that clients send, and how their answers are scored.

    Attributes:
        raw: The rows: an array, or a dict of arrays.
        split: Where they come from.
        data: Name, source and digest of the data.
        score: Returns the scores of answers to all rows, or to the selected ones; None if there are no targets.
        score_reason: Why there are none.
        metric: The metric that decides.
        calibration: Raw rows of the training split; None: these rows are used.
    """

    raw: Raw
    split: str
    data: Mapping[str, str]
    score: Callable[[Any, Array | None], Mapping[str, float]] | None = None
    score_reason: str = ""
    metric: str = ""
    calibration: Raw = None


def find_rows(
    settings: Settings,
    store: TrackingStore,
    reference: ModelReference,
    folder: Path,
    *,
    source: str | None,
    scratch: Path,
    listener: ProgressListener,
) -> ProofRows:
    """Return the rows to ask: of `source` if it is given, of the training's test split, or made from the example.

    Raises what reading `source` raises; the data of the training may be gone.
    """
    info = _info(folder, reference)
    if source:
        found = _load(settings, store, source, reference, listener)
        if isinstance(found, SplitSet):
            return _of_split(found.prepared, info, reference)
        if isinstance(found, FullSet):
            return _of_full_set(found, info)
    if not info.recipe:
        return _of_example(folder, info, "the model does not name its training data; add --proof SOURCE")
    try:
        prepared = prepare_training_data(settings, store, info, scratch=scratch, listener=listener)
        return _of_split(prepared, info, reference)
    except MlctlError as error:
        reason = error.message.removeprefix("--sample: ")
        return _of_example(folder, info, f"the training data cannot be read: {reason}")


def _load(
    settings: Settings,
    store: TrackingStore,
    source: str,
    reference: ModelReference,
    listener: ProgressListener,
) -> EvaluationSet:
    try:
        return load_evaluation_set(settings, store, source, models=[reference], listener=listener)
    except UsageError as error:
        if "--target" not in error.hint:
            raise
        raise UsageError(
            f"--proof {source}: {error.message}", "name data like that of the training, or remove --proof"
        ) from error


def table_columns(raw: Any, names: tuple[str, ...]) -> Raw:
    """Return a DataFrame as a dict of arrays by column, with None for missing values that are no numbers."""
    if not hasattr(raw, "iloc"):
        return raw
    found = {}
    for name in raw.columns:
        if names and str(name) not in names:
            continue
        values = raw[name]
        if values.dtype.kind in "iufb":
            found[str(name)] = values.to_numpy()
        else:
            cells = np.array(values, dtype=object)
            cells[values.isna().to_numpy()] = None
            found[str(name)] = cells
    return found


def _info(folder: Path, reference: ModelReference) -> PredictorInfo:
    saved = read_saved_model(folder)
    return PredictorInfo(
        name=reference.name or reference.uri,
        version=reference.version or "",
        task=saved.task,
        classes=saved.classes,
        unit=saved.unit,
        recipe=saved.recipe,
        run_id=reference.run_id or saved.run_id,
        outputs=saved.outputs,
        signature=saved.signature,
    )


class _Collector:
    """Stands for a model, and keeps the rows that it is asked."""

    def __init__(self, info: PredictorInfo) -> None:
        self._info = info
        self.batches: list[Raw] = []

    def predict(self, raw: Any) -> Any:
        signature = self._info.signature
        rows = client_input(raw, [spec.name for spec in signature.tensors])
        self.batches.append(table_columns(rows, signature.names))
        return np.zeros(1)


def _of_split(prepared: PreparedData, info: PredictorInfo, reference: ModelReference) -> ProofRows:
    data = prepared.data
    split, name = (data.test, "test") if data.test else (data.validation, "validation")
    if split is None:
        raise BadDataError(f"{data.name} has no test split", "add --proof SOURCE")

    def as_client(inputs: Any) -> Any:
        return to_client_input(data.raw(inputs), prepared.encoder)

    collector = _Collector(info)
    found = predict_split(collector, split, as_client)
    rows = ProofRows(
        raw=join(collector.batches),
        split=name,
        data={"name": data.name, "source": data.source, "sha256": data.sha256},
        calibration=_calibration(prepared, info, as_client),
    )
    try:
        outputs, targets = model_targets(reference.uri, info.outputs, data, found.targets)
    except BadDataError as error:
        return replace(rows, score_reason=error.message)

    def score(answers: Any, selected: Array | None) -> Mapping[str, float]:
        return _scores(outputs, targets, answers, selected, weights=found.weights, own=prepared.recipe.scores)

    return replace(rows, score=score, metric=prepared.objective.metric.removeprefix("val_"))


def _of_full_set(found: FullSet, info: PredictorInfo) -> ProofRows:
    has_label, targets = found.data.targets(info)
    raw = join([table_columns(batch, info.signature.names) for batch in found.data.batches(info)])
    labelled = take_rows(raw, np.flatnonzero(has_label))
    reference = found.reference

    def score(answers: Any, selected: Array | None) -> Mapping[str, float]:
        return _scores(info.outputs, targets, answers, selected)

    return ProofRows(
        raw=labelled,
        split="all",
        data={"name": reference.name, "source": reference.source, "sha256": reference.sha256},
        score=score,
        metric=found.deciding_metric,
    )


def _of_example(folder: Path, info: PredictorInfo, reason: str) -> ProofRows:
    """Return rows of the signature's types in and around the ranges of the input example."""
    example = _example(folder, info)
    raw = generate_rows(info.signature, example, EXAMPLE_ROWS, read_choices(folder))
    return ProofRows(raw=raw, split=EXAMPLE, data={}, score_reason=reason)


def _example(folder: Path, info: PredictorInfo) -> Raw | None:
    example = read_example(folder)
    if example is None:
        return None
    rows = client_input(example, [spec.name for spec in info.signature.tensors])
    return table_columns(rows, info.signature.names)


def _calibration(prepared: PreparedData, info: PredictorInfo, as_client: Callable[[Any], Any]) -> Raw:
    train = prepared.data.train
    count = min(CALIBRATION_ROWS, len(train))
    chosen = np.sort(np.random.default_rng(0).choice(len(train), count, replace=False))
    rows = client_input(as_client(train.take(chosen).inputs), [spec.name for spec in info.signature.tensors])
    return table_columns(rows, info.signature.names)


def _scores(
    outputs: Outputs, targets: Any, answers: Any, selected: Array | None, weights: Any = None, own: Any = None
) -> Mapping[str, float]:
    if selected is not None:
        targets, answers = take_rows(targets, selected), take_rows(answers, selected)
        weights = None if weights is None else take_rows(weights, selected)
    return score_split(outputs, targets, answers, weights=weights, own=own)


def join(parts: list[Raw]) -> Raw:
    """Return batches of rows as one."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Mapping):
        return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def deciding_metric(scores: Mapping[str, float], wanted: str) -> str:
    """Return the metric to compare: the objective's if it is among the scores."""
    for name in (wanted, *FALLBACK_METRICS):
        matches = [one for one in scores if one == name or one.endswith(f"_{name}")]
        if matches:
            return matches[0]
    return next(iter(scores))


def deciding_metrics(scores: Mapping[str, float], wanted: str, outputs: Sequence[str]) -> list[str]:
    """Return the metrics to compare: the objective's, or one of each output if the objective is no score of one."""
    if wanted not in scores and len(outputs) > 1:
        parts = [{one: scores[one] for one in scores if one.startswith(f"{name}_")} for name in outputs]
        if any(parts):
            return [deciding_metric(part, "") for part in parts if part]
    return [deciding_metric(scores, wanted)]


def points_lost(metric: str, before: float, after: float) -> float:
    """Return by how many points a score fell; for an error without a scale, by how many percent of itself it rose."""
    if is_relative(metric):
        return 100 * (after - before) / max(abs(before), 1e-12)
    return 100 * (after - before if lower_is_better(metric) else before - after)
