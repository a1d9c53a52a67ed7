"""mlctl models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ModelArgument, NameArgument, TagOption
from mlctl.cli.parsing import parse_pairs
from mlctl.cli.register import DescriptionOption
from mlctl.units import count

VersionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION", help="Version of the model, such as 2 (default: the model as a whole)."
    ),
]
FirstVersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="First version.")]
SecondVersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="Second version.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the model's files.")]
StageOption = Annotated[
    str | None,
    typer.Option("--stage", metavar="STAGE", help="Show changes of this stage only (default: all stages)."),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="Show the state at this time, such as 2026-11-01T12:00. A time without a zone is local; a date "
        "without a time means the end of that day (default: now).",
    ),
]


def list_models(session: Session) -> None:
    """List registered models with their versions, stages and metrics.

    \b
    mlctl models list
    mlctl models list -o json
    """
    from mlctl.services.registry import models

    answer = models.list_models(session.settings)
    next_command = (
        f"mlctl models show {answer.models[0].name}" if answer.models else "mlctl register last NAME"
    )
    session.show(answer, f"next: {next_command}")


def show(session: Session, name: NameArgument, version: VersionArgument = None) -> None:
    """Show a registered model, or the origin and the inputs of one version.

    \b
    mlctl models show Digits
    mlctl models show Digits 2
    """
    from mlctl.services.registry import models

    answer = models.show_model(session.settings, name, version)
    if version:
        hint = f"next: mlctl serve {name}/{version}"
    elif answer.model.versions:
        hint = f"next: mlctl models show {name} {answer.model.versions[0].version}"
    else:
        hint = f"next: mlctl register last {name}"
    session.show(answer, hint)


def diff(session: Session, name: NameArgument, a: FirstVersionArgument, b: SecondVersionArgument) -> None:
    """Show only what differs between two versions.

    \b
    mlctl models diff Digits 1 2
    """
    from mlctl.services.registry import models

    session.show(
        models.diff_versions(session.settings, name, a, b), f"next: mlctl promote {name} {b} Production"
    )


def history(session: Session, name: NameArgument, stage: StageOption = None, at: AtOption = None) -> None:
    """Show who moved which version to which stage, when and why; with --at, the stages at that time.

    \b
    mlctl models history Digits
    mlctl models history Digits --stage Production --at 2026-11-01T12:00
    """
    from mlctl.services.registry import models

    session.show(models.model_history(session.settings, name, stage, at), f"next: mlctl models show {name}")


def set_(
    session: Session,
    name: NameArgument,
    version: VersionArgument = None,
    description: DescriptionOption = None,
    tag: TagOption = None,
) -> None:
    """Set the description and tags of a registered model or of one version.

    \b
    mlctl models set Digits --description "handwritten digits"
    mlctl models set Digits 2 --tag reviewed=yes
    """
    from mlctl.services.registry import models, register

    register.annotate_model(
        session.settings, name, version=version, description=description, tags=parse_pairs("--tag", tag)
    )
    session.show(models.show_model(session.settings, name, version))


def delete(session: Session, name: NameArgument, version: VersionArgument = None) -> None:
    """Delete a version, or a registered model with all versions and its history.

    \b
    mlctl models delete Digits 1
    mlctl models delete Digits --yes

    mlctl refuses to delete a version that holds a stage. Runs and their models are kept.
    """
    from mlctl.services.registry import models

    found = models.plan_deletion(session.settings, name, version)
    what = f"version {version}" if version else f"{count(len(found.versions), 'version')} and the history"
    session.confirm(f"Delete {what} of {name}?")
    session.show(models.delete_model(session.settings, name, version), "next: mlctl models list")


def download(session: Session, model: ModelArgument, folder: FolderArgument) -> None:
    """Copy a model's folder to this machine.

    \b
    mlctl models download Digits ./digits-model
    mlctl models download Digits/2 ./digits-2
    """
    from mlctl.services.registry import models

    session.show(models.download_model(session.settings, model, folder), f"next: mlctl serve {folder}")
