"""Drift: what the traffic of an endpoint has become, beside what the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DistributionBin:
    """The shares of the rows in a range of numbers, or with a value: in training, and live."""

    name: str
    trained: float
    live: float


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """How one feature of the traffic differs from the training data.

    Attributes:
        name: The column, or what is measured of it, such as "text: unknown words".
        of: Whether it belongs to the inputs or to the model's answers.
        has_drifted: The difference is significant, and large enough to matter.
        p_value: Probability of such a difference without drift, corrected for the number of features (Holm).
        psi: Population stability index over ten quantiles or the categories, with missing values.
        moved: Largest difference of the distributions: the share of rows that have moved.
        shift: Difference of the means in standard deviations of the training data; None for categories.
        rows: Number of live rows.
        words: What moved, such as "median 41, was 34".
        bins: The distributions.
    """

    name: str
    of: Literal["input", "answer"]
    has_drifted: bool
    p_value: float
    psi: float
    moved: float
    shift: float | None
    rows: int
    words: str
    bins: Sequence[DistributionBin] = ()


@dataclass(frozen=True, kw_only=True)
class LiveScore:
    """A score of the answers whose truth is known, with its 95 % interval.

    Attributes:
        trained: The same score on the held-out rows of the training; None if it is not known.
        rows: Number of rows with a truth.
        has_dropped: The training's score is better than the whole interval.
    """

    metric: str
    value: float
    low: float
    high: float
    rows: int
    trained: float | None = None
    has_dropped: bool = False


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """The traffic of an endpoint compared with the profile of its model.

    Attributes:
        requests: Number of logged requests.
        rows: Number of their rows that were compared.
        since: Start of the period, in ISO 8601.
        features: All features, those that drifted most first.
        scores: Live scores; none without feedback.
        notes: Lines about what the report leaves out.
        file: The page about it, if one was written.
    """

    endpoint: str
    model: str
    version: str
    since: str
    requests: int
    rows: int
    features: Sequence[FeatureDrift]
    scores: Sequence[LiveScore] = ()
    notes: Sequence[str] = ()
    file: str = ""

    @property
    def drifted(self) -> list[FeatureDrift]:
        """The features that drifted."""
        return [feature for feature in self.features if feature.has_drifted]
