"""mlctl models copy."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ModelArgument
from mlctl.cli.promote import ReasonOption
from mlctl.output.progress import TrainingProgress

ToUriOption = Annotated[
    str, typer.Option("--to-uri", metavar="URI", help="Tracking URI of the other server or database.")
]
StageOption = Annotated[
    str | None,
    typer.Option(
        "--stage", metavar="STAGE", help="Promote the copy to this stage there, if it passes all gates."
    ),
]


def copy(
    session: Session,
    model: ModelArgument,
    to_uri: ToUriOption,
    stage: StageOption = None,
    reason: ReasonOption = "",
) -> None:
    """Copy a version to another server, and promote it there.

    \b
    mlctl models copy Digits/3 --to-uri https://mlflow.example.com --stage Staging

    The gates of mlctl.toml apply, against the versions and the history of the other server.
    """
    from mlctl.services.registry import copy_version
    from mlctl.services.registry.promote import require_passed

    with TrainingProgress() as listener:
        copied, promotion = copy_version.copy_version(
            session.settings, model, to_uri, stage=stage, reason=reason, listener=listener
        )
    session.show(
        promotion or copied, f"next: mlctl models show {copied.name} --tracking-uri {copied.tracking_uri}"
    )
    if promotion:
        require_passed(promotion)
