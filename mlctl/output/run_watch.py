"""Shows a run while it trains: redrawn on a terminal, one plain line per epoch elsewhere."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlctl.domain.run_queries import RunSnapshot
from mlctl.domain.tags import RUNNING_EPOCH_TAG
from mlctl.domain.tune import STOPPED
from mlctl.output.messages import console, warn
from mlctl.output.search_progress import trial_line, trials_table
from mlctl.output.text import format_age, format_number, sparkline
from mlctl.output.views.runs import status_text

MAX_ENDED_TRIALS = 12  # shown at once, because a terminal has a limited height
UNREACHABLE = "the tracking store does not answer; waiting for it"


def follow(snapshots: Iterable[RunSnapshot], quiet: bool = False) -> RunSnapshot:
    """Show each snapshot when it arrives, and return the last one; `quiet` shows nothing."""
    if quiet:
        last = next(iter(deque(snapshots, maxlen=1)), None)
    elif console().is_terminal:
        last = _redraw(snapshots)
    else:
        last = _print_lines(snapshots)
    if last is None:
        raise ValueError("no snapshots: the first one must describe the current state")
    return last


def _redraw(snapshots: Iterable[RunSnapshot]) -> RunSnapshot | None:
    last = None
    with Live(console=console(), auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        for last in snapshots:
            live.update(_panel(last), refresh=True)
    return last


def _panel(snapshot: RunSnapshot) -> Group:
    run = snapshot.run
    progress = f"  {_progress(snapshot)}  started {format_age(run.started_at)}"
    parts: list[RenderableType] = [Text.assemble((run.run_name, "bold"), "  ", status_text(run), progress)]
    if snapshot.best is not None and snapshot.objective is not None:
        metric, best = snapshot.objective.metric, snapshot.best
        value = format_number(best.metrics[metric])
        parts.append(Text.assemble(f"best {metric} ", (value, "bold green"), f" in epoch {best.number}"))
    if snapshot.store_unreachable:
        parts.append(Text(UNREACHABLE, style="yellow"))
    if text := _running_epoch(snapshot):
        parts.append(Text(text))
    parts += _trials(snapshot)
    if snapshot.points:
        parts.append(_metrics(snapshot))
    elif not snapshot.search:
        parts.append(Text("no metrics yet", style="dim"))
    return Group(*parts)


def _metrics(snapshot: RunSnapshot) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("metric", no_wrap=True)
    table.add_column("now", justify="right", no_wrap=True)
    table.add_column("by epoch", no_wrap=True)
    objective = snapshot.objective.metric if snapshot.objective else ""
    for name in sorted(
        snapshot.points, key=lambda name: (name != objective, not name.startswith("val_"), name)
    ):
        values = [value for _, value in snapshot.points[name]]
        table.add_row(name, format_number(values[-1]) if values else "", sparkline(values))
    return table


def _trials(snapshot: RunSnapshot) -> list[RenderableType]:
    """Return a line for each ended trial of a search, and the table of the running trials."""
    search = snapshot.search
    if search is None:
        return []
    best = search.best
    ended = search.ended_trials
    width = console().width
    lines = [trial_line(trial, is_best=trial is best, width=width) for trial in ended[-MAX_ENDED_TRIALS:]]
    if snapshot.ended:
        return list(lines)
    started_at = snapshot.run.started_at
    table = trials_table(
        search.running,
        objective=search.objective,
        total=search.total,
        finished=len(ended),
        stopped=sum(trial.state == STOPPED for trial in ended),
        best=best.score if best else None,
        elapsed_s=(datetime.now(UTC) - started_at).total_seconds() if started_at else 0.0,
    )
    return [*lines, table]


def _progress(snapshot: RunSnapshot) -> str:
    step = _last_step(snapshot)
    epochs = snapshot.run.params.get("epochs")
    return f"epoch {step}/{epochs}" if epochs else f"step {step}"


def _running_epoch(snapshot: RunSnapshot) -> str:
    """Return how far a long epoch is; "" if it has ended since, or the run has."""
    text = snapshot.run.tags.get(RUNNING_EPOCH_TAG, "")
    running = re.match(r"epoch (\d+)/", text)
    is_current = running is not None and int(running[1]) > _last_step(snapshot)
    return text if is_current and not snapshot.ended else ""


def _last_step(snapshot: RunSnapshot) -> int:
    return max((points[-1][0] for points in snapshot.points.values() if points), default=0)


def _print_lines(snapshots: Iterable[RunSnapshot]) -> RunSnapshot | None:
    printed_steps: set[int] = set()
    printed_trials: set[str] = set()
    last = None
    for last in snapshots:
        if last.store_unreachable:
            warn(UNREACHABLE)
        for trial in last.search.ended_trials if last.search else ():
            if trial.trial not in printed_trials:
                printed_trials.add(trial.trial)
                print(trial_line(trial, is_best=False).plain, flush=True)
        by_step: dict[int, dict[str, float]] = {}
        for name, points in last.points.items():
            for step, value in points:
                by_step.setdefault(step, {})[name] = value
        epochs = last.run.params.get("epochs")
        metric_count = max((len(values) for values in by_step.values()), default=0)
        for step in sorted(set(by_step) - printed_steps):
            # the newest epoch may still be incomplete: print it when the next snapshot has all its metrics
            if len(by_step[step]) < metric_count and step == max(by_step) and not last.ended:
                continue
            printed_steps.add(step)
            values = "  ".join(
                f"{name} {format_number(value)}" for name, value in sorted(by_step[step].items())
            )
            print(f"epoch {step}{f'/{epochs}' if epochs else ''}  {values}", flush=True)
    if last is not None:
        print(f"{last.run.run_name} {last.run.status}", flush=True)
    return last
