"""The sections of a run's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.report import (
    ReportBlock,
    ReportSection,
    ReportTable,
    ReportText,
)
from mlctl.domain.run import Run
from mlctl.domain.tags import (
    ENDED_TAG,
    ERROR_TAG,
    KIND_TAG,
    MODEL_WEIGHTS_TAG,
    RUNTIME_REASON_TAG,
    RUNTIME_TAG,
)
from mlctl.domain.tune import rank_trials
from mlctl.services.reports import plots
from mlctl.services.reports.answer_sections import answer_sections
from mlctl.services.reports.files import RunFiles
from mlctl.services.reports.texts import IN_BRACKETS, facts_table, moment, number, with_interval
from mlctl.services.runs.listing import show_run
from mlctl.services.runs.metrics import objective_of, score_of
from mlctl.services.runs.search_snapshot import read_search
from mlctl.units import format_duration, format_size

MAX_CURVES = 12
MAX_TRIALS = 20
MAX_LONG_TEXT = 100_000
NO_EVALUATION = "the run has no evaluation.json, which mlctl logs with each model that it scores"
WRONG_EVALUATION = "the run's evaluation.json is not as mlctl writes it"
METRICS_IN_UNIT = ("mae", "rmse")
# plots that are drawn anew from evaluation.json, metrics and importance.csv
REDRAWN = ("confusion_matrix", "predicted_vs_actual", "precision_recall")


def run_sections(store: TrackingStore, run: Run, scratch: Path) -> Iterator[ReportSection]:
    """Yield all sections of a run; one without data says why. Files are downloaded to `scratch`."""
    detail = show_run(store.tracking_uri, run.run_id)
    files = RunFiles(
        store=store,
        run=run,
        folder=scratch,
        artifacts=detail.artifacts,
        problem="; ".join(detail.notes),
    )
    outputs = files.evaluation.get("outputs", [])
    unit = str(outputs[0].get("unit", "")) if len(outputs) == 1 else ""
    histories = {name: values for name, values in detail.histories.items() if len(values) > 1}
    yield _summary(run, files)
    if run.tags.get(KIND_TAG) in ("search", "automl"):
        yield from _search(store, run, files)
    yield _curves(run, histories, unit)
    drawn = [
        *REDRAWN,
        *(name.replace("/", "_") for name in detail.histories),
        "importance",
        "parallel_coordinates",
    ]
    if outputs:
        try:
            yield from list(answer_sections(files.evaluation))
        except (AttributeError, LookupError, TypeError, ValueError):  # anyone can log a file of this name
            yield ReportSection(title="Answers", missing=WRONG_EVALUATION)
        drawn += [f"{output.get('name')}_{name}" for output in outputs for name in REDRAWN]
    else:
        reason = files.problem or NO_EVALUATION
        for title in ("Answers", "Most wrong examples"):
            yield ReportSection(title=title, missing=reason)
        drawn = [name for name in drawn if name not in REDRAWN]
    yield _importance(files)
    if pictures := files.pictures(drawn):
        yield ReportSection(title="Pictures", blocks=pictures)
    yield _data(run)
    yield ReportSection(
        title="Parameters",
        blocks=[facts_table(sorted(run.params.items()))] if run.params else [],
        missing="the run has none",
    )
    yield _environment(detail.environment, files)


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what the top of a run's report shows."""
    score = score_of(run)
    found = [("recipe", run.recipe), ("status", run.status.lower())]
    if score is not None:
        name = score.name.replace("_", " ")
        found += [(name, number(score.value))]
        found += (
            [
                (
                    score.test_metric.replace("_", " "),
                    with_interval(score.test_value, score.test_interval),
                )
            ]
            if score.test_metric
            else []
        )
    found += [
        ("data", f"{run.data.name}, {run.data.rows:,} rows" if run.data and run.data.rows else ""),
        ("duration", format_duration(run.duration_s)),
    ]
    return [(name, value) for name, value in found if value]


def _summary(run: Run, files: RunFiles) -> ReportSection:
    names = sorted(
        {_plain(name) for name in run.metrics if not name.startswith("folds_")}
        - {"epoch", "learning_rate", "best_epoch", "threshold"}
    )
    prefixes = {
        title: prefix
        for title, prefix in (
            ("test", "test_"),
            ("best validation", "best_val_"),
            ("last", "val_"),
            ("training", ""),
        )
        if any(prefix + name in run.metrics for name in names)
    }
    intervals = run.intervals
    scores = ReportTable(
        title=IN_BRACKETS if intervals else "",
        columns=("score", *prefixes),
        rows=[
            (
                name.replace("_", " "),
                *(
                    with_interval(run.metrics.get(prefix + name), intervals.get(prefix + name))
                    for prefix in prefixes.values()
                ),
            )
            for name in names
        ],
    )
    objective = objective_of(run)
    about = facts_table(
        [
            ("run", f"{run.run_name} ({run.run_id})"),
            ("experiment", run.experiment),
            ("started", moment(run.started_at)),
            (
                "objective",
                f"{objective.metric}, {'higher' if objective.maximize else 'lower'} is better"
                if objective
                else "",
            ),
            ("kept epoch", number(run.metrics.get("best_epoch"))),
            ("threshold of the positive class", number(run.metrics.get("best_threshold"))),
            ("weights", run.tags.get(MODEL_WEIGHTS_TAG)),
            ("model", run.model_uri),
            ("served by", run.tags.get(RUNTIME_TAG)),
            ("why not ONNX Runtime", run.tags.get(RUNTIME_REASON_TAG)),
            ("ended", run.tags.get(ENDED_TAG)),
            ("error", run.tags.get(ERROR_TAG)),
            ("description", run.tags.get("mlflow.note.content") if not run.recipe else ""),
            *(
                (name, value)
                for name, value in sorted(run.tags.items())
                if not name.startswith(("mlctl.", "mlflow."))
            ),
        ]
    )
    folds = [_folds(run)] if run.folds else []
    blocks: list[ReportBlock] = [*([scores] if scores.rows else []), *folds, about]
    if text := files.text("report.txt"):
        blocks.append(ReportText(title="report.txt", text=text, folded=True))
    return ReportSection(title="Summary", blocks=blocks)


def _folds(run: Run) -> ReportTable:
    """Return each score of cross-validation: mean, deviation, and the value of each fold."""
    count = max(map(len, run.folds.values()))
    return ReportTable(
        title=f"{count} folds: rows that the model has not seen",
        columns=("score", "mean", "deviation", *(f"fold {place + 1}" for place in range(count))),
        rows=[
            (name.replace("_", " "), number(mean(values)), number(stdev(values)), *map(number, values))
            for name, values in sorted(run.folds.items())
        ],
    )


def _curves(run: Run, histories: Mapping[str, Sequence[float]], unit: str) -> ReportSection:
    objective = objective_of(run)
    first = objective.metric.removeprefix("val_") if objective else ""
    metrics = dict.fromkeys(name.removeprefix("val_") for name in histories if name != "learning_rate")
    # a name that begins with val_ by chance has no other series
    ordered = sorted(
        metrics, key=lambda name: (name != first, name != "loss", f"val_{name}" not in histories)
    )
    best = run.metrics.get("best_epoch")
    found = [
        plots.metric_plot(
            metric,
            histories,
            best_epoch=int(best) if best is not None and best == best else None,
            unit=unit if metric in METRICS_IN_UNIT else "",
            x_label="epoch" if run.recipe else "value",
        )
        for metric in ordered[:MAX_CURVES]
    ]
    return ReportSection(title="Curves", blocks=found, missing="no metric has more than one value")


def _importance(files: RunFiles) -> ReportSection:
    rows = files.rows("importance.csv")
    try:
        header, *body = rows
        measure = header[1].replace("_", " ")
        columns = [(name, float(value), float(spread)) for name, value, spread in body]
    except (ValueError, IndexError):  # there is none, or it is another program's
        reason = files.problem or "the run has no importance.csv, which mlctl logs for tables"
        return ReportSection(title="Importance", missing=reason)
    measure = {"mae gained": "mean absolute error gained"}.get(measure, measure)
    return ReportSection(title="Importance", blocks=[plots.importance_plot(columns, measure)])


def _search(store: TrackingStore, run: Run, files: RunFiles) -> Iterator[ReportSection]:
    """Yield the plots of a search and its best trials, or the leaderboard of automl."""
    leaderboard = files.rows("leaderboard.csv")
    if leaderboard:
        rows = [[_short(cell) for cell in row] for row in leaderboard[1:]]
        table = ReportTable(columns=leaderboard[0], rows=rows)
        yield ReportSection(title="Leaderboard", blocks=[table])
        return
    snapshot = read_search(store, run, None)
    trials = rank_trials(snapshot.ended_trials, snapshot.objective) if snapshot else []
    if not snapshot or not trials:
        yield ReportSection(title="Trials", missing="the search has no trial that has ended")
        return
    space = [name for name in trials[0].params if len({trial.params.get(name) for trial in trials}) > 1]
    table = ReportTable(
        columns=("trial", snapshot.objective.metric.replace("_", " "), "state", "epochs", *space),
        rows=[
            (
                trial.trial,
                number(trial.score),
                trial.state,
                str(trial.epochs),
                *(_short(str(trial.params.get(name, ""))) for name in space),
            )
            for trial in trials[:MAX_TRIALS]
        ],
        title=f"The best {MAX_TRIALS} of {len(trials)} trials" if len(trials) > MAX_TRIALS else "",
    )
    pictures = [
        plot
        for plot in files.pictures()
        if plot.title.rpartition(".")[0].endswith(("parallel_coordinates", "importance"))
    ]
    yield ReportSection(title="Trials", blocks=[table, *pictures])


def _data(run: Run) -> ReportSection:
    data = run.data
    if data is None:
        return ReportSection(title="Data", missing="the run does not say what it was trained on")
    about = facts_table(
        [
            ("name", data.name),
            (
                "source",
                f"{data.source} (generated in place of the real data)" if data.synthetic else data.source,
            ),
            ("rows", f"{data.rows:,}" if data.rows else ""),
            ("size", format_size(data.size_bytes) if data.size_bytes else ""),
            ("SHA-256", data.sha256),
            ("seed of the split", data.seed),
        ]
    )
    total = max(1, sum(data.splits.values()))
    splits = ReportTable(
        columns=("split", "rows", "share"),
        rows=[(name, f"{rows:,}", f"{rows / total:.0%}") for name, rows in data.splits.items()],
    )
    files = facts_table(data.files.items(), "Files", folded=True)
    return ReportSection(
        title="Data", blocks=[*([splits] if splits.rows else []), about, *([files] if files.rows else [])]
    )


def _environment(environment: Mapping[str, str], files: RunFiles) -> ReportSection:
    found = [(name.replace(".", " "), value) for name, value in environment.items()]
    blocks: list[ReportBlock] = [facts_table(found)] if found else []
    for path, title in (("model_summary.txt", "Layers of the model"), ("requirements.txt", "Packages")):
        if text := files.text(path):
            blocks.append(ReportText(title=title, text=text[:MAX_LONG_TEXT], folded=True))
    return ReportSection(title="Environment", blocks=blocks, missing="the run does not describe it")


def _plain(name: str) -> str:
    for prefix in ("best_val_", "test_", "val_", "best_"):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _short(cell: str) -> str:
    """Return a number in four digits, and any other text as it is."""
    try:
        return number(float(cell))
    except ValueError:
        return cell
