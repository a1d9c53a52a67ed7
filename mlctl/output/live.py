"""A run that is followed: redrawn on a terminal, one plain line an epoch elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from mlctl.domain.run_queries import Snapshot
from mlctl.domain.tune import STOPPED
from mlctl.output.render import console, number, warn
from mlctl.output.search import trial_line, trials_table
from mlctl.output.views.runs import status
from mlctl.output.words import ago, sparkline

SHOWN = 12  # trials that have ended: a terminal is not endlessly high


def follow(snapshots: Iterable[Snapshot], quiet: bool = False) -> Snapshot:
    """Show each snapshot as it comes and return the last; `quiet` shows nothing, for a document to come."""
    last = None
    if quiet:
        *_, last = snapshots
    elif console().is_terminal:
        last = _redrawn(snapshots)
    else:
        last = _lines(snapshots)
    if last is None:
        raise ValueError("following a run always begins with how it is now")
    return last


def _redrawn(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    last = None
    with Live(console=console(), auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        for last in snapshots:
            live.update(_panel(last), refresh=True)
    return last


def _panel(now: Snapshot) -> Group:
    head = Text.assemble(
        (now.run.run_name, "bold"),
        "  ",
        status(now.run),
        f"  {_progress(now)}  started {ago(now.run.started_at)}",
    )
    table = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title, justify in (("metric", "left"), ("now", "right"), ("by epoch", "left")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name, points in sorted(
        now.points.items(), key=lambda item: (not item[0].startswith("val_"), item[0])
    ):
        values = [value for _, value in points]
        table.add_row(name, number(values[-1]) if values else "", sparkline(values))
    away = [Text("the tracking store does not answer; waiting for it", style="yellow")] if now.away else []
    empty = [] if now.search else [Text("no metrics yet", style="dim")]
    return Group(head, *away, *_trials(now), *([table] if now.points else empty))


def _trials(now: Snapshot) -> list[RenderableType]:
    """Return a search's trials: those that ended, a line each, above the table of those that run."""
    search = now.search
    if search is None:
        return []
    lines = [trial_line(one, one is search.best) for one in search.ended[-SHOWN:]]
    if now.ended:
        return list(lines)
    start = now.run.started_at
    spent = (datetime.now(UTC) - start).total_seconds() if start else 0.0
    best = search.best.score if search.best else None
    stopped = sum(one.state == STOPPED for one in search.ended)
    table = trials_table(
        search.objective, search.total, search.running, len(search.ended), stopped, best, spent
    )
    return [*lines, table]


def _progress(now: Snapshot) -> str:
    done = max((points[-1][0] for points in now.points.values() if points), default=0)
    of = now.run.params.get("epochs")
    return f"epoch {done}/{of}" if of else f"step {done}"


def _lines(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    told: set[int] = set()
    seen: set[str] = set()
    last = None
    for last in snapshots:
        if last.away:
            warn("the tracking store does not answer; waiting for it")
        for trial in last.search.ended if last.search else ():
            if trial.trial not in seen:
                seen.add(trial.trial)
                print(trial_line(trial, best=False).plain, flush=True)
        by_step: dict[int, dict[str, float]] = {}
        for name, points in last.points.items():
            for step, value in points:
                by_step.setdefault(step, {})[name] = value
        of = last.run.params.get("epochs")
        usual = max((len(values) for values in by_step.values()), default=0)
        for step in sorted(set(by_step) - told):
            # an epoch that is still being written waits for the next look
            if len(by_step[step]) < usual and step == max(by_step) and not last.ended:
                continue
            told.add(step)
            figures = "  ".join(f"{name} {number(value)}" for name, value in sorted(by_step[step].items()))
            print(f"epoch {step}{f'/{of}' if of else ''}  {figures}", flush=True)
    if last is not None:
        print(f"{last.run.run_name} {last.run.status}", flush=True)
    return last
