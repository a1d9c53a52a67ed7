"""What a run is, as Markdown for MLflow's pages: its score, its data, its code, and how to make it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlctl.domain.run import DataReference, Run
from mlctl.domain.tags import KIND_TAG, RECIPE_TAG, REQUEST_TAG, SCRIPT_TAG, SEARCH_TRIALS_TAG
from mlctl.services.runs.metrics import objective_of, score_of

COMMAND_TAG, COMMIT_TAG, DIRTY_TAG = "mlflow.source.name", "mlflow.source.git.commit", "mlctl.git.dirty"
SHORT = 8  # digits of a run's id, as commands show them


def describe_run(run: Run) -> str:
    """Return a run's description."""
    lines = [_headline(run), "", *(f"- **{name}:** {text}" for name, text in _facts(run))]
    return "\n".join(lines).strip()


def describe_new_run(tags: Mapping[str, str], data: DataReference | None = None) -> str:
    """Return the description of a run that is created with these tags."""
    new = Run(
        run_id="",
        run_name="",
        experiment="",
        status="RUNNING",
        tracking_uri="",
        recipe=tags.get(RECIPE_TAG, ""),
        tags=tags,
        data=data,
    )
    return describe_run(new)


def describe_version(run: Run) -> str:
    """Return the description of a registered version whose model this run has logged."""
    name = f"{run.run_name} `{run.run_id[:SHORT]}`".strip()
    lines = [_headline(run), "", *(f"- **{key}:** {text}" for key, text in [("Run", name), *_facts(run)])]
    return "\n".join(lines)


def _headline(run: Run) -> str:
    """Return a line without Markdown, since MLflow's tables show it as it is."""
    kind = run.tags.get(KIND_TAG, "")
    if trials := run.tags.get(SEARCH_TRIALS_TAG):
        kind = f"search of up to {trials} trials"
    what = (run.recipe or run.run_name) + (f", {kind}" if kind else "")
    score = score_of(run)
    if score is None or score.value is None:
        objective = objective_of(run)
        return what + (f", objective {objective}" if objective else "")
    parts = [f"{score.name} {_number(score.value)}"]
    if (epoch := run.metrics.get("best_epoch")) is not None:
        parts[0] += f" in epoch {epoch:.0f}" + (
            f" of {run.params['epochs']}" if "epochs" in run.params else ""
        )
    if score.test_value is not None:
        parts.append(f"{score.test_metric} {_number(score.test_value)}")
    return f"{what}: {', '.join(parts)}"


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    if run.data is not None:
        yield "Data", _data(run.data)
    if commit := run.tags.get(COMMIT_TAG):
        changed = ", with changes that are in `code.diff`" if run.tags.get(DIRTY_TAG) == "true" else ""
        yield "Code", f"commit `{commit[:SHORT]}`{changed}"
    if command := run.tags.get(COMMAND_TAG):
        yield "Command", f"`{command.replace('`', ' ')}`"
    if run.run_id and KIND_TAG not in run.tags and (REQUEST_TAG in run.tags or SCRIPT_TAG in run.tags):
        yield "Reproduce", f"`mlctl reproduce {run.run_id[:SHORT]}`"
    if run.run_id and run.model_uri:
        yield "Predict", f"`mlctl predict {run.run_id[:SHORT]} INPUT`"


def _data(data: DataReference) -> str:
    splits = ", ".join(f"{rows:,} {name}" for name, rows in data.splits.items())
    text = f"{data.name or data.source}, {data.rows:,} rows" + (f" ({splits})" if splits else "")
    if data.synthetic:
        text += ", **synthetic**"
    return text + (f", SHA-256 `{data.sha256[:12]}`" if data.sha256 else "")


def _number(value: float) -> str:
    """Return a number with four significant digits, and the thousands of a large one."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
