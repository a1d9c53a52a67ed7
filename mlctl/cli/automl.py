"""mlctl automl."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import Experiment, SourceArgument, Target
from mlctl.cli.train import Data, Register, Rows, RunName, Seed, Tag

WHAT, LONG = "What is tried", "How long"

Metric = Annotated[
    str | None,
    typer.Option(
        metavar="METRIC",
        help="mae, rmse, normalized_root_mean_squared_error, r2, accuracy, precision, recall, f1, auc, log_loss.",
        rich_help_panel=WHAT,
    ),
]
Families = Annotated[
    str | None,
    typer.Option(
        metavar="FAMILY,…",
        help="Of lightgbm, extratrees, histgradient, linear, network; default: all.",
        rich_help_panel=WHAT,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A value of the recipe, or a family's: lightgbm.num_leaves=63; repeatable.",
        rich_help_panel=WHAT,
    ),
]
NoFeaturize = Annotated[
    bool,
    typer.Option(
        "--no-featurize", help="Take columns as they are: no ratios, no places.", rich_help_panel=WHAT
    ),
]
Timeout = Annotated[
    str, typer.Option(metavar="60s", help="End after so long: 90s, 10m, 2h.", rich_help_panel=LONG)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show what would be tried.", rich_help_panel=LONG)
]


def automl(
    session: Session,
    source: SourceArgument,
    target: Target = None,
    metric: Metric = None,
    families: Families = None,
    set_: Set = None,
    no_featurize: NoFeaturize = False,
    data: Data = None,
    rows: Rows = None,
    timeout: Timeout = "60s",
    seed: Seed = 0,
    experiment: Experiment = None,
    run_name: RunName = None,
    tag: Tag = None,
    register: Register = None,
    dry_run: DryRun = False,
) -> None:
    """Fit several families of models to a table, and log their blend.

    \b
    mlctl automl housing --timeout 60s
    mlctl automl titanic.csv --target Survived --metric auc
    mlctl automl prices.parquet --target price --timeout 5m --families lightgbm,linear
    mlctl automl housing --set lightgbm.num_leaves=63 --register Housing
    """
    from mlctl.cli.values import pairs, seconds
    from mlctl.output.search import SearchView
    from mlctl.services.workflows import automl as service

    given = {**pairs("--set", set_), **({} if target is None else {"target": target})}
    request = service.AutomlRequest(
        source, seconds(timeout), metric, families, given, not no_featurize, data, rows, seed, run_name,
        pairs("--tag", tag), register,
    )  # fmt: skip
    if dry_run:
        session.show(service.plan(session.settings, request), f"next: mlctl automl {source} …, without -n")
        return
    with SearchView("model", "rounds") as view:
        found = service.automl(session.settings, request, view)
    session.show(found, f"next: {found.run.next_command}")
