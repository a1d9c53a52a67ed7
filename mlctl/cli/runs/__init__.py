"""mlctl runs: one file a command."""

from __future__ import annotations

import typer

from mlctl.cli.common_options import answering
from mlctl.cli.runs import artifacts, delete, diff, plot, show, watch
from mlctl.cli.runs import list as list_command

app = typer.Typer(no_args_is_help=True, help="Find, show, compare and tidy runs.")

app.command("list")(answering(list_command.list_runs))
app.command("show")(answering(show.show))
app.command("diff")(answering(diff.diff))
app.command("plot")(answering(plot.plot))
app.command("watch")(answering(watch.watch))
app.command("artifacts")(answering(artifacts.artifacts))
app.command("delete")(answering(delete.delete))
