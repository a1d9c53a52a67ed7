"""mlctl models card: what a registered version is, how good it is, and how to make it again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.pages.report_page import check_page_name, write_page
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.exports import ExportProof, ProvenScore
from mlctl.domain.note import generated_note, may_replace, own_text
from mlctl.domain.progress import ProgressListener
from mlctl.domain.registry import Lineage, ModelReference, RegisteredVersion
from mlctl.domain.report import ModelCard, Report, ReportBlock, ReportSection, ReportTable, ReportText
from mlctl.domain.run import Run
from mlctl.domain.tags import KIND_TAG, REQUEST_TAG, SCRIPT_TAG
from mlctl.errors import RefusedError, UsageError, did_you_mean
from mlctl.services.evaluation.intervals import is_share_of_rows, wilson_interval
from mlctl.services.evaluation.predictor import LocalModel
from mlctl.services.evaluation.summary import confusion_counts
from mlctl.services.models.fetch import fetch_reference
from mlctl.services.models.select import resolve_model
from mlctl.services.registry.gates import run_of_version
from mlctl.services.registry.models import model_history, show_model
from mlctl.services.reports.files import RunFiles
from mlctl.services.reports.model_sections import history_section
from mlctl.services.reports.texts import facts_table, moment, number, with_interval
from mlctl.services.runs.description import COMMAND_TAG, COMMIT_TAG, DIRTY_TAG
from mlctl.services.serving.exports.proof_rows import deciding_metric, find_rows
from mlctl.services.serving.exports.resampling import resample
from mlctl.settings import Settings
from mlctl.units import format_size

FEW_ROWS = 50  # of a class in the test split
MAX_SLICES, BINS = 20, 4
SLICE_SECONDS = 2.0  # for the interval of one slice
MIN_SLICE_ROWS = 2

Array = np.ndarray[Any, Any]


def make_card(
    settings: Settings,
    model: str,
    *,
    slices: Sequence[str] = (),
    html: Path | None = None,
    listener: ProgressListener,
) -> ModelCard:
    """Return the card of a registered version; write a page with it if asked to.

    Args:
        settings: Settings in force.
        model: NAME (its Production version), NAME/3 or NAME@alias.
        slices: Input columns by whose values the test rows are scored apart; this loads the model and its data.
        html: File of the page.
        listener: Receives progress messages.

    Raises UsageError if MODEL is no registered version, or has no such column, or if `html` is no HTML file.
    """
    if html is not None:
        check_page_name(html)
    store = TrackingStore(settings.tracking_uri)
    reference = resolve_model(store, model)
    if reference.name is None or reference.version is None:
        raise UsageError(
            f"{model} is no registered version", "write NAME/3, or register it first: mlctl register"
        )
    detail = show_model(settings, reference.name, reference.version)
    version, lineage = detail.model.versions[0], detail.lineage or _no_lineage()
    run = run_of_version(store, version)
    history = model_history(settings, reference.name)
    history = replace(
        history, entries=tuple(entry for entry in history.entries if entry.version == version.version)
    )
    evaluation: Mapping[str, Any] = {}
    if run is not None:
        with tempfile.TemporaryDirectory(prefix="mlctl-card-") as scratch:
            files = RunFiles(store=store, run=run, folder=Path(scratch), artifacts=store.list_artifacts(run))
            evaluation = files.evaluation
    by_slice = list(_slices(settings, store, reference, slices, listener)) if slices else []
    classes = list(_classes(evaluation))
    sections = [
        ReportSection(title="Model", blocks=list(_model(version, lineage, run))),
        _data(run),
        _scores(version, run),
        *([ReportSection(title="Scores by class", blocks=classes)] if classes else []),
        *([ReportSection(title="Scores by slice", blocks=by_slice)] if by_slice else []),
        ReportSection(
            title="Limits", blocks=[ReportText(text=text) for text in _limits(run, lineage, evaluation)]
        ),
        _reproduction(run, lineage),
        history_section(history),
        _exports(lineage.proofs),
    ]
    stage = [] if version.stage == "None" else [("stage", version.stage)]
    report = Report(
        title=f"{reference.name} {reference.version}",
        subtitle="model card",
        sections=sections,
        facts=[*stage, ("registered", moment(version.created))],
    )
    if html is not None:
        write_page(report, html)
    return ModelCard(
        name=reference.name,
        version=reference.version,
        report=report,
        markdown=to_markdown(report),
        file=str(html or ""),
    )


def save_card(settings: Settings, card: ModelCard, *, force: bool = False) -> None:
    """Write a card as the version's description in MLflow.

    Raises RefusedError if a person has written the description, unless `force` is set.
    """
    registry = Registry(TrackingStore(settings.tracking_uri))
    description = registry.get_version(card.name, card.version).description or ""
    if not may_replace(description) and not force:
        raise RefusedError(
            f"a person has written the description of {card.name} {card.version}",
            "add --force to replace it; the card includes it",
        )
    registry.set_description(card.name, card.version, generated_note(card.markdown))


def to_markdown(report: Report) -> str:
    """Return a report of tables and texts as Markdown."""
    lines = [f"# {report.title}", ""]
    lines += [", ".join(f"{name}: {value}" for name, value in report.facts), ""]
    for section in report.sections:
        lines += [f"## {section.title}", ""]
        if not section.blocks:
            lines += [f"{section.missing[:1].upper()}{section.missing[1:]}.", ""]
        for block in section.blocks:
            lines += [*_block_lines(block), ""]
    return "\n".join(lines).strip() + "\n"


def _block_lines(block: ReportBlock) -> Iterator[str]:
    title = getattr(block, "title", "")
    if title:
        yield f"### {title}"
        yield ""
    if isinstance(block, ReportText):
        yield block.text
    elif isinstance(block, ReportTable):
        yield f"| {' | '.join(map(_cell, block.columns))} |"
        yield f"|{' --- |' * len(block.columns)}"
        for row in block.rows:
            yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: Any) -> str:
    return str(text).replace("\n", " ").replace("|", "\\|")


def _no_lineage() -> Lineage:
    return Lineage(run_name=None, params={}, data=None, inputs=(), outputs=(), flavors={}, size_bytes=None)


def _model(version: RegisteredVersion, lineage: Lineage, run: Run | None) -> Iterator[ReportBlock]:
    if text := own_text(version.description):
        yield ReportText(text=text)
    yield facts_table(
        [
            ("version", version.version),
            ("stage", "" if version.stage == "None" else version.stage),
            ("recipe", run.recipe if run else ""),
            ("trained", moment(run.started_at) if run else ""),
            ("run", f"{run.run_name} ({run.run_id})" if run else version.run_id or ""),
            *sorted(lineage.origin.items()),
            ("inputs", "; ".join(lineage.inputs)),
            ("outputs", "; ".join(lineage.outputs)),
            ("threshold of the positive class", number(version.metrics.get("best_threshold"))),
            ("size", format_size(lineage.size_bytes)),
            *sorted((name, value) for name, value in version.tags.items() if not name.startswith("mlctl.")),
        ]
    )


def _data(run: Run | None) -> ReportSection:
    data = run.data if run else None
    if data is None:
        return ReportSection(title="Data", missing="the training data is not known")
    splits = ", ".join(f"{rows:,} {name}" for name, rows in data.splits.items())
    table = facts_table(
        [
            ("name", data.name),
            ("source", data.source),
            ("rows", f"{data.rows:,}" + (f" ({splits})" if splits else "")),
            ("SHA-256", data.sha256),
            ("synthetic", "yes" if data.synthetic else ""),
        ]
    )
    return ReportSection(title="Data", blocks=[table])


def _scores(version: RegisteredVersion, run: Run | None) -> ReportSection:
    metrics = version.metrics
    names = [name for name in metrics if name.startswith("test_")] or [
        name for name in metrics if name != "best_epoch"
    ]
    intervals = run.intervals if run else {}
    rows = [
        (name.replace("_", " "), with_interval(metrics[name], intervals.get(name))) for name in sorted(names)
    ]
    tested = run.data.splits.get("test") if run and run.data else None
    title = (
        f"On the {tested:,} test rows" if tested and any(name.startswith("test_") for name in names) else ""
    )
    table = ReportTable(columns=("metric", "value (95 % interval)"), rows=rows, title=title)
    return ReportSection(
        title="Scores", blocks=[table] if rows else [], missing="the run has recorded no scores of the model"
    )


def _classes(evaluation: Mapping[str, Any]) -> Iterator[ReportTable]:
    """Yield precision, recall and F1 by class of each output that has confusions."""
    outputs = evaluation.get("outputs", [])
    for output in outputs:
        if not output.get("confusions") or output.get("kind") != "classes":
            continue
        counts = confusion_counts(output)
        hits, actual, answered = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
        rows = []
        for place, name in enumerate(output["classes"]):
            recall = hits[place] / actual[place] if actual[place] else None
            precision = hits[place] / answered[place] if answered[place] else None
            both = actual[place] + answered[place]
            rows.append(
                (
                    name,
                    f"{actual[place]:,}",
                    _share(precision, int(answered[place])),
                    _share(recall, int(actual[place])),
                    number(float(2 * hits[place] / both)) if both else "",
                )
            )
        yield ReportTable(
            columns=("class", "rows", "precision (95 %)", "recall (95 %)", "f1"),
            rows=rows,
            title=output["name"] if len(outputs) > 1 else "",
        )


def _share(value: float | None, rows: int) -> str:
    return "" if value is None else with_interval(float(value), wilson_interval(float(value), rows))


def _slices(
    settings: Settings,
    store: TrackingStore,
    reference: ModelReference,
    columns: Sequence[str],
    listener: ProgressListener,
) -> Iterator[ReportTable]:
    """Yield the score of the test rows by the values of each column."""
    listener.stage("scoring the test rows by slice")
    with tempfile.TemporaryDirectory(prefix="mlctl-card-") as scratch:
        served = fetch_reference(store, reference, reference.uri, Path(scratch))
        rows = find_rows(
            settings,
            store,
            reference,
            Path(served.folder),
            source=None,
            scratch=Path(scratch),
            listener=listener,
        )
        if rows.score is None:
            raise UsageError(f"--slice: {rows.score_reason}", "remove --slice")
        table = rows.raw if isinstance(rows.raw, Mapping) else {}
        known = [name for name, values in table.items() if np.ndim(values) == 1]
        if not known:
            raise UsageError("--slice: the model does not take a table", "remove --slice")
        for column in columns:
            if column not in known:
                hint = did_you_mean(column, known) or f"columns: {', '.join(known)}"
                raise UsageError(f"--slice: the model has no column {column!r}", hint)
        served_model = LocalModel(served)
        answers = served_model.predict(dict(rows.raw))
    score = rows.score
    metric = deciding_metric(score(answers, None), rows.metric)
    is_share = is_share_of_rows(metric, served_model.info.outputs)
    for column in columns:
        found = []
        for name, selected in _groups(np.asarray(table[column])):
            value = score(answers, selected).get(metric) if len(selected) >= MIN_SLICE_ROWS else None
            interval = None
            if value is not None and is_share:
                interval = wilson_interval(value, len(selected))
            elif value is not None:
                interval = _resampled(score, answers, selected, metric)
            found.append((name, f"{len(selected):,}", with_interval(value, interval)))
        yield ReportTable(columns=(column, "rows", f"{metric} (95 %)"), rows=found, title=f"by {column}")


def _resampled(
    score: Callable[[Any, Array | None], Mapping[str, float]], answers: Any, rows: Array, metric: str
) -> tuple[float, float]:
    """Return the 95 % interval of the score of some rows by resampling."""

    def again(drawn: Array) -> tuple[float, float]:
        value = score(answers, rows[drawn]).get(metric, np.nan)
        return value, value

    interval, _, _ = resample(again, len(rows), lambda one, other: one - other, seconds=SLICE_SECONDS)
    return interval


def _groups(values: Array) -> Iterator[tuple[str, Array]]:
    """Yield the rows of each value of a column, the most frequent first; numbers of many values in four ranges."""
    is_gap = np.array([cell is None or cell != cell for cell in values])
    if values.dtype.kind in "iuf" and len(np.unique(values[~is_gap])) > MAX_SLICES:
        edges = np.unique(np.quantile(values[~is_gap], np.linspace(0, 1, BINS + 1)))
        places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        for place in range(len(edges) - 1):
            title = f"{number(float(edges[place]))} to {number(float(edges[place + 1]))}"
            yield title, np.flatnonzero((places == place) & ~is_gap)
    else:
        texts = np.array([str(cell) for cell in values], dtype=object)
        names, counts = np.unique(texts[~is_gap].astype(str), return_counts=True)
        ordered = names[np.argsort(-counts, kind="stable")]
        for name in ordered[:MAX_SLICES]:
            yield str(name), np.flatnonzero((texts == name) & ~is_gap)
        if (others := len(ordered) - MAX_SLICES) > 0:
            yield f"{others:,} other values", np.flatnonzero(np.isin(texts, ordered[MAX_SLICES:]) & ~is_gap)
    if is_gap.any():
        yield "missing", np.flatnonzero(is_gap)


def _limits(run: Run | None, lineage: Lineage, evaluation: Mapping[str, Any]) -> Iterator[str]:
    data = run.data if run else None
    split = evaluation.get("split", "test")
    if data is None:
        yield "The training data is not known, so the scores on other data are not known either."
    else:
        yield (
            f"The scores are those of {split} rows of {data.name or data.source}. Rows of another origin or a later "
            "time may score lower."
        )
        if data.synthetic:
            yield "The data is synthetic: the scores say nothing about real data."
    for output in evaluation.get("outputs", []):
        if output.get("confusions") and output.get("kind") == "classes":
            counts = confusion_counts(output).sum(axis=1)
            few = [
                f"{name} ({rows})"
                for name, rows in zip(output["classes"], counts, strict=True)
                if rows < FEW_ROWS
            ]
            if few:
                yield f"Classes with fewer than {FEW_ROWS} {split} rows, whose scores are uncertain: {', '.join(few)}."
    required = [text for text in lineage.inputs if text.endswith("(required)") and text.startswith("'")]
    if required and len(required) < len(lineage.inputs):
        names = ", ".join(text.partition(":")[0] for text in required)
        yield f"Columns that had no missing values in training: {names}."


def _reproduction(run: Run | None, lineage: Lineage) -> ReportSection:
    if run is None:
        reason = "it was trained elsewhere" if lineage.origin else "the run is gone"
        return ReportSection(title="Reproduce", missing=reason)
    commit = run.tags.get(COMMIT_TAG, "")
    can_reproduce = KIND_TAG not in run.tags and (REQUEST_TAG in run.tags or SCRIPT_TAG in run.tags)
    table = facts_table(
        [
            ("command", run.tags.get(COMMAND_TAG, "")),
            ("again", f"mlctl reproduce {run.run_id[:8]}" if can_reproduce else ""),
            ("commit", commit + (", with changes" if run.tags.get(DIRTY_TAG) == "true" else "")),
            *((f"parameter {name}", value) for name, value in sorted(run.params.items())),
        ]
    )
    missing = "it was trained elsewhere" if lineage.origin else "the run does not say how"
    return ReportSection(title="Reproduce", blocks=[table] if table.rows else [], missing=missing)


def _loss(score: ProvenScore) -> str:
    """Return what the export loses, with its interval: 0.1 points (-0.2 to 0.4)."""
    low, high = score.loss_interval
    return f"{score.loss:z.2f} {score.loss_unit} ({low:z.2f} to {high:z.2f})"


def _exports(proofs: Sequence[ExportProof]) -> ReportSection:
    rows = [
        (
            proof.title,
            f"{proof.max_difference:.1g}",
            "" if proof.equal_labels is None else f"{proof.equal_labels:.2%}",
            f"{proof.rows:,} ({proof.split})",
            proof.score.metric if proof.score else "",
            number(proof.score.before) if proof.score else "",
            number(proof.score.after) if proof.score else "",
            _loss(proof.score) if proof.score else "",
            format_size(proof.size_bytes),
            f"{proof.latency_ms:.3g} ms",
        )
        for proof in proofs
    ]
    table = ReportTable(
        columns=(
            "format",
            "largest difference",
            "equal labels",
            "rows",
            "metric",
            "before",
            "after",
            "loss (95 %)",
            "size",
            "one row",
        ),
        rows=rows,
    )
    return ReportSection(
        title="Exports", blocks=[table] if rows else [], missing="no export of this model has a proof"
    )
