"""Plots of a model's answers against the targets: one or more for each kind of output."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from mlctl.adapters.plots import style
from mlctl.adapters.plots.style import INK, NO_CAPTION, TRAINING, Caption, drawing, shorten
from mlctl.adapters.plots.value_plots import plot_row_errors, plot_values, value_column
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
    caption: Caption,
    pictures: Array | None = None,
) -> list[str]:
    """Plot what suits the kind of an output, as PNG and SVG; return the names of the files.

    Args:
        path_of: returns where to write the file of a name such as "confusion_matrix.png".
        output: what the answers mean.
        targets: as `scoring_targets` returns them.
        answers: of a served model, (n, …).
        caption: the run and the split.
        pictures: the first inputs of a model that answers masks, (rows, height, width, channels) or without channels.
    """
    prefix = f"{output.name}_" if output.name else ""
    if output.name:
        caption = dataclasses.replace(caption, note=f"{caption.note} · output {output.name}")
    plots: dict[str, Callable[[Path], None]] = {}
    if output.kind in ("classes", "pixels", "sequence") and len(output.classes) <= MAX_CLASSES:
        counts = count_confusions(output, targets, answers)
        plots["confusion_matrix.png"] = lambda path: plot_confusions(
            path, counts, classes=output.classes, caption=caption
        )
    if output.kind == "classes" and len(output.classes) == 2 and _has_curve(targets, answers):
        plots["precision_recall.png"] = lambda path: _plot_positive_class(
            path, output, targets == 1, answers.reshape(len(answers), -1)[:, -1], caption
        )
    if output.kind == "pixels" and targets.ndim == 3:
        plots["masks.png"] = lambda path: _plot_masks(path, output, targets, answers, pictures, caption)
    if output.kind == "values":
        if targets.ndim == 1 or (targets.ndim == 2 and targets.shape[1] <= MAX_PANELS):
            known = targets.reshape(len(targets), -1)
            columns = list(map(value_column, known.T, answers.reshape(known.shape).T))
            plots["predicted_vs_actual.png"] = lambda path: plot_values(
                path, columns, unit=output.unit, caption=caption
            )
        else:
            plots["error_by_row.png"] = lambda path: plot_row_errors(
                path, targets, answers, output.unit, caption
            )
    if output.kind == "labels":
        plots["label_f1.png"] = lambda path: _plot_label_f1(path, output, targets, answers, caption)
        plots["precision_recall.png"] = lambda path: _plot_precision_recall(
            path, output, targets, answers, caption
        )
    for name, plot in plots.items():
        plot(path_of(f"{prefix}{name}"))
    return [file for name in plots for file in style.plot_files(f"{prefix}{name}")]


def plot_confusions(
    target: Path | io.BytesIO, counts: Array, *, classes: Sequence[str], caption: Caption = NO_CAPTION
) -> None:
    """Plot how often each class (rows) was predicted as each class (columns); `counts` are (classes, classes)."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    large = int(counts.max(initial=0)) >= 100_000  # pixels: percentages are easier to read
    has_both = not large and len(classes) <= 12  # a count and its percentage
    side = float(np.clip(2.6 + (0.62 if has_both else 0.5) * len(classes), 4.2, 13.0))
    right, total = int(np.trace(counts)), int(counts.sum())
    title = f"{right / max(1, total):.1%} correct: {right:,} of {total:,}"
    longest = max((len(shorten(name)) for name in classes), default=0)
    size = (side + 0.6 + 0.06 * longest, side + 0.05 * longest)  # names get room of their own
    with drawing(target, size=size, title=title, caption=caption) as figure:
        axes = figure.subplots()
        # transparent where there is nothing, so that it fits a dark page; the root makes rare confusions visible
        blue = LinearSegmentedColormap.from_list("shares", [(*to_rgb(TRAINING), alpha) for alpha in (0, 1)])
        axes.pcolormesh(
            np.arange(len(classes)),
            np.arange(len(classes)),
            np.sqrt(shares),
            cmap=blue,
            vmin=0,
            vmax=1,
            rasterized=len(classes) > MAX_LABELLED_CLASSES,
        )
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        style.name_ticks(axes.xaxis, classes, room=side - 1.2)
        style.name_ticks(axes.yaxis, classes)
        if len(classes) <= MAX_LABELLED_CLASSES:
            for row, column in np.argwhere(counts > 0):
                share = shares[row, column]
                text = f"{share:.0%}" if large else f"{counts[row, column]:,}"
                text += f"\n{share:.0%}" if has_both else ""
                colour = "white" if share > 0.3 else INK
                font = 9 if len(classes) <= 5 else 8 if has_both else 7
                cell = axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=font)
                cell.set_in_layout(False)  # it is inside the matrix, and measuring each takes a second
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")


def _plot_label_f1(path: Path, output: Output, targets: Array, answers: Array, caption: Caption) -> None:
    """Plot the F1 of each label, most frequent first."""
    known, found = targets == 1, answers.reshape(targets.shape) > 0.5
    actual, hits = known.sum(axis=0), (known & found).sum(axis=0)
    scores = 2 * hits / np.maximum(actual + found.sum(axis=0), 1)
    order = np.argsort(-actual, kind="stable")[:MAX_LABELS][::-1]
    selection = f", the {len(order)} most frequent of {len(actual):,}" if len(order) < len(actual) else ""
    size = (6.4, 1.5 + 0.28 * len(order))
    with drawing(path, size=size, title=f"F1 of each label{selection}", caption=caption) as figure:
        axes = figure.subplots()
        axes.barh(range(len(order)), scores[order], color=TRAINING)
        names = [f"{shorten(output.classes[label])} ({actual[label]:,} rows)" for label in order]
        axes.set_yticks(range(len(order)), names)
        axes.set_xlim(0, 1)
        style.format_axis(axes.xaxis, "f1", [0, 1])
        axes.set_xlabel("F1")
        axes.grid(axis="x")


def _has_curve(targets: Array, answers: Array) -> bool:
    """Return whether there are rows of both classes, and probabilities."""
    return bool(targets.size and targets.min() == 0 and targets.max() == 1 and np.isfinite(answers).all())


def _plot_positive_class(
    path: Path, output: Output, is_positive: Array, probabilities: Array, caption: Caption
) -> None:
    """Plot precision over recall of the positive class for each threshold, and the point of the output's own."""
    from sklearn import metrics

    name, share = shorten(output.classes[1]), float(is_positive.mean())
    precision, recall, _ = metrics.precision_recall_curve(is_positive, probabilities)
    average = metrics.average_precision_score(is_positive, probabilities)
    answered = probabilities > output.threshold
    with drawing(
        path, size=(6.4, 4.6), title=f"{name}: average precision {average:.3f}", caption=caption
    ) as figure:
        axes = figure.subplots()
        axes.plot(*_thinned(recall, precision), lw=2.2, color=TRAINING, label=name)
        axes.axhline(share, lw=1, ls=":", color=style.MUTED, label=f"at random ({share:.1%} of the rows)")
        if answered.any():
            found = (is_positive & answered).sum()
            axes.plot(
                found / is_positive.sum(),
                found / answered.sum(),
                "o",
                color=INK,
                label=f"answered above {output.threshold:.3g}",
            )
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        for axis in (axes.xaxis, axes.yaxis):
            style.format_axis(axis, "recall", [0, 1])
        axes.grid()
        style.put_legend(axes, 3)


def _plot_precision_recall(
    path: Path, output: Output, targets: Array, answers: Array, caption: Caption
) -> None:
    """Plot precision over recall for each threshold: of all labels together, and of the most frequent ones."""
    from sklearn import metrics

    answers = answers.reshape(targets.shape)
    with drawing(path, size=(7.2, 4.6), title="precision and recall", caption=caption) as figure:
        axes = figure.subplots()
        order = np.argsort(-targets.sum(axis=0), kind="stable")
        frequent = [label for label in order if targets[:, label].any()]
        for position, label in enumerate(frequent[:MAX_CURVES]):
            precision, recall, _ = metrics.precision_recall_curve(targets[:, label], answers[:, label])
            name, colour = shorten(output.classes[label]), style.colour_of(position)
            axes.plot(*_thinned(recall, precision), lw=1, color=colour, label=name)
        if targets.any():
            precision, recall, _ = metrics.precision_recall_curve(targets.ravel(), answers.ravel())
            axes.plot(*_thinned(recall, precision), lw=2.4, color=INK, label="all labels")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        for axis in (axes.xaxis, axes.yaxis):
            style.format_axis(axis, "recall", [0, 1])
        axes.grid()
        style.put_legend(axes, min(len(frequent), MAX_CURVES) + 1)


def _thinned(*lines: Array) -> list[Array]:
    step = max(1, len(lines[0]) // MAX_POINTS)
    return [line[::step] for line in lines]


def _plot_masks(
    path: Path, output: Output, targets: Array, answers: Array, pictures: Array | None, caption: Caption
) -> None:
    """Plot a few pictures with their targets and answers."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    count = min(MAX_EXAMPLES, len(targets))
    labels = predicted_labels(answers[:count] if answers.ndim == 4 else answers[:count, ..., np.newaxis])
    columns = ["picture", "target", "answer"] if pictures is not None else ["target", "answer"]
    classes = len(output.classes)
    colours = ListedColormap(
        [colormaps["tab20" if classes > 10 else "tab10"](n % 20) for n in range(classes)]
    )
    size = (2.1 * len(columns) + 1.6, 2.1 * count + 0.9)
    with drawing(path, size=size, title=f"the first {count} rows", caption=caption) as figure:
        panels = figure.subplots(count, len(columns), squeeze=False)
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
            figure.legend(handles=handles, loc="outside right center", fontsize=8)


def _as_picture(picture: Array) -> Array:
    """Return a picture in 0..1, of one channel or three."""
    picture = np.asarray(picture, np.float64)
    if picture.ndim == 3:
        picture = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., 0]
    low, high = float(np.nanmin(picture)), float(np.nanmax(picture))
    return np.nan_to_num((picture - low) / (high - low if high > low else 1.0))
