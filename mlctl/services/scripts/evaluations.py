"""Calls of `evaluate`: which of them describes the logged model, and on what data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlctl.services.scripts.fitted import FittedModel

TEST, VALIDATION, TRAINING = "test", "validation", "training"
MAX_KEPT = 10  # evaluations of a model since its last fit


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A call of `evaluate`.

    Attributes:
        arguments: Its arguments.
        results: The results by Keras's names.
        data: Its data (a `DataPart`); None if it could not be read.
        weights: Fingerprint of the weights that the model had.
        fitted: The model's record; None: it was not trained here, such as one that was loaded.
        model_name: Name of the model.
    """

    arguments: dict[str, Any]
    results: dict[str, float]
    data: Any
    weights: Any
    fitted: FittedModel | None
    model_name: str

    def kind(self, trained: FittedModel) -> str:
        """Return what data it is for a model: TEST, or the VALIDATION or TRAINING data of its last `fit`."""
        from mlctl.adapters.scripts.fit_data import is_same

        if self.data is None or trained.data is None:
            return TEST
        if is_same(self.data, trained.data.validation):
            return VALIDATION
        return TRAINING if is_same(self.data, trained.data.train) else TEST


def choose(
    evaluations: Sequence[Evaluation], trained: FittedModel, weights: Any
) -> tuple[Evaluation, str] | None:
    """Return the evaluation that describes a model, and its kind: the last one on test data, else the last one.

    Evaluations of other models that the script has trained do not count, nor those of models whose weights have other
    shapes than `weights`, the fingerprint of the model.
    """
    of_model = [
        evaluation
        for evaluation in evaluations
        if evaluation.fitted is trained
        or (
            evaluation.fitted is None
            and [shape for shape, _ in evaluation.weights] == [shape for shape, _ in weights]
        )
    ]
    if not of_model:
        return None
    kinds = [(evaluation, evaluation.kind(trained)) for evaluation in of_model]
    tests = [found for found in kinds if found[1] == TEST]
    validations = [found for found in kinds if found[1] == VALIDATION]
    return (tests or validations or kinds)[-1]
