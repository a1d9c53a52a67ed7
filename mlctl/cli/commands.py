"""Every command: where it lives, its panel in help, and its one line there.

The table is what lets `mlctl --help`, a typo's suggestion and a completed word do without importing some
twenty-five modules: a command's module is imported when that command is run or its own help is asked for.
Its order is the order in help. A test compares each line with the command's own docstring.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

TRAIN, LOOK, REGISTRY, SERVE, SERVER, REST = "Train", "Look", "Registry", "Serve", "Server", "The rest"


@dataclass(frozen=True)
class Entry:
    """`target` is "module:name" under mlctl.cli: a function that takes a Session first, or a Typer group."""

    target: str
    panel: str
    help: str


COMMANDS: dict[str, Entry] = {
    "train": Entry("train:train", TRAIN, "Train a recipe and log the model to MLflow."),
    "tune": Entry("tune:tune", TRAIN, "Search a recipe's hyperparameters and log the best model."),
    "automl": Entry(
        "automl:automl", TRAIN, "Fit several families of models to a table, and log their blend."
    ),
    "resume": Entry("resume:resume", TRAIN, "Go on with a run that was killed, stopped or failed."),
    "reproduce": Entry(
        "resume:reproduce", TRAIN, "Train a run again from what it recorded, and compare every figure."
    ),
    "sync": Entry(
        "resume:sync", TRAIN, "Send what runs on this machine recorded while a tracking store was away."
    ),
    "runs": Entry("runs:app", LOOK, "Find, show, compare and tidy runs."),
    "experiments": Entry("experiments:app", LOOK, "List experiments."),
    "register": Entry("register:register", REGISTRY, "Register a model as the next version of a name."),
    "promote": Entry("promote:promote", REGISTRY, "Move a version to a stage, where every gate holds."),
    "rollback": Entry("rollback:rollback", REGISTRY, "Give a stage back to the version that held it before."),
    "models": Entry("models:app", REGISTRY, "List, show, compare and tidy registered models."),
    "serve": Entry("serve:serve", SERVE, "Serve a model over HTTP, as any MLflow client expects it."),
    "predict": Entry("predict:predict", SERVE, "Ask a model, or an endpoint, and show the answer."),
    "evaluate": Entry(
        "evaluate:evaluate", SERVE, "Score a model on a recipe's data or your own, beside another one."
    ),
    "endpoints": Entry("endpoints:app", SERVE, "List, read and stop the endpoints of this machine."),
    "keys": Entry("keys:app", SERVE, "Make, list and revoke the API keys of endpoints."),
    "server-up": Entry("server:server_up", SERVER, "Start a tracking server; return when it is healthy."),
    "server-status": Entry(
        "server:server_status", SERVER, "Show how a server is: its process, its database, and what it holds."
    ),
    "server-logs": Entry("server:server_logs", SERVER, "Print a server's log."),
    "server-down": Entry(
        "server:server_down",
        SERVER,
        "Stop a server: gracefully, then firmly; only the process that was started.",
    ),
    "server-backup": Entry(
        "server_keeping:server_backup",
        SERVER,
        "Write a server's database and artifacts to one file, while it is in use.",
    ),
    "server-restore": Entry(
        "server_keeping:server_restore",
        SERVER,
        "Restore a backup into an empty database and an empty bucket or folder, of either kind.",
    ),
    "server-gc": Entry(
        "server_keeping:server_gc",
        SERVER,
        "Free what deleted runs, experiments and models still take, but for what a registered version needs.",
    ),
    "login": Entry(
        "server:login",
        SERVER,
        "Keep your user and password for a server, in a file that only you can read; every command uses them.",
    ),
    "export": Entry("export:app", SERVER, "Write what runs a server or a model somewhere else."),
    "recipes": Entry("recipes:app", REST, "List, show, copy and check what can be trained."),
    "init": Entry(
        "init:init", REST, "Write mlctl.toml and an MLproject, for mlctl and for stock mlflow run."
    ),
    "doctor": Entry(
        "doctor:doctor", REST, "Look at versions, settings, servers, disk and memory, and say what to mend."
    ),
    "completion": Entry("completion:app", REST, "Show or install the completion script of a shell."),
}


def load(name: str) -> Any:
    """Import the command's module and return its Typer command or group.

    Raises KeyError for a name that is not in the table.
    """
    from mlctl.cli.common_options import with_common_options

    entry = COMMANDS[name]
    module, _, attribute = entry.target.partition(":")
    found = getattr(importlib.import_module(f"mlctl.cli.{module}"), attribute)
    holder = typer.Typer()  # a Typer is turned into commands as a whole only
    holder.callback()(_nothing)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(with_common_options(found))
    group: Any = typer.main.get_command(holder)
    return _printable(group.commands[name])


def _printable(command: Any) -> Any:
    """Take click's mark of an example block out of the help: Typer keeps all lines, and prints the mark."""
    command.help = (command.help or "").replace("\b\n", "").replace("\\b\n", "")
    for one in getattr(command, "commands", {}).values():
        _printable(one)
    return command


def _nothing() -> None:
    """Make a holder of one command a group all the same."""


class LazyGroup(TyperGroup):
    """The root: it lists what COMMANDS says, and loads a command when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)
            for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return what Typer resolves, suggestions included, with the command in its line's place."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest
