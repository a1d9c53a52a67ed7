"""Plots of a model's answers against the targets, as PNG: one or more for each kind of output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mlctl.adapters.plots.run_plots import DPI, TRAINING, VALIDATION, shorten
from mlctl.domain.outputs import Output
from mlctl.scores import count_confusions, predicted_labels

MAX_LABELLED_CLASSES = 20  # with more, the numbers in a confusion matrix cannot be read
MAX_CLASSES = 500  # with more, there is no confusion matrix
MAX_PANELS, MAX_LABELS, MAX_CURVES = 6, 30, 8
MAX_EXAMPLES = 4  # pictures whose masks are shown
MAX_POINTS = 20_000

Array = np.ndarray[Any, Any]
PathOf = Callable[[str], Path]


def plot_answers(
    path_of: PathOf,
    output: Output,
    targets: Array,
    answers: Array,
    *,
    split_name: str,
    pictures: Array | None = None,
) -> list[str]:
    """Plot what suits the kind of an output; return the names of the files.

    Args:
        path_of: returns where to write the file of a name such as "confusion_matrix.png".
        output: what the answers mean.
        targets: as `scoring_targets` returns them.
        answers: of a served model, (n, …).
        split_name: for the title, such as "test".
        pictures: the first inputs of a model that answers masks, (rows, height, width, channels) or without channels.
    """
    prefix = f"{output.name}_" if output.name else ""
    plots: dict[str, Callable[[Path], None]] = {}
    if output.kind in ("classes", "pixels", "sequence") and len(output.classes) <= MAX_CLASSES:
        counts = count_confusions(output, targets, answers)
        plots["confusion_matrix.png"] = lambda path: plot_confusions(
            path, counts, classes=output.classes, split_name=split_name
        )
    if output.kind == "pixels" and targets.ndim == 3:
        plots["masks.png"] = lambda path: _plot_masks(path, output, targets, answers, pictures)
    if output.kind == "values":
        if targets.ndim == 1 or (targets.ndim == 2 and targets.shape[1] <= MAX_PANELS):
            plots["predicted_vs_actual.png"] = lambda path: plot_values(
                path, targets=targets, predictions=answers, unit=output.unit, split_name=split_name
            )
        else:
            plots["error_by_row.png"] = lambda path: _plot_row_errors(
                path, targets, answers, output.unit, split_name
            )
    if output.kind == "labels":
        plots["label_f1.png"] = lambda path: _plot_label_f1(path, output, targets, answers, split_name)
        plots["precision_recall.png"] = lambda path: _plot_precision_recall(
            path, output, targets, answers, split_name
        )
    for name, plot in plots.items():
        plot(path_of(f"{prefix}{name}"))
    return [f"{prefix}{name}" for name in plots]


def plot_confusions(path: Path, counts: Array, *, classes: Sequence[str], split_name: str) -> None:
    """Plot how often each class (rows) was predicted as each class (columns); `counts` are (classes, classes)."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    large = int(counts.max(initial=0)) >= 100_000  # pixels: percentages are easier to read
    side = float(np.clip(2.5 + 0.42 * len(classes), 4.0, 14.0))
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.spines[:].set_visible(False)
    names = [shorten(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=0 if max(map(len, names)) < 9 else 60)
    axes.set_yticks(range(len(classes)), names)
    if len(classes) <= MAX_LABELLED_CLASSES:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = f"{shares[row, column]:.1%}" if large else str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title(f"{np.trace(counts):,} of {counts.sum():,} correct ({split_name})")
    figure.savefig(path, dpi=DPI)


def plot_values(path: Path, *, targets: Array, predictions: Array, unit: str, split_name: str) -> None:
    """Plot predictions against targets, (n,) or (n, columns), and the line on which they are equal."""
    columns = targets.reshape(len(targets), -1)
    answers = predictions.reshape(columns.shape)
    count = columns.shape[1]
    across = min(3, count)
    down = -(-count // across)
    size = (5.2, 5.0) if count == 1 else (4.0 * across, 4.0 * down)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).reshape(-1)
    for column, axes in enumerate(panels):
        if column >= count:
            axes.set_axis_off()
            continue
        _scatter(axes, columns[:, column], answers[:, column], unit)
        error = _format_error(columns[:, column], answers[:, column], unit)
        title = f"mean absolute error {error} ({split_name})"
        axes.set_title(title if count == 1 else f"column {column}: error {error}")
    if count > 1:
        figure.suptitle(f"mean absolute error by column ({split_name})")
    figure.savefig(path, dpi=DPI)


def _scatter(axes: Any, targets: Array, predictions: Array, unit: str) -> None:
    is_small = len(targets) < 500
    style: dict[str, Any] = {"ms": 6, "alpha": 0.7} if is_small else {"ms": 2, "alpha": 0.35}
    axes.plot(targets, predictions, ".", color=TRAINING, **style)
    low = float(min(targets.min(), predictions.min()))
    high = float(max(targets.max(), predictions.max()))
    axes.plot([low, high], [low, high], color=VALIDATION, lw=1.2)
    axes.set_aspect("equal")
    axes.locator_params(nbins=6)
    if high >= 10_000:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"actual{f', {unit}' if unit else ''}")
    axes.set_ylabel(f"predicted{f', {unit}' if unit else ''}")


def _format_error(targets: Array, predictions: Array, unit: str) -> str:
    error = float(np.abs(predictions - targets).mean())
    text = f"{error:,.0f}" if error >= 1000 else f"{error:.4g}"
    return f"{text}{f' {unit}' if unit else ''}"


def _plot_row_errors(path: Path, targets: Array, answers: Array, unit: str, split_name: str) -> None:
    """Plot how large the mean absolute error of each row is, for targets of many numbers."""
    errors = np.empty(len(targets))
    answers = answers.reshape(targets.shape)
    for row in range(len(targets)):
        errors[row] = np.abs(answers[row].astype(np.float64) - targets[row]).mean()
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.hist(errors, bins=min(50, max(10, len(errors) // 20)), color=TRAINING)
    axes.axvline(float(errors.mean()), color=VALIDATION, lw=1.2, label=f"mean {errors.mean():.4g}")
    axes.set_xlabel(f"mean absolute error of a row{f', {unit}' if unit else ''}")
    axes.set_ylabel("rows")
    axes.legend(frameon=False)
    axes.set_title(f"error by row ({len(errors):,} {split_name} rows)")
    figure.savefig(path, dpi=DPI)


def _plot_label_f1(path: Path, output: Output, targets: Array, answers: Array, split_name: str) -> None:
    """Plot the F1 of each label, most frequent first."""
    known, found = targets == 1, answers.reshape(targets.shape) > 0.5
    actual, hits = known.sum(axis=0), (known & found).sum(axis=0)
    scores = 2 * hits / np.maximum(actual + found.sum(axis=0), 1)
    order = np.argsort(-actual, kind="stable")[:MAX_LABELS][::-1]
    figure = Figure(figsize=(6.4, 1.2 + 0.28 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(order)), scores[order], color=TRAINING)
    axes.set_yticks(
        range(len(order)), [f"{shorten(output.classes[label])} ({actual[label]:,})" for label in order]
    )
    axes.set_xlim(0, 1)
    axes.set_xlabel("F1")
    selection = f", the {len(order)} most frequent of {len(actual):,}" if len(order) < len(actual) else ""
    axes.set_title(f"F1 of each label, and its rows ({split_name}{selection})")
    figure.savefig(path, dpi=DPI)


def _plot_precision_recall(
    path: Path, output: Output, targets: Array, answers: Array, split_name: str
) -> None:
    """Plot precision over recall for each threshold: of all labels together, and of the most frequent ones."""
    from sklearn import metrics

    answers = answers.reshape(targets.shape)
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    frequent = [label for label in np.argsort(-targets.sum(axis=0), kind="stable") if targets[:, label].any()]
    for position, label in enumerate(frequent[:MAX_CURVES]):
        precision, recall, _ = metrics.precision_recall_curve(targets[:, label], answers[:, label])
        colour = colormaps["tab10"](position % 10)
        axes.plot(*_thinned(recall, precision), lw=1, color=colour, label=shorten(output.classes[label]))
    if targets.any():
        precision, recall, _ = metrics.precision_recall_curve(targets.ravel(), answers.ravel())
        axes.plot(*_thinned(recall, precision), lw=2.4, color="black", label="all labels")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title(f"precision and recall ({split_name})")
    figure.savefig(path, dpi=DPI)


def _thinned(*lines: Array) -> list[Array]:
    step = max(1, len(lines[0]) // MAX_POINTS)
    return [line[::step] for line in lines]


def _plot_masks(path: Path, output: Output, targets: Array, answers: Array, pictures: Array | None) -> None:
    """Plot a few pictures with their targets and answers."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    count = min(MAX_EXAMPLES, len(targets))
    labels = predicted_labels(answers[:count] if answers.ndim == 4 else answers[:count, ..., np.newaxis])
    columns = ["picture", "target", "answer"] if pictures is not None else ["target", "answer"]
    figure = Figure(figsize=(2.1 * len(columns) + 1.6, 2.1 * count + 0.4), layout="constrained")
    panels = figure.subplots(count, len(columns), squeeze=False)
    classes = len(output.classes)
    colours = ListedColormap(
        [colormaps["tab20" if classes > 10 else "tab10"](n % 20) for n in range(classes)]
    )
    for row in range(count):
        images: list[Any] = [] if pictures is None else [_as_picture(pictures[row])]
        images += [np.ma.masked_less(targets[row], 0), labels[row]]
        for axes, image, title in zip(panels[row], images, columns, strict=True):
            if title == "picture":
                axes.imshow(image, cmap="gray", interpolation="nearest")
            else:
                axes.imshow(image, cmap=colours, vmin=-0.5, vmax=classes - 0.5, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(title)
    if classes <= MAX_LABELLED_CLASSES:
        handles = [Patch(color=colours(n), label=shorten(name)) for n, name in enumerate(output.classes)]
        figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=DPI)


def _as_picture(picture: Array) -> Array:
    """Return a picture in 0..1, of one channel or three."""
    picture = np.asarray(picture, np.float64)
    if picture.ndim == 3:
        picture = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., 0]
    low, high = float(np.nanmin(picture)), float(np.nanmax(picture))
    return np.nan_to_num((picture - low) / (high - low if high > low else 1.0))
