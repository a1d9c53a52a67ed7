"""What people and programs are told about a run, through [notify] of mlctl.toml."""

from __future__ import annotations

from mlctl.domain.run import Run
from mlctl.notifications import LOST_WORDS, RUN_LOST, SEARCH_FINISHED, NotifyTarget, notify
from mlctl.settings import mask_passwords

WORDS = {
    RUN_LOST: LOST_WORDS,
    SEARCH_FINISHED: "has finished its search",
}
MAX_METRICS = 5


def tell_about_run(target: NotifyTarget | None, event: str, run: Run, error: str = "") -> None:
    """Tell about a run that has ended."""
    scores = [
        f"{name} {value:.4g}" for name, value in run.metrics.items() if name.startswith(("best_val", "test_"))
    ]
    words = WORDS.get(event, f"has {run.status.lower()}")
    rest = error or ", ".join(scores[:MAX_METRICS])
    notify(
        target,
        event,
        f"run {run.run_name} of {run.experiment} {words}" + (f": {rest}" if rest else ""),
        {
            "run_id": run.run_id,
            "run_name": run.run_name,
            "experiment": run.experiment,
            "status": run.status,
            "metrics": dict(run.metrics),
            "model_uri": run.model_uri,
            "error": error,
            "duration_s": run.duration_s,
            "tracking_uri": mask_passwords(run.tracking_uri),
        },
    )
