"""The files that a search logs: its journal, its space and its plots."""

from __future__ import annotations

from mlctl.adapters.plots import search_plots
from mlctl.adapters.plots.style import plot_files
from mlctl.adapters.runlog import search_journal
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.domain.tune import rank_trials
from mlctl.services.training import report
from mlctl.services.tuning.request import TuneJob
from mlctl.services.tuning.search_history import SearchHistory


def log_search(recorder: Recorder, job: TuneJob, history: SearchHistory) -> None:
    """Log the journal, the space and the plots of a search."""
    journal = recorder.journal.folder / search_journal.NAME
    recorder.artifact_path(search_journal.NAME).write_bytes(journal.read_bytes())
    recorder.log_artifact(search_journal.NAME)
    space = {dimension.name: dimension.text for dimension in job.dimensions}
    report.log_text(recorder, "space.json", report.as_json(space))
    ranked = rank_trials(list(history.states.values()), job.objective)
    results = [(state.values, float(state.score)) for state in ranked if state.score is not None]
    for name, draw in (
        ("plots/parallel_coordinates.png", search_plots.plot_parallel_coordinates),
        ("plots/importance.png", search_plots.plot_hyperparameter_importance),
    ):
        caption = report.caption_of(recorder)
        draw(recorder.artifact_path(name), job.dimensions, results, job.objective, caption=caption)
        report.log_plots(recorder, plot_files(name))
