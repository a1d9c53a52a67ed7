"""Shows a rollout on stderr while it runs: a line that is redrawn on a terminal, and one line for each step."""

from __future__ import annotations

from collections.abc import Iterable

from rich.live import Live
from rich.text import Text

from mlctl.domain.endpoint_detail import Rollout
from mlctl.output.messages import console
from mlctl.units import format_duration


def follow_rollout(states: Iterable[Rollout]) -> Rollout:
    """Show each state when it arrives, and return the last one."""
    out = console(stderr=True)
    last = None
    shown = ""
    with Live(
        console=out, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        for last in states:
            if (line := _step(last)) != shown:
                out.print(line)
                shown = line
            if out.is_terminal:
                live.update(Text("" if last.is_over else _progress(last), style="dim"), refresh=True)
    if last is None:
        raise ValueError("no states: the first one must describe the current state")
    return last


def _step(rollout: Rollout) -> str:
    """Return a line that changes with each step."""
    version = f"version {rollout.version}"
    if rollout.status == "starting":
        return f"starting the workers of {version}"
    if rollout.status == "promoting":
        return f"checking the gates of {version}"
    if rollout.is_over:
        return f"{version}: {rollout.status}"
    return f"{version}: {100 * rollout.share:g}% of the requests (step {rollout.step} of {rollout.steps.count(',') + 1})"


def _progress(rollout: Rollout) -> str:
    parts = [f"{rollout.requests:,} requests to version {rollout.version}"]
    if rollout.step_ends_in_s:
        parts.append(f"the step ends in {format_duration(rollout.step_ends_in_s)}")
    elif rollout.waiting_for:
        parts.append(f"the step ends after {rollout.waiting_for} more")
    return ", ".join(parts)
