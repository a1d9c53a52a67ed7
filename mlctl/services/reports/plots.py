"""The plots of a report, drawn from numbers that runs have logged. Matplotlib is imported when the first is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlctl.domain.report import ReportPlot
from mlctl.domain.run_queries import Curves
from mlctl.services.evaluation.summary import confusion_counts


def metric_plot(
    metric: str,
    histories: Mapping[str, Sequence[float]],
    *,
    best_epoch: int | None,
    unit: str,
    x_label: str = "epoch",
) -> ReportPlot:
    """Return the plot of a metric's training and validation values by epoch."""
    from mlctl.adapters.plots.run_plots import plot_metric

    return _drawn(
        f"{metric} by epoch",
        lambda buffer: plot_metric(
            buffer, metric, histories, best_epoch=best_epoch, unit=unit, x_label=x_label
        ),
    )


def curves_plot(curves: Curves) -> ReportPlot:
    """Return the plot of one metric of several runs."""
    from mlctl.adapters.plots.metric_curves import plot_curves

    return _drawn(f"{curves.metric} by epoch", lambda buffer: plot_curves(curves, buffer), wide=True)


def confusion_plot(entry: Mapping[str, Any]) -> ReportPlot:
    """Return the confusion matrix of an output of evaluation.json."""
    from mlctl.adapters.plots.answer_plots import plot_confusions

    counts, classes = confusion_counts(entry), entry["classes"]
    return _drawn(
        "confusion matrix",
        lambda buffer: plot_confusions(buffer, counts, classes=classes),
        wide=len(classes) > 6,
    )


def value_plots(entry: Mapping[str, Any]) -> list[ReportPlot]:
    """Return the plots of predicted and actual values, and of their differences."""
    import numpy as np

    from mlctl.adapters.plots.value_plots import ValueColumn, plot_residuals, plot_values

    columns = []
    for values in entry["values"]:
        pairs = np.array([values["actual"], values["predicted"]], np.float64)  # None becomes NaN
        actual, predicted = pairs[:, np.isfinite(pairs).all(axis=0)]
        errors = {name: values[name] or np.nan for name in ("mean_error", "median_error")}
        columns.append(ValueColumn(actual=actual, predicted=predicted, **errors))
    if not all(len(column.actual) for column in columns):
        return []
    unit, is_single = entry["unit"], len(columns) == 1
    plots = [
        _drawn(
            "predicted and actual values",
            lambda buffer: plot_values(buffer, columns, unit=unit),
            wide=not is_single,
        )
    ]
    if is_single:
        plots.append(
            _drawn("residuals", lambda buffer: plot_residuals(buffer, columns[0], unit=unit), wide=True)
        )
    return plots


def probability_plot(entry: Mapping[str, Any]) -> ReportPlot:
    """Return the plot of ROC, precision and recall, and calibration."""
    from mlctl.adapters.plots.probability_plots import plot_probabilities

    return _drawn(
        "ROC, precision and recall, calibration", lambda buffer: plot_probabilities(buffer, entry), wide=True
    )


def importance_plot(columns: Sequence[tuple[str, float, float]], measure: str) -> ReportPlot:
    """Return the plot of the importance of columns."""
    from mlctl.adapters.plots.run_plots import plot_column_importance

    return _drawn(
        "importance of columns",
        lambda buffer: plot_column_importance(buffer, columns, measure=measure, total=len(columns)),
        wide=True,
    )


def _drawn(title: str, draw: Callable[[io.BytesIO], None], *, wide: bool = False) -> ReportPlot:
    from mlctl.adapters.plots.style import inline_svg

    buffer = io.BytesIO()
    draw(buffer)
    return ReportPlot(title=title, svg=inline_svg(buffer, title), wide=wide)
