"""How the help shows a command's parameters: plain types, everyday options first, rare ones at the end."""

from __future__ import annotations

from functools import partial
from typing import Any

from mlctl.cli.cluster_options import PANEL as CLUSTER
from mlctl.cli.options import COMMON, RARE, SCRIPT

LAST_PANELS = (SCRIPT, CLUSTER, RARE, COMMON)
RARE_OPTIONS = frozenset(
    {
        "--adopt-artifacts",
        "--allow-signature-change",
        "--allowed-host",
        "--checkpoint-every",
        "--cors-origins",
        "--direct-artifacts",
        "--env-manager",
        "--executions-per-trial",
        "--finalists",
        "--flag-style",
        "--foreground",
        "--insecure",
        "--log-size",
        "--max-body",
        "--max-failures",
        "--max-queue",
        "--migrate-only",
        "--no-featurize",
        "--parent",
        "--precision",
        "--print-env",
        "--region",
        "--rows",
        "--supervise",
        "--threads",
        "--tls-cert",
        "--tls-key",
        "--trusted-proxy",
        "--upgrade-db",
        "--user-header",
    }
)
MAX_WIDTH = 18  # of the choices of an option; longer ones may wrap at blanks
TYPE_NAMES = {"int": "N", "int range": "N", "float": "X", "float range": "X", "str": "TEXT", "path": "PATH"}


def arrange(command: Any) -> None:
    """Arrange the parameters of a Typer command for its help; this changes nothing about parsing."""
    for parameter in command.params:
        parameter.display_type_rich = partial(_type_name, parameter, parameter.display_type_rich)
        parameter._get_number_range_help_str = _no_range  # an error names the bounds
        if parameter.param_type_name == "argument":
            parameter._usage_display_name = partial(_usage_name, parameter)
        elif RARE_OPTIONS & {*parameter.opts}:
            parameter.rich_help_panel = RARE
    command.params.sort(key=_panel_rank)


def _type_name(parameter: Any, typer_name: Any, ctx: Any) -> str | None:
    """Return what follows an option in its row: `N`, `DIR` or `best|last`; nothing for an argument or a flag."""
    if parameter.param_type_name == "argument" or getattr(parameter, "is_flag", False):
        return None
    name = (typer_name(ctx=ctx) or "").removeprefix("<").removesuffix(">")
    return TYPE_NAMES.get(name, name.replace("|", " | ") if len(name) > MAX_WIDTH else name)


def _no_range() -> None:
    return None


def _usage_name(parameter: Any) -> str:
    """Return an argument in the usage line: NAME, NAME... for several, and [NAME] if it may be omitted."""
    name = str(parameter.metavar or parameter.name.upper())
    if name.startswith("["):  # it brings its own form
        return name
    repeated = name if parameter.nargs == 1 else f"{name}..."
    return repeated if parameter.required else f"[{repeated}]"


def _panel_rank(parameter: Any) -> int:
    panel = getattr(parameter, "rich_help_panel", None)
    return LAST_PANELS.index(panel) + 1 if panel in LAST_PANELS else 0
