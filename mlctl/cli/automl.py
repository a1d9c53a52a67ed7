"""mlctl automl."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import (
    AFTER_DRY_RUN,
    LIMITS,
    TRAINING,
    DataOption,
    DryRunOption,
    ExperimentOption,
    RegisterOption,
    ReportOption,
    RowsOption,
    RunNameOption,
    SeedOption,
    SetOption,
    SourceArgument,
    TagOption,
    TargetOption,
    TestOption,
    ValidationOption,
)
from mlctl.cli.parsing import parse_overrides, parse_pairs
from mlctl.domain.automl import CLASS_METRICS, REGRESSION_METRICS
from mlctl.output.next_steps import next_command
from mlctl.output.search_progress import SearchProgress
from mlctl.units import parse_duration


def _metric_names() -> list[str]:
    return [*REGRESSION_METRICS, *CLASS_METRICS]


MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        "-m",
        metavar="METRIC",
        autocompletion=_metric_names,
        help="Metric to optimize: mae, rmse, normalized_root_mean_squared_error or r2 for numbers; accuracy, "
        "precision, recall, f1, auc or log_loss for classes (default: the recipe's).",
        rich_help_panel=TRAINING,
    ),
]
FamiliesOption = Annotated[
    str | None,
    typer.Option(
        "--families",
        metavar="FAMILY,…",
        help="Families of models to fit, separated by commas: lightgbm, extratrees, histgradient, linear, "
        "network (default: all).",
        rich_help_panel=TRAINING,
    ),
]
NoFeaturizeOption = Annotated[
    bool,
    typer.Option(
        "--no-featurize",
        help="Use the columns of the table only: no ratios of columns, no distances from places.",
        rich_help_panel=TRAINING,
    ),
]
TimeoutOption = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="End after this time, such as 90s, 10m or 2h.",
        rich_help_panel=LIMITS,
    ),
]


def automl(
    session: Session,
    source: SourceArgument,
    target: TargetOption = None,
    validation: ValidationOption = None,
    test: TestOption = None,
    data: DataOption = None,
    rows: RowsOption = None,
    metric: MetricOption = None,
    families: FamiliesOption = None,
    set_: SetOption = None,
    no_featurize: NoFeaturizeOption = False,
    seed: SeedOption = None,
    timeout: TimeoutOption = "60s",
    experiment: ExperimentOption = None,
    run_name: RunNameOption = None,
    tag: TagOption = None,
    register: RegisterOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Fit several families of models to a table and log a blend of the best.

    \b
    mlctl automl housing --timeout 60s
    mlctl automl titanic.csv --target Survived --metric auc
    mlctl automl prices.parquet --target price --families lightgbm,linear
    mlctl automl housing --set lightgbm.num_leaves=63 --register Housing

    --set also sets a hyperparameter of a family, such as lightgbm.num_leaves.
    """
    from mlctl.services.automl.request import AutomlRequest
    from mlctl.services.workflows import automl as service

    request = AutomlRequest(
        source=source,
        timeout_s=parse_duration(timeout),
        metric=metric,
        families=families,
        overrides=parse_overrides(set_, target=target, validation=validation, test=test),
        featurize=not no_featurize,
        data=data,
        rows=rows,
        seed=seed or 0,
        run_name=run_name,
        tags=parse_pairs("--tag", tag),
        register=register,
    )
    if dry_run:
        session.show(service.plan(session.settings, request), AFTER_DRY_RUN)
        return
    with SearchProgress("model", "rounds") as listener:
        answer = service.automl(session.settings, request, listener)
    session.show(answer, f"next: {next_command(answer.run)}")
