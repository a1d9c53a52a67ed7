"""Exported models, and the proof that each answers as the model does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mlctl.domain.objective import lower_is_better

PROOF_FILE = "proof.json"
PROOF_FOLDER = "exports"  # artifacts of a run: exports/FORMAT/proof.json
SCALED_LOSSES = ("log_loss", "brier")  # a point is 0.01


@dataclass(frozen=True, kw_only=True)
class ProvenScore:
    """The score of the model and of its export on the same rows, with 95 % intervals from resampled rows.

    Attributes:
        metric: Name of the metric.
        before: Score of the model.
        after: Score of the export.
        before_interval: Interval of `before`.
        after_interval: Interval of `after`.
        loss: Points by which the export is worse; for errors without a scale, such as mae, percent of the error.
            Negative: it is better.
        loss_interval: Interval of `loss`.
    """

    metric: str
    before: float
    after: float
    before_interval: tuple[float, float]
    after_interval: tuple[float, float]
    loss: float
    loss_interval: tuple[float, float]

    @property
    def loss_unit(self) -> str:
        """What the loss is counted in: points, or percent of an error."""
        return "%" if is_relative(self.metric) else "points"


def is_relative(metric: str) -> bool:
    """Whether a metric has no scale of its own, so that its loss is a share of it: mae, but not log_loss."""
    return lower_is_better(metric) and not metric.endswith(SCALED_LOSSES)


@dataclass(frozen=True, kw_only=True)
class ExportProof:
    """What an exported folder answered in a process of its own, compared with the model.

    Attributes:
        format: Name of the format, such as "onnx".
        quantize: "float16", "int8" or "dynamic"; "" for float32.
        model: Name and version of the model.
        compared_with: "keras", or "onnxruntime" for a model without a Keras form.
        encoder: Where the encoder is: "inside" the file, "beside" it, or "none".
        encoder_reason: Why it is beside the file.
        rows: Number of rows that were asked.
        split: Where they come from: a split, "all" rows of a file, or "example" for the input example.
        data: The data that the rows belong to, with its digest.
        max_difference: Largest difference of an answer.
        relative_difference: The same as a share of the largest answer, if that is above 1.
        equal_labels: Share of the rows with the same label; None for a regression.
        score: The scores; None if there are no targets.
        score_reason: Why there are none.
        size_bytes: Size of the model's file.
        float32_bytes: Its size before it was quantized; None if it was not.
        latency_ms: Median time of a call with one row.
        memory_bytes: Most memory that the process had.
        runtimes: Versions of the runtimes.
        max_loss: Points that the score was allowed to fall by.
        forced: Whether it was written although the score falls by more.
        at: When it was made, in ISO 8601.
    """

    format: str
    quantize: str = ""
    model: str
    compared_with: str
    encoder: str
    encoder_reason: str = ""
    rows: int
    split: str
    data: Mapping[str, str] = field(default_factory=dict)
    max_difference: float
    relative_difference: float
    equal_labels: float | None = None
    score: ProvenScore | None = None
    score_reason: str = ""
    size_bytes: int
    float32_bytes: int | None = None
    latency_ms: float
    memory_bytes: int
    runtimes: Mapping[str, str] = field(default_factory=dict)
    max_loss: float = 0.5
    forced: bool = False
    at: str = ""

    @property
    def title(self) -> str:
        """The format with its quantization: onnx-int8."""
        return f"{self.format}-{self.quantize}" if self.quantize else self.format

    def to_json(self) -> dict[str, Any]:
        """Return the proof as proof.json has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ExportProof:
        """Return the proof of a proof.json; what later versions add is left out."""
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in content.items() if name in known}
        if values.get("score"):
            score = dict(values["score"])
            for name in ("before_interval", "after_interval", "loss_interval"):
                score[name] = tuple(score[name])
            values["score"] = ProvenScore(**score)
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """The files of an export, and its proof; None for a target that has none."""

    kind: str
    folder: str
    files: tuple[str, ...]
    proof: ExportProof | None = None
    notes: tuple[str, ...] = ()
