"""mlctl promote."""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import AFTER_DRY_RUN, DryRunOption, NameArgument
from mlctl.domain.registry import Promotion
from mlctl.output.progress import TrainingProgress

GATES = "Gates"

VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="Version of the registered model, such as 2.")
]
StageArgument = Annotated[
    str,
    typer.Argument(
        metavar="STAGE",
        help="Stage: None, Staging, Production, Archived, or one of your own (stages in mlctl.toml).",
    ),
]
RequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="METRIC>=X",
        help="Value that a metric of the model must reach, such as 'test_accuracy>=0.95'. "
        "Can be given several times.",
        rich_help_panel=GATES,
    ),
]
NoRegressOption = Annotated[
    list[str] | None,
    typer.Option(
        "--no-regress",
        metavar="METRIC[:TOLERANCE]",
        help="Metric that must not be worse than that of the version that holds the stage; the tolerance is a "
        "number or a percentage, such as 0.01 or 2%. Can be given several times.",
        rich_help_panel=GATES,
    ),
]
EvaluateOption = Annotated[
    str | None,
    typer.Option(
        "--evaluate",
        metavar="SOURCE",
        help="Score the version and the holder of the stage now, on the test data of a recipe or on your own data; "
        "the version must not be worse.",
        rich_help_panel=GATES,
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="STAGE", help="Stage that the version must hold now.", rich_help_panel=GATES
    ),
]
SmokeOption = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Require that the model loads and answers its input example.", rich_help_panel=GATES
    ),
]
SkipGatesOption = Annotated[
    bool,
    typer.Option(
        "--skip-gates",
        help="Skip the gates of mlctl.toml; this needs --reason and is recorded.",
        rich_help_panel=GATES,
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, which is recorded.")]


def next_step(answer: Promotion) -> str:
    """Return the hint below a promotion or rollback."""
    if answer.refused:
        return ""
    return AFTER_DRY_RUN if answer.dry_run else f"next: mlctl models history {quote(answer.name)}"


def ask_after(listener: TrainingProgress, session: Session) -> Callable[[str], None]:
    """Return a function that removes the spinner and asks a question."""

    def ask(question: str) -> None:
        listener.pause()
        session.confirm(question)

    return ask


def promote(
    session: Session,
    name: NameArgument,
    version: VersionArgument,
    stage: StageArgument,
    require: RequireOption = None,
    no_regress: NoRegressOption = None,
    evaluate: EvaluateOption = None,
    from_: FromOption = None,
    smoke: SmokeOption = False,
    skip_gates: SkipGatesOption = False,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
) -> None:
    """Move a model version to a stage if it passes all gates.

    \b
    mlctl promote Digits 2 Production --require 'test_accuracy>=0.95' --smoke
    mlctl promote Digits 2 Production --no-regress test_f1:0.005 --from Staging
    mlctl promote Digits 2 Production --evaluate digits --dry-run

    One version holds Staging, Production or a stage of your own. The version that held it before becomes Archived. A
    move that leaves Production empty asks first. Gates that apply to every promotion go into mlctl.toml, into the
    table models.NAME.
    """
    from mlctl.services.registry import promote as service
    from mlctl.services.registry.gates import Gates

    gates = Gates(
        require=tuple(require or ()),
        no_regress=tuple(no_regress or ()),
        evaluate=evaluate,
        from_stage=from_,
        smoke=smoke,
    )
    request = service.PromotionRequest(gates=gates, reason=reason, skip_gates=skip_gates, dry_run=dry_run)
    with TrainingProgress() as listener:
        answer = service.promote(
            session.settings,
            name,
            version,
            stage,
            request,
            confirm=ask_after(listener, session),
            listener=listener,
        )
    session.show(answer, next_step(answer))
    service.require_passed(answer)
