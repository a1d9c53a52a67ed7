"""mlctl runs: one file a command."""

from __future__ import annotations

import typer

from mlctl.cli.common_options import with_common_options
from mlctl.cli.runs import artifacts, delete, diff, plot, show, watch
from mlctl.cli.runs import list as list_command

app = typer.Typer(no_args_is_help=True, help="Find, show, compare and tidy runs.")

app.command("list")(with_common_options(list_command.list_runs))
app.command("show")(with_common_options(show.show))
app.command("diff")(with_common_options(diff.diff))
app.command("plot")(with_common_options(plot.plot))
app.command("watch")(with_common_options(watch.watch))
app.command("artifacts")(with_common_options(artifacts.artifacts))
app.command("delete")(with_common_options(delete.delete))
