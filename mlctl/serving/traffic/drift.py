"""Compare live rows with the profile of their model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mlctl.domain.drift import FeatureDrift
from mlctl.serving.traffic.distribution import distribution
from mlctl.serving.traffic.profile import as_columns, features_of
from mlctl.serving.traffic.repeats import UNIQUE_SHARE, effective_share
from mlctl.serving.traffic.statistics import Comparison, compare, holm
from mlctl.serving.traffic.words import describe

ALPHA = 0.01  # probability that a report on rows without drift raises an alarm
# a difference that is significant, but smaller than both of these, does not matter
SMALLEST_MOVE, SMALLEST_PSI = 0.05, 0.05
FEWEST_ROWS = 30


def compare_with_profile(
    profile: Mapping[str, Any], inputs: Any, answers: Any, *, with_bins: bool = True
) -> list[FeatureDrift]:
    """Return the drift of each feature, the largest first.

    Args:
        profile: What `make_profile` returned.
        inputs: Live rows: a dict of arrays by column or tensor, or one array; None: they are not compared.
        answers: The model's answers in the same forms; None: they are not compared.
        with_bins: Return the distributions, too.
    """
    sides: list[tuple[Literal["input", "answer"], str, Any]] = [
        ("input", "inputs", inputs),
        ("answer", "answers", answers),
    ]
    weight = row_weight(profile, inputs)
    found: list[tuple[Literal["input", "answer"], str, Comparison, Mapping[str, Any]]] = []
    for side, key, rows in sides:
        if rows is None:
            continue
        for name, summary, live in features_of(profile[key], rows):
            if len(live) < FEWEST_ROWS or not summary["rows"]:
                continue
            words = describe(summary, live, rows="rows" if side == "input" else "answers")
            bins = distribution(summary, live) if with_bins else ()
            shown = {"rows": len(live), "words": words, "bins": bins}
            found.append((side, name or side, compare(summary, live, weight), shown))
    p_values = holm([comparison.p_value for _, _, comparison, _ in found])
    features = [
        FeatureDrift(
            name=name,
            of=side,
            has_drifted=p_value < ALPHA and _is_large(comparison),
            p_value=p_value,
            psi=comparison.psi,
            moved=comparison.moved,
            shift=comparison.shift,
            **shown,
        )
        for (side, name, comparison, shown), p_value in zip(found, p_values, strict=True)
    ]
    return sorted(features, key=lambda feature: (not feature.has_drifted, -feature.psi))


def row_weight(profile: Mapping[str, Any], inputs: Any) -> float:
    """Return how many different rows each live row counts for; 1 if training rows were repeated, too."""
    if inputs is None or profile.get("unique_rows", 0) < UNIQUE_SHARE:
        return 1.0
    columns = as_columns(inputs)
    is_whole = len(columns) >= len(profile["inputs"])  # equal without a redacted column does not mean equal
    return effective_share(columns) if is_whole else 1.0


def _is_large(comparison: Comparison) -> bool:
    return comparison.moved >= SMALLEST_MOVE or comparison.psi >= SMALLEST_PSI
