"""Write a model's file, ask it for answers in a process of its own, and compare them with the model's."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlctl.adapters.exports.model_parts import ModelParts, count, take
from mlctl.adapters.exports.predict_script import BESIDE, write_json, write_script
from mlctl.adapters.exports.proof_process import MeasuredAnswers, ask
from mlctl.adapters.exports.written_file import Calibration, WrittenFile
from mlctl.adapters.models.export_error import ExportError
from mlctl.domain.exports import PROOF_FILE, ExportProof, ProvenScore
from mlctl.domain.outputs import DEFAULT_THRESHOLD, Outputs
from mlctl.errors import BadDataError, RefusedError, UsageError
from mlctl.scores import predicted_labels
from mlctl.services.evaluation.intervals import is_share_of_rows, wilson_interval
from mlctl.services.serving.exports.base import ModelToExport
from mlctl.services.serving.exports.proof_rows import (
    CALIBRATION_ROWS,
    ProofRows,
    deciding_metrics,
    find_rows,
    points_lost,
)
from mlctl.services.serving.exports.resampling import resample

SAMPLES = 64
ANSWER_ROWS = 256  # that the model answers at a time

Array = np.ndarray[Any, Any]


class FileFormat(Protocol):
    """A format as `formats.ModelFormat` describes it."""

    title: str
    needs_tensorflow: bool
    run_hint: str

    def write_file(
        self, parts: ModelParts, folder: Path, quantize: str, calibration: Calibration
    ) -> WrittenFile:
        """Write the model's file."""

    def render_templates(self, name: str, folder: Path, values: Mapping[str, str]) -> None:
        """Write the README."""


def write_with_proof(target: FileFormat, model: ModelToExport, folder: Path) -> tuple[str, ...]:
    """Write a model's file, predict.py and proof.json into an empty folder; return notes.

    Raises:
        UsageError: Another program saved the model.
        RefusedError: The format cannot hold the model, or the score falls by more than is allowed.
        BadDataError: The file does not answer in a process of its own.
    """
    if not (model.folder / "artifacts" / "model" / "encoder.json").is_file():
        raise UsageError(
            f"{model.served.name} was saved by another program",
            "register its Keras or ONNX file first: mlctl register FILE NAME",
        )
    with tempfile.TemporaryDirectory(prefix="mlctl-proof-") as scratch:
        rows = find_rows(
            model.settings,
            model.store,
            model.reference,
            model.folder,
            source=model.options.proof_data,
            scratch=Path(scratch),
            listener=model.listener,
        )
    model.listener.stage(f"writing {target.title}")
    try:
        parts = ModelParts(model.folder, take(rows.raw, slice(0, SAMPLES)))
        written = _write(target, parts, rows, model, folder)
    except ExportError as exc:
        if (full := os.strerror(errno.ENOSPC)) in str(exc.__cause__):
            raise RefusedError(f"{target.title} cannot be written: {full}", "free disk space") from exc
        raise RefusedError(f"{target.title} cannot hold the model: {exc}", "choose another --to") from exc
    title = f"{model.served.name} {model.served.version}".strip()
    write_script(
        parts,
        folder,
        file=written.file,
        held=written.held,
        name=model.served.name,
        version=model.served.version,
    )
    rows_file = "rows.csv" if parts.info.signature.columns else "rows.json"
    # an encoder of the user's own takes a DataFrame
    needs_pandas = bool(parts.info.signature.columns) and not parts.scorer.takes_columns
    packages = f"{target.run_hint} pandas" if needs_pandas else target.run_hint
    values = {**model.template_values, "packages": packages, "rows": rows_file}
    target.render_templates(model.target, folder, values)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    model.listener.stage(f"asking the export {count(rows.raw):,} rows")
    measured = ask(folder, rows.raw, with_tensorflow=target.needs_tensorflow)
    proof, loss = _compare(parts, rows, measured, written, model=model, title=title, folder=folder)
    write_json(folder / PROOF_FILE, proof.to_json())
    return _notes(proof, loss)


def _write(
    target: FileFormat, parts: ModelParts, rows: ProofRows, model: ModelToExport, folder: Path
) -> WrittenFile:
    @cache
    def calibration() -> Mapping[str, Any]:
        found = rows.calibration if rows.calibration is not None else rows.raw
        return parts.encoded(take(found, slice(0, CALIBRATION_ROWS)))

    return target.write_file(parts, folder, model.options.quantize, calibration)


def _compare(
    parts: ModelParts,
    rows: ProofRows,
    measured: MeasuredAnswers,
    written: WrittenFile,
    *,
    model: ModelToExport,
    title: str,
    folder: Path,
) -> tuple[ExportProof, str]:
    """Return the proof, and what the export loses in words. Raises RefusedError if that is too much."""
    options = model.options
    expected = _answers(parts, rows.raw)
    difference, relative = _differences(expected, measured.answers)
    score, score_reason = None, rows.score_reason
    if rows.score is not None:
        score = _score(rows, parts.info.outputs, expected, measured.answers)
        score_reason = "" if score else "the answers have no score"
    equal = _equal_labels(parts, expected, measured.answers)
    unlike = 0.0 if score else _unlike(parts, expected, measured.answers)
    loss = max(_loss(score, equal), unlike)
    is_worse = not loss <= options.max_loss or not np.isfinite(difference)
    described = _describe_loss(score, loss, difference, unlike=unlike)
    if is_worse and not options.force:
        change = "choose another --quantize" if options.quantize else "choose another --to"
        raise RefusedError(f"nothing was written: {described}", f"{change}, raise --max-loss, or add --force")
    path = folder / written.file
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    proof = ExportProof(
        format=model.target,
        quantize=options.quantize,
        model=title,
        compared_with="keras" if parts.has_keras else "onnxruntime",
        encoder=written.held.place,
        encoder_reason=written.held.reason,
        rows=count(rows.raw),
        split=rows.split,
        data=dict(rows.data),
        max_difference=difference,
        relative_difference=relative,
        equal_labels=equal,
        score=score,
        score_reason=score_reason,
        size_bytes=sum(file.stat().st_size for file in files),
        float32_bytes=written.float32_bytes,
        latency_ms=measured.latency_ms,
        memory_bytes=measured.memory_bytes,
        runtimes=dict(measured.runtimes),
        max_loss=options.max_loss,
        forced=is_worse,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return proof, described


def _loss(score: ProvenScore | None, equal_labels: float | None) -> float:
    """Return the points that the export loses; without a score, the percentage of rows with another label."""
    if score:
        return score.loss
    return 0.0 if equal_labels is None else 100 * (1 - equal_labels)


def _unlike(parts: ModelParts, expected: Any, found: Any) -> float:
    """Return which percentage of the variation of the answers the export misses; of labels, `_loss` knows more."""
    missed = [0.0]
    outputs = parts.info.outputs or parts.outputs
    for output, (one, other) in zip(outputs, _pairs(expected, found), strict=False):
        if output.kind in ("values", "none"):
            whole = one.astype(np.float64)
            scale = float(whole.var()) or float(np.square(whole).mean()) or 1.0
            missed.append(100 * float(np.square(whole - other).mean()) / scale)
    return float(np.max(missed))


def _describe_loss(score: ProvenScore | None, loss: float, difference: float, *, unlike: float) -> str:
    if not np.isfinite(difference):
        return "some answers of the export are no numbers"
    if score:
        change = f"{score.metric} goes from {score.before:.4g} to {score.after:.4g}"
        return f"{change}, a loss of {loss:.2f} {score.loss_unit}"
    if unlike and unlike == loss:
        return f"the answers differ from the model's by {loss:.2f} % of their variance"
    return f"{loss:.2f} % of the rows get another label"


def _answers(parts: ModelParts, raw: Any) -> Any:
    """Return the model's own answers to all rows."""
    batches = [
        parts.answers(take(raw, slice(start, start + ANSWER_ROWS)))
        for start in range(0, count(raw), ANSWER_ROWS)
    ]
    if isinstance(batches[0], Mapping):
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return np.concatenate(batches)


def _differences(expected: Any, found: Any) -> tuple[float, float]:
    """Return the largest difference of two answers, and the same as a share of the largest one above 1."""
    differences, shares = [0.0], [0.0]
    for one, other in _pairs(expected, found):
        if one.shape != other.shape:
            raise BadDataError(
                f"the export answers an array of shape {other.shape}, and the model {one.shape}",
                "choose another format",
            )
        gap = float(np.abs(one.astype(np.float64) - other).max(initial=0))
        differences.append(gap)
        shares.append(gap / max(1.0, float(np.abs(one).max(initial=0))))
    # max() would let a NaN through only in the first place
    return float(np.max(differences)), float(np.max(shares))


def _equal_labels(parts: ModelParts, expected: Any, found: Any) -> float | None:
    """Return the share of rows whose labels are all the same; None if no output has labels."""
    equal: list[Array] = []
    for output, (one, other) in zip(parts.info.outputs, _pairs(expected, found), strict=False):
        if output.kind in ("classes", "pixels", "sequence"):
            same = predicted_labels(one, output.threshold) == predicted_labels(other, output.threshold)
        elif output.kind == "labels":
            same = (one > DEFAULT_THRESHOLD) == (other > DEFAULT_THRESHOLD)
        else:
            continue
        equal.append(same.reshape(len(same), -1).all(axis=1))
    return float(np.logical_and.reduce(equal).mean()) if equal else None


def _pairs(expected: Any, found: Any) -> list[tuple[Array, Array]]:
    if isinstance(expected, Mapping):
        return [(array, np.asarray(found[name])) for name, array in expected.items()]
    return [(expected, np.asarray(found))]


def _score(rows: ProofRows, outputs: Outputs, expected: Any, found: Any) -> ProvenScore | None:
    """Return the score before and after; of several outputs, that of the output that loses most."""
    assert rows.score is not None
    score = rows.score
    before, after = score(expected, None), score(found, None)
    if not before:
        return None
    metric = max(
        deciding_metrics(before, rows.metric, [output.name for output in outputs]),
        key=lambda name: points_lost(name, before[name], after[name]),
    )

    def both(selected: Array) -> tuple[float, float]:
        return (
            score(expected, selected).get(metric, np.nan),
            score(found, selected).get(metric, np.nan),
        )

    def loss(one: float, other: float) -> float:
        return points_lost(metric, one, other)

    before_interval, after_interval, loss_interval = resample(both, count(rows.raw), loss)
    if is_share_of_rows(metric, outputs):  # the same interval as that of the model's run
        before_interval = wilson_interval(before[metric], count(rows.raw))
        after_interval = wilson_interval(after[metric], count(rows.raw))
    return ProvenScore(
        metric=metric,
        before=before[metric],
        after=after[metric],
        before_interval=before_interval,
        after_interval=after_interval,
        loss=loss(before[metric], after[metric]),
        loss_interval=loss_interval,
    )


def _notes(proof: ExportProof, loss: str) -> tuple[str, ...]:
    notes = []
    if proof.encoder == BESIDE:
        notes.append(
            f"the file takes encoded rows: {proof.encoder_reason}; preprocess.json and predict.py encode them"
        )
    if proof.score is None:
        notes.append(f"no score: {proof.score_reason}")
    if proof.forced:
        notes.append(f"--force: {loss}")
    return tuple(notes)
