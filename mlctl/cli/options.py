"""Arguments and options that several commands share, and how the shells complete their values.

The same option has the same name, form and default in every command, so it is declared once.

The metavar of an argument or option says what its value is. Completion follows from it:

| metavar | completed with | source |
| --- | --- | --- |
| RECIPE | built-in recipes | completion script |
| SOURCE | built-in recipes and file names | completion script |
| FILE, DIR, PATH, INPUT, and any parameter of type Path | file names | completion script |
| RUN | last, best, run names; run ids after the first letter | tracking store |
| EXPERIMENT | experiments | tracking store |
| NAME | registered models | tracking store |
| METRIC, METRIC>=X, METRIC[:TOLERANCE], DIRECTION:METRIC | metrics of the newest runs | tracking store |
| FIELD,… | metrics, params and attributes of the newest runs | tracking store |
| NAME=VALUE, NAME=VALUES | hyperparameters of the SOURCE on the command line, flags of a script | files |
| ENDPOINT, SERVER, OWNER | endpoints, servers and API keys of this machine | state folder |
| VERSION, STAGE | versions and stages of the NAME on the command line | tracking store |
| MODEL | registered models, NAME/3, NAME@alias, runs, file names | tracking store and completion script |

An enumeration completes with its values, whatever its metavar is.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

RECIPE_KINDS = frozenset({"RECIPE", "SOURCE"})
FILE_KINDS = frozenset({"SOURCE", "FILE", "DIR", "PATH", "INPUT", "MODEL"})
STORE_KINDS = {  # metavar -> kind of completion_values.py
    **{kind: kind for kind in ("RUN", "EXPERIMENT", "NAME", "VERSION", "STAGE", "MODEL", "METRIC")},
    "METRIC>=X": "METRIC",
    "METRIC[:TOLERANCE]": "METRIC",
    "DIRECTION:METRIC": "OBJECTIVE",
    "FIELD,…": "FIELD",
    "NAME=VALUE": "SETTING",
    "NAME=VALUES": "SPACE",
    "ENDPOINT": "ENDPOINT",
    "SERVER": "SERVER",
    "OWNER": "OWNER",
}

# panels of the help
DATA = "Data"
TRAINING = "Training"
SCRIPT = "Scripts"
LIMITS = "Limits"
EXECUTION = "Execution"
RECORDING = "Recording"
NETWORK = "Network and access"
RARE = "Rarely needed"  # see help_layout.py
COMMON = "Common options"  # of every command


class Precision(StrEnum):
    """Arithmetic of the training; the logged model is float32 in any case."""

    auto = "auto"
    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"


# data

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A recipe's name, a recipe file or a script (./mine.py), or your own data (a table or a folder).",
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="Column to predict, if SOURCE is your own table.",
        rich_help_panel=DATA,
    ),
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write a page to this file, .html.")
]
ValidationOption = Annotated[
    str | None,
    typer.Option(
        "--validation",
        metavar="FILE",
        help="File with the validation rows, if SOURCE is your own table (default: some of its rows).",
        rich_help_panel=DATA,
    ),
]
TestOption = Annotated[
    str | None,
    typer.Option(
        "--test",
        metavar="FILE",
        help="File with the test rows, if SOURCE is your own table (default: some of its rows).",
        rich_help_panel=DATA,
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Data to use instead of the recipe's own: a file, a folder, s3://… or synthetic.",
        rich_help_panel=DATA,
    ),
]
RowsOption = Annotated[
    int | None,
    typer.Option(
        "--rows", min=100, help="Number of rows to generate, for synthetic data.", rich_help_panel=DATA
    ),
]

# training

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a value that mlctl recipes show lists, such as units=64. Can be given several times.",
        rich_help_panel=TRAINING,
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        help="Maximum number of passes over the training data (default: the recipe's).",
        rich_help_panel=TRAINING,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        help="Seed of everything random, such as weights, order and dropout (default: 0; a script keeps its own).",
        rich_help_panel=TRAINING,
    ),
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="DIRECTION:METRIC",
        help="Metric to optimize, such as min:val_mae or max:val_f1 (default: the recipe's; a script's min:val_loss).",
        rich_help_panel=TRAINING,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Arithmetic of the training; auto uses bfloat16 if it is faster and safe.",
        rich_help_panel=TRAINING,
    ),
]

# recording

ExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        "-e",
        metavar="EXPERIMENT",
        help="Experiment to record the run in (default: the recipe's name).",
        rich_help_panel=RECORDING,
    ),
]
RunNameOption = Annotated[
    str | None,
    typer.Option(
        "--run-name", metavar="TEXT", help="Name of the run (default: generated).", rich_help_panel=RECORDING
    ),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="KEY=VALUE",
        help="Set a tag, such as team=vision. Can be given several times.",
        rich_help_panel=RECORDING,
    ),
]
ReportOption = Annotated[
    bool | None,
    typer.Option(
        "--report/--no-report",
        help="Log a report of the run as its artifact report.html (default: as in mlctl.toml, else no).",
        rich_help_panel=RECORDING,
        show_default=False,
    ),
]
RegisterOption = Annotated[
    str | None,
    typer.Option(
        "--register",
        metavar="NAME",
        help="Register the model as a new version of this name.",
        rich_help_panel=RECORDING,
    ),
]

# runs and models

RUN_HELP = "id or unique prefix, name, last, best, or best:METRIC"

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=f"The run: {RUN_HELP}.")]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN", help=f"One or more runs, each by {RUN_HELP}.")
]
ExperimentFilter = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        "-e",
        metavar="EXPERIMENT",
        help="Consider the runs of this experiment only (default: all experiments).",
    ),
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="The model: NAME (its Production version), NAME/3, NAME@alias, a run, a URI or a folder.",
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a registered model.")]

# network and access

HostOption = Annotated[
    str, typer.Option("--host", metavar="HOST", help="Address to listen on.", rich_help_panel=NETWORK)
]
PortOption = Annotated[
    int,
    typer.Option(
        "--port", min=0, max=65535, help="Port to listen on; 0 chooses a free port.", rich_help_panel=NETWORK
    ),
]
AllowedHostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-host",
        metavar="HOST",
        help="Host name under which clients may send requests. Can be given several times.",
        rich_help_panel=NETWORK,
    ),
]
InsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Listen on an address that other machines can reach without asking clients who they are.",
        rich_help_panel=NETWORK,
    ),
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate (PEM).", rich_help_panel=NETWORK
    ),
]
TlsKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-key", metavar="FILE", help="Private key of the certificate (PEM).", rich_help_panel=NETWORK
    ),
]
StaticPrefixOption = Annotated[
    str,
    typer.Option(
        "--static-prefix",
        metavar="PATH",
        help="Path below which clients reach the server, such as /mlflow.",
        rich_help_panel=NETWORK,
    ),
]
MetricsOption = Annotated[
    bool,
    typer.Option(
        "--metrics/--no-metrics", help="Expose Prometheus metrics at /metrics.", rich_help_panel=EXECUTION
    ),
]

# logs

LinesOption = Annotated[int, typer.Option("--lines", min=0, help="Number of lines from the end of the log.")]
FollowOption = Annotated[
    bool, typer.Option("--follow", "-f", help="Keep printing new lines until the process ends.")
]

# changes

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show what would be done, and change nothing.")
]
AFTER_DRY_RUN = "next: the same command without --dry-run"
