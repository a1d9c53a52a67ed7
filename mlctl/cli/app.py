"""The root of the command line: every command, in the order and the panels in which help shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mlctl.cli import boundary, completion, experiments, recipes, runs, server, server_keeping, train
from mlctl.cli.session import answering

app = typer.Typer(
    name="mlctl",
    add_completion=False,  # one way: mlctl completion
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # Typer's would show local values, secrets among them
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

TRAIN, LOOK, SERVER, REST = "Train", "Look", "Tracking server", "The rest"

app.command("train", rich_help_panel=TRAIN)(answering(train.train))
app.add_typer(runs.app, name="runs", rich_help_panel=LOOK)
app.add_typer(experiments.app, name="experiments", rich_help_panel=LOOK)
app.add_typer(recipes.app, name="recipes", rich_help_panel=REST)
app.add_typer(completion.app, name="completion", rich_help_panel=REST)
app.command("server-up", rich_help_panel=SERVER)(answering(server.server_up))
app.command("server-status", rich_help_panel=SERVER)(answering(server.server_status))
app.command("server-logs", rich_help_panel=SERVER)(answering(server.server_logs))
app.command("server-down", rich_help_panel=SERVER)(answering(server.server_down))
app.command("server-backup", rich_help_panel=SERVER)(answering(server_keeping.server_backup))
app.command("server-restore", rich_help_panel=SERVER)(answering(server_keeping.server_restore))
app.command("server-gc", rich_help_panel=SERVER)(answering(server_keeping.server_gc))
app.command("login", rich_help_panel=SERVER)(answering(server.login))


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    """Carry a Keras model through its whole life on MLflow.

    \b
    mlctl train digits                     no data, no network: 30 seconds
    mlctl runs list --sort -test_accuracy  what was tried, best first
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    return boundary.guarded(lambda: app(list(arguments), standalone_mode=False, prog_name="mlctl"), arguments)
