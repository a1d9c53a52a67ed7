"""mlctl tune."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mlctl.cli.cluster_options import (
    ClusterOption,
    CpuOption,
    GpuOption,
    MemoryOption,
    StorageOption,
    parse_cluster,
)
from mlctl.cli.common_options import Session
from mlctl.cli.options import (
    AFTER_DRY_RUN,
    EXECUTION,
    LIMITS,
    SCRIPT,
    DataOption,
    DryRunOption,
    EpochsOption,
    ExperimentOption,
    ObjectiveOption,
    Precision,
    PrecisionOption,
    RegisterOption,
    ReportOption,
    RowsOption,
    RunNameOption,
    SeedOption,
    SetOption,
    SourceArgument,
    TagOption,
    TargetOption,
)
from mlctl.cli.parsing import parse_overrides, parse_pairs
from mlctl.cli.script_options import (
    ModuleOption,
    ScriptArguments,
    ScriptOption,
    refuse_arguments,
    script_request,
)
from mlctl.output.next_steps import next_command
from mlctl.output.search_progress import SearchProgress
from mlctl.units import parse_duration

SEARCH = "Search"


class FlagStyle(StrEnum):
    """How a script gets a value: --batch-size 25, --batch-size=25 or --batch_size 25."""

    space = "space"
    equals = "equals"
    underscore = "underscore"


FlagStyleOption = Annotated[
    FlagStyle,
    typer.Option(
        "--flag-style",
        help="How a script gets its values: --batch-size 25, --batch-size=25 or --batch_size 25.",
        rich_help_panel=SCRIPT,
    ),
]


class Algorithm(StrEnum):
    """Search algorithms of KerasTuner."""

    random = "random"
    grid = "grid"
    bayesian = "bayesian"
    hyperband = "hyperband"


AlgorithmOption = Annotated[
    Algorithm, typer.Option("--algorithm", help="Search algorithm.", rich_help_panel=SEARCH)
]
SpaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--space",
        metavar="NAME=VALUES",
        help="Values to search for a hyperparameter, or for a flag of a script: a range with a step (16..64:16), a logarithmic range "
        "(1e-4..1e-1:log), choices (adam|sgd), or one value. Can be given several times "
        "(default: what the recipe declares; a script has no default).",
        rich_help_panel=SEARCH,
    ),
]
TrialsOption = Annotated[
    int,
    typer.Option(
        "--trials",
        min=0,
        help="Maximum number of trials; 0 means 10, or all brackets of hyperband.",
        rich_help_panel=LIMITS,
    ),
]
ExecutionsOption = Annotated[
    int,
    typer.Option(
        "--executions-per-trial",
        min=1,
        help="Train each trial this many times with consecutive seeds, and use the mean score.",
        rich_help_panel=LIMITS,
    ),
]
TimeoutOption = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="Stop the search after this time, such as 90s, 10m or 2h; the final model is trained after it "
        "(default: no limit).",
        rich_help_panel=LIMITS,
    ),
]
StopOption = Annotated[
    str | None,
    typer.Option(
        "--stop",
        metavar="RULE",
        help="Rule that stops unpromising trials early: bandit:slack=0.1,interval=2,delay=1, "
        "bandit:amount=0.02 or median:delay=1 (default: none).",
        rich_help_panel=LIMITS,
    ),
]
FinalistsOption = Annotated[
    int,
    typer.Option(
        "--finalists",
        min=0,
        help="Number of top trials to retrain with early stopping; 0 keeps the best trial's model as it is.",
        rich_help_panel=LIMITS,
    ),
]
MaxFailuresOption = Annotated[
    int,
    typer.Option(
        "--max-failures",
        min=1,
        help="End the search after this many failed trials in a row.",
        rich_help_panel=LIMITS,
    ),
]
ParallelOption = Annotated[
    int,
    typer.Option(
        "--parallel",
        "-P",
        min=0,
        help="Number of trials to run at once; 0 means one per CPU core, or all that a cluster has room for.",
        rich_help_panel=EXECUTION,
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads",
        min=0,
        help="Threads per trial; 0 divides the CPU cores among the trials that run at once.",
        rich_help_panel=EXECUTION,
    ),
]


def tune(
    session: Session,
    source: SourceArgument,
    arguments: ScriptArguments = None,
    target: TargetOption = None,
    data: DataOption = None,
    rows: RowsOption = None,
    algorithm: AlgorithmOption = Algorithm.random,
    space: SpaceOption = None,
    objective: ObjectiveOption = None,
    epochs: EpochsOption = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    precision: PrecisionOption = Precision.auto,
    trials: TrialsOption = 0,
    executions_per_trial: ExecutionsOption = 1,
    timeout: TimeoutOption = None,
    stop: StopOption = None,
    finalists: FinalistsOption = 1,
    max_failures: MaxFailuresOption = 3,
    parallel: ParallelOption = 0,
    threads: ThreadsOption = 0,
    experiment: ExperimentOption = None,
    run_name: RunNameOption = None,
    tag: TagOption = None,
    register: RegisterOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    cluster: ClusterOption = None,
    storage: StorageOption = None,
    cpu: CpuOption = None,
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    module: ModuleOption = False,
    script: ScriptOption = None,
    flag_style: FlagStyleOption = FlagStyle.space,
) -> None:
    """Search for the best hyperparameters of a recipe or a script and log the best model.

    \b
    mlctl tune digits --trials 8
    mlctl tune mnist-mlp --algorithm bayesian --space 'optimizer=rmsprop|adam'
    mlctl tune housing -P 4 --stop bandit:slack=0.1 --space units=2..12:2
    mlctl tune titanic.csv --target Survived --timeout 10m --register Titanic
    mlctl tune train.py --space lr=1e-4..1e-1:log -P 4 -- --epochs 10
    mlctl tune imdb --cluster ray://head:10001 --storage s3://bucket/tuning
    """
    from mlctl.recipes.declares import is_script
    from mlctl.services.tuning.request import TuneRequest
    from mlctl.services.workflows import tune as service

    script_asked = None
    if is_script(source, module=module, script=script):
        script_asked = script_request(
            source,
            arguments,
            module=module,
            refused={
                "--target": target,
                "--data": data,
                "--rows": rows,
                "--set": set_,
                "--precision": None if precision == Precision.auto else precision,
                "--finalists": None if finalists == 1 else finalists,
            },
            epochs=epochs,
            seed=seed,
            run_name=run_name,
            tags=parse_pairs("--tag", tag),
        )
    else:
        is_plain = flag_style == FlagStyle.space
        refuse_arguments(arguments, {"--flag-style": None if is_plain else flag_style})
    request = TuneRequest(
        source=source,
        algorithm=algorithm.value,
        trials=trials,
        executions=executions_per_trial,
        parallel=parallel,
        threads=threads,
        timeout_s=None if timeout is None else parse_duration(timeout),
        overrides=parse_overrides(set_, target=target, epochs=epochs),
        space=parse_pairs("--space", space),
        objective=objective,
        stop=stop,
        finalists=finalists,
        max_failures=max_failures,
        data=data,
        rows=rows,
        seed=seed or 0,
        precision=precision.value,
        run_name=run_name,
        tags=parse_pairs("--tag", tag),
        register=register,
        cluster=parse_cluster(cluster, storage=storage, cpu=cpu, gpu=gpu, memory=memory),
        script=script_asked,
        flag_style=flag_style.value,
    )
    if dry_run:
        session.show(service.plan(session.settings, request), AFTER_DRY_RUN)
        return
    with SearchProgress() as listener:
        search = service.tune(session.settings, request, listener)
    session.show(search, f"next: {next_command(search.run)}")
