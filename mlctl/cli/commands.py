"""The table of all commands: the function to call, the panel in the help, and the line of help.

`mlctl --help`, suggestions for typos and completion need the table only. The module of a command is imported
when the command runs or when its own help is shown. Commands appear in the help in the order of the table.

To add a command, write its function in a module of this package and add one line here. The first parameter of the
function is its Session; `with_common_options` adds the options of every command.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from mlctl.cli.options import COMMON

TRAIN = "Train"
INSPECT = "Inspect"
REGISTRY = "Registry"
SERVE = "Serve"
SERVER = "Tracking server"
OTHER = "Other"


OPTIONAL_VALUES = {"--auth": ("basic", "proxy")}  # the first one is meant if none follows


@dataclass(frozen=True)
class CommandEntry:
    """A command or a group of commands.

    `help` is the first paragraph of the command's docstring; a test compares the two. `target` is
    "module:function" below mlctl.cli or, for a group, such a target for each of its commands.
    """

    panel: str
    help: str
    target: str | Mapping[str, str]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets of the command, or of all commands of the group."""
        return (self.target,) if isinstance(self.target, str) else tuple(self.target.values())


COMMANDS: dict[str, CommandEntry] = {
    "train": CommandEntry(
        TRAIN, "Train a recipe or run your own Keras script, and log the model to MLflow.", "train:train"
    ),
    "tune": CommandEntry(
        TRAIN,
        "Search for the best hyperparameters of a recipe or a script and log the best model.",
        "tune:tune",
    ),
    "automl": CommandEntry(
        TRAIN, "Fit several families of models to a table and log a blend of the best.", "automl:automl"
    ),
    "resume": CommandEntry(TRAIN, "Resume a run that was killed, stopped or failed.", "resume:resume"),
    "reproduce": CommandEntry(
        TRAIN, "Train a run again from its record and compare all metrics.", "resume:reproduce"
    ),
    "sync": CommandEntry(
        TRAIN, "Send runs that are recorded on this machine only to the tracking store.", "resume:sync"
    ),
    "data": CommandEntry(
        TRAIN,
        "Check data before training.",
        {"check": "data:check"},
    ),
    "runs": CommandEntry(
        INSPECT,
        "List, show, compare, stop, change and delete runs.",
        {
            "list": "runs.list:list_runs",
            "show": "runs.show:show",
            "diff": "runs.diff:diff",
            "plot": "runs.plot:plot",
            "report": "runs.report:report",
            "watch": "runs.watch:watch",
            "artifacts": "runs.artifacts:artifacts",
            "stop": "runs.stop:stop",
            "tag": "runs.change:tag",
            "rename": "runs.change:rename",
            "copy": "runs.copy:copy",
            "move": "runs.copy:move",
            "delete": "runs.delete:delete",
            "restore": "runs.change:restore",
        },
    ),
    "experiments": CommandEntry(
        INSPECT,
        "List, create, rename, delete and restore experiments.",
        {
            "list": "experiments:list_experiments",
            "create": "experiments:create",
            "rename": "experiments:rename",
            "delete": "experiments:delete",
            "restore": "experiments:restore",
        },
    ),
    "register": CommandEntry(REGISTRY, "Register a model as a new version of a name.", "register:register"),
    "promote": CommandEntry(
        REGISTRY, "Move a model version to a stage if it passes all gates.", "promote:promote"
    ),
    "rollback": CommandEntry(
        REGISTRY, "Give a stage back to the version that held it before.", "rollback:rollback"
    ),
    "models": CommandEntry(
        REGISTRY,
        "List, show, compare, change and delete registered models.",
        {
            "list": "models:list_models",
            "show": "models:show",
            "diff": "models:diff",
            "history": "models:history",
            "card": "models:card",
            "reconcile": "models:reconcile",
            "copy": "models_copy:copy",
            "set": "models:set_",
            "delete": "models:delete",
            "download": "models:download",
        },
    ),
    "webhooks": CommandEntry(
        REGISTRY,
        "List, add, delete and test the webhooks of a tracking server's registry.",
        {
            "list": "webhooks:list_webhooks",
            "add": "webhooks:add",
            "delete": "webhooks:delete",
            "test": "webhooks:test",
        },
    ),
    "serve": CommandEntry(SERVE, "Serve a model over HTTP to MLflow clients.", "serve:serve"),
    "predict": CommandEntry(SERVE, "Predict with a model or an endpoint.", "predict:predict"),
    "evaluate": CommandEntry(
        SERVE, "Score a model on the data of a recipe or on your own data.", "evaluate:evaluate"
    ),
    "endpoints": CommandEntry(
        SERVE,
        "List and stop the endpoints of this machine, and roll new versions out on them.",
        {
            "list": "endpoints:list_endpoints",
            "show": "endpoints:show",
            "logs": "endpoints:logs",
            "rollout": "rollout:rollout",
            "drift": "drift:drift",
            "stop": "endpoints:stop",
        },
    ),
    "keys": CommandEntry(
        SERVE,
        "Create, list and revoke API keys for endpoints.",
        {"new": "keys:new", "list": "keys:list_keys", "revoke": "keys:revoke"},
    ),
    "server-up": CommandEntry(
        SERVER, "Start a tracking server and return when it is healthy.", "server_up:server_up"
    ),
    "server-status": CommandEntry(
        SERVER,
        "Show the process, the database and the contents of a tracking server.",
        "server:server_status",
    ),
    "server-logs": CommandEntry(SERVER, "Print the log of a tracking server.", "server:server_logs"),
    "server-audit": CommandEntry(
        SERVER,
        "Show who changed what on a tracking server, when, and from where.",
        "server_audit:server_audit",
    ),
    "server-down": CommandEntry(SERVER, "Stop a tracking server.", "server:server_down"),
    "server-backup": CommandEntry(
        SERVER,
        "Write the database and the artifacts of a tracking server to one file.",
        "server_maintenance:server_backup",
    ),
    "server-restore": CommandEntry(
        SERVER,
        "Restore a backup into an empty database and an empty bucket or folder.",
        "server_maintenance:server_restore",
    ),
    "server-gc": CommandEntry(
        SERVER, "Free the storage of deleted runs, experiments and models.", "server_maintenance:server_gc"
    ),
    "import": CommandEntry(
        SERVER, "Bring runs and models of another store into this one.", "import_store:import_"
    ),
    "login": CommandEntry(SERVER, "Store your user name and password for a tracking server.", "login:login"),
    "users": CommandEntry(
        SERVER,
        "List and change users, groups and permissions of a tracking server with --auth.",
        {
            "list": "users:list_users",
            "add": "users:add",
            "password": "users:password",
            "delete": "users:delete",
            "grant": "users:grant",
            "revoke": "users:revoke",
        },
    ),
    "tokens": CommandEntry(
        SERVER,
        "Create, list and revoke access tokens for a tracking server with --auth.",
        {"new": "tokens:new", "list": "tokens:list_tokens", "revoke": "tokens:revoke"},
    ),
    "export": CommandEntry(
        SERVER,
        "Write the files that run a tracking server or serve a model elsewhere.",
        {"server": "export_server:server", "model": "export_model:model"},
    ),
    "recipes": CommandEntry(
        OTHER,
        "List, show, copy and check recipes.",
        {
            "list": "recipes:list_recipes",
            "show": "recipes:show",
            "copy": "recipes:copy",
            "check": "recipes:check",
        },
    ),
    "init": CommandEntry(OTHER, "Write the mlctl.toml and the MLproject file of a project.", "init:init"),
    "notify": CommandEntry(OTHER, "Try the receivers of notifications.", {"test": "notify:test"}),
    "doctor": CommandEntry(
        OTHER, "Check versions, settings, servers, disk and memory, and suggest fixes.", "doctor:doctor"
    ),
    "completion": CommandEntry(
        OTHER,
        "Show or install the completion script of a shell.",
        {"show": "completion:show", "install": "completion:install"},
    ),
}


class _PlainHelpOption:
    """Makes the help show `--help` instead of `--help <bool>`, among the options of every command."""

    def get_help_option(self, ctx: Any) -> Any:
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.metavar, option.rich_help_panel = "", COMMON
        return option


class _Command(_PlainHelpOption, TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments; options of OPTIONAL_VALUES may stand without a value."""
        return super().parse_args(ctx, _with_implied_values(args))


def _with_implied_values(args: list[str]) -> list[str]:
    """Return the arguments with the value that an option stands for if none of its values follows."""
    found = []
    for argument, following in zip(args, [*args, ""][1:], strict=True):
        found.append(argument)
        values = OPTIONAL_VALUES.get(argument)
        if values and following not in values:
            found.append(values[0])
    return found


class _Group(_PlainHelpOption, TyperGroup):
    pass


def load_command(name: str) -> Any:
    """Import a command or the commands of a group, and return it as a Typer command or group.

    Raises KeyError if the name is not in the table.
    """
    from mlctl.cli.common_options import with_common_options
    from mlctl.cli.help_layout import arrange

    entry = COMMANDS[name]
    # Typer makes a command only as part of a group
    group = typer.Typer(name=name, cls=_Group, no_args_is_help=True, add_completion=False)
    group.callback(help=entry.help)(_do_nothing)
    targets = {name: entry.target} if isinstance(entry.target, str) else entry.target
    for command_name, target in targets.items():
        module, _, function = target.partition(":")
        command = getattr(importlib.import_module(f"mlctl.cli.{module}"), function)
        group.command(command_name, cls=_Command)(with_common_options(command))
    loaded: Any = typer.main.get_command(group)
    for command in loaded.commands.values():
        command.help = _format_help(command.help)
        arrange(command)
    return loaded.commands[name] if isinstance(entry.target, str) else loaded


def _format_help(docstring: str) -> str:
    """Join the lines of each paragraph, except those of the examples, which begin with click's mark."""
    paragraphs = docstring.replace("\\b\n", "\b\n").split("\n\n")
    return "\n\n".join(
        paragraph.removeprefix("\b\n") if paragraph.startswith("\b\n") else " ".join(paragraph.split())
        for paragraph in paragraphs
    )


def _do_nothing() -> None:
    """Make Typer treat a group of one command as a group."""


class LazyGroup(_Group):
    """The root group: it lists the table, and loads a command when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=entry.help, rich_help_panel=entry.panel)
            for name, entry in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Resolve the name with Typer, suggestions included, and load the command that it names."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest
