"""Arguments and options that several commands share, declared once, and how the shells complete a value.

The metavar of an argument or option says what its value is, and that is all a command does for completion:

| metavar | completed with | by |
| --- | --- | --- |
| RECIPE | the built-in recipes | the script |
| SOURCE | the built-in recipes and file names | the script |
| FILE, DIR, PATH, INPUT, and any parameter of type Path | file names | the script |
| RUN | last, best, names of runs; ids once a letter is typed | the store |
| EXPERIMENT | experiments | the store |
| NAME | registered models (a name that is being made up is TEXT) | the store |
| VERSION, STAGE | versions and stages of the NAME that is typed already | the store |
| MODEL | registered models, NAME/3, NAME@alias, runs, file names | the store and the script |

An enumeration completes with its values, whatever its metavar.
"""

from __future__ import annotations

from typing import Annotated

import typer

RECIPE_KINDS = frozenset({"RECIPE", "SOURCE"})
FILE_KINDS = frozenset({"SOURCE", "FILE", "DIR", "PATH", "INPUT", "MODEL"})
STORE_KINDS = frozenset({"RUN", "EXPERIMENT", "NAME", "VERSION", "STAGE", "MODEL"})  # cli/complete.py answers

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A recipe's name, a recipe file (./mine.py), or your own data (a .csv, a folder).",
    ),
]
Target = Annotated[str | None, typer.Option(metavar="COLUMN", help="What a table of your own is to predict.")]
Experiment = Annotated[
    str | None,
    typer.Option(
        "--experiment", "-e", metavar="EXPERIMENT", help="The experiment; default: the recipe's name."
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's id or a prefix of it, its name, last, best, or best:METRIC."),
]
RunsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN", help="Runs: ids or prefixes, names, last, best, or best:METRIC."),
]
