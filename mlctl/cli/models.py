"""mlctl models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from mlctl import output
from mlctl.cli.common_options import Session
from mlctl.cli.options import AFTER_DRY_RUN, DryRunOption, HtmlOption, ModelArgument, NameArgument, TagOption
from mlctl.cli.parsing import parse_pairs
from mlctl.cli.register import DescriptionOption
from mlctl.errors import UsageError
from mlctl.output.progress import TrainingProgress
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

SliceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        metavar="COLUMN",
        help="Score the test rows by the values of this input column. Can be given several times.",
    ),
]
SetDescriptionOption = Annotated[
    bool, typer.Option("--set-description", help="Make the card the version's description in MLflow.")
]
CardForceOption = Annotated[
    bool,
    typer.Option("--force", help="With --set-description, replace a description that a person has written."),
]

AcceptOption = Annotated[
    bool, typer.Option("--accept", help="Record the changes in the history (this is the default).")
]
RestoreOption = Annotated[
    bool,
    typer.Option(
        "--restore", help="Record the changes, and give each stage back to the version that held it."
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
        f"mlctl models show {quote(answer.models[0].name)}" if answer.models else "mlctl register last NAME"
    )
    session.show(answer, f"next: {next_command}")
    for model in answer.models:
        _warn_of_disagreements(model.name, model.disagreements)


def show(session: Session, name: NameArgument, version: VersionArgument = None) -> None:
    """Show a registered model, or the origin and the inputs of one version.

    \b
    mlctl models show Digits
    mlctl models show Digits 2
    """
    from mlctl.services.registry import models

    answer = models.show_model(session.settings, name, version)
    if version:
        hint = f"next: mlctl serve {quote(f'{name}/{version}')}"
    elif answer.model.versions:
        hint = f"next: mlctl models show {quote(name)} {answer.model.versions[0].version}"
    else:
        hint = f"next: mlctl register last {quote(name)}"
    session.show(answer, hint)
    _warn_of_disagreements(name, answer.model.disagreements)


def diff(session: Session, name: NameArgument, a: FirstVersionArgument, b: SecondVersionArgument) -> None:
    """Show only what differs between two versions.

    \b
    mlctl models diff Digits 1 2
    """
    from mlctl.services.registry import models

    session.show(
        models.diff_versions(session.settings, name, a, b),
        f"next: mlctl promote {quote(name)} {b} Production",
    )


def history(session: Session, name: NameArgument, stage: StageOption = None, at: AtOption = None) -> None:
    """Show who moved which version to which stage, when and why; with --at, the stages at that time.

    \b
    mlctl models history Digits
    mlctl models history Digits --stage Production --at 2026-11-01T12:00
    """
    from mlctl.services.registry import models

    answer = models.model_history(session.settings, name, stage, at)
    session.show(answer, f"next: mlctl models show {quote(name)}")
    _warn_of_disagreements(name, answer.disagreements)


def reconcile(
    session: Session,
    name: NameArgument,
    accept: AcceptOption = False,
    restore: RestoreOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Record in a model's history what another program changed in its stages, or undo it.

    \b
    mlctl models reconcile Digits --dry-run
    mlctl models reconcile Digits
    mlctl models reconcile Digits --restore

    The next promotion or rollback records such changes too. The history names "outside mlctl" as their user.
    """
    from mlctl.services.registry import reconcile as service

    if accept and restore:
        raise UsageError("--accept and --restore exclude each other", "use one of them")
    answer = service.reconcile(session.settings, name, restore=restore, dry_run=dry_run)
    session.show(answer, AFTER_DRY_RUN if dry_run else f"next: mlctl models history {quote(name)}")


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

    session.show(
        models.download_model(session.settings, model, folder), f"next: mlctl serve {quote(str(folder))}"
    )


def card(
    session: Session,
    model: ModelArgument,
    html: HtmlOption = None,
    slice_: SliceOption = None,
    set_description: SetDescriptionOption = False,
    force: CardForceOption = False,
) -> None:
    """Write a model card of a registered version: its data, scores, limits, history and exports, as Markdown.

    \b
    mlctl models card Digits/3
    mlctl models card Digits/3 --html digits.html
    mlctl models card Churn --slice region --set-description

    With --slice, mlctl loads the model and its data, and scores the test rows by the values of a column.
    """
    from mlctl.services.reports import model_card

    if html is not None:
        session.confirm_overwriting(html)
    with TrainingProgress() as listener:
        answer = model_card.make_card(
            session.settings, model, slices=slice_ or (), html=html, listener=listener
        )
    if set_description:
        model_card.save_card(session.settings, answer, force=force)
    session.show(
        answer,
        f"next: open {answer.file} in a browser"
        if answer.file
        else f"next: mlctl models card {quote(f'{answer.name}/{answer.version}')} --html card.html",
    )


def _warn_of_disagreements(name: str, disagreements: Sequence[str]) -> None:
    for message in disagreements:
        output.warn(f"{name}: {message}; mlctl models reconcile {name} records it, and --restore undoes it")
