"""mlctl promote."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session

GATES = "What must hold"

Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered model.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.")]
Stage = Annotated[
    str,
    typer.Argument(
        metavar="STAGE", help="None, Staging, Production, Archived, or one of your own (mlctl.toml: stages)."
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC>=X",
        help="What the kept model must have reached; repeatable.",
        rich_help_panel=GATES,
    ),
]
NoRegress = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC[:TOLERANCE]",
        help="Not worse than the version that holds the stage; repeatable. Tolerance: 0.01, or 2%.",
        rich_help_panel=GATES,
    ),
]
Evaluate = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Score it and the holder now, on this recipe's test data or your own; not worse.",
        rich_help_panel=GATES,
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="STAGE", help="It must hold this stage.", rich_help_panel=GATES),
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke", metavar="", help="It must load and answer its input example.", rich_help_panel=GATES
    ),
]
SkipGates = Annotated[
    bool,
    typer.Option(
        "--skip-gates",
        metavar="",
        help="Leave out the gates of mlctl.toml; wants --reason, and is recorded.",
        rich_help_panel=GATES,
    ),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the history.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", metavar="", help="Make the checks, and change nothing.")
]


def promote(
    session: Session,
    name: Name,
    version: Version,
    stage: Stage,
    require: Require = None,
    no_regress: NoRegress = None,
    evaluate: Evaluate = None,
    from_: From = None,
    smoke: Smoke = False,
    skip_gates: SkipGates = False,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    r"""Move a version to a stage, where every gate holds.

    \b
    mlctl promote Digits 2 Production --require 'test_accuracy>=0.95' --no-regress test_f1:0.005
    mlctl promote Digits 2 Production --from Staging --smoke --reason "a week in staging"
    mlctl promote Digits 2 Production --evaluate digits -n

    One version holds Staging, Production or a stage of your own; the one that held it becomes Archived.
    Gates that are always to hold go into mlctl.toml, under \\[models.NAME].
    """
    from mlctl.output.progress import TrainingView
    from mlctl.services.registry import promote as service
    from mlctl.services.registry.gates import Gates

    typed = Gates(tuple(require or ()), tuple(no_regress or ()), evaluate, from_, smoke)
    asked = service.PromotionRequest(typed, reason, skip_gates, dry_run)
    with TrainingView() as listener:
        answer = service.promote(session.settings, name, version, stage, asked, listener)
    session.show(answer, "" if answer.refused else f"next: mlctl models history {name}")
    service.insist(answer)
