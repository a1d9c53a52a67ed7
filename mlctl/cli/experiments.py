"""mlctl experiments."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.units import count

NameArgument = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Name of an experiment.")]
NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="New name.")]
LocationOption = Annotated[
    str | None,
    typer.Option(
        "--artifact-location",
        metavar="URI",
        help="Folder or bucket of its artifacts (default: the store's own).",
    ),
]


def list_experiments(session: Session) -> None:
    """List the experiments with the number of runs in each.

    \b
    mlctl experiments list
    """
    from mlctl.services.runs import listing

    answer = listing.list_experiments(session.settings.tracking_uri)
    session.show(answer, "next: mlctl runs list --experiment NAME")


def create(session: Session, name: NameArgument, artifact_location: LocationOption = None) -> None:
    """Create an experiment. Commands that train create it themselves, too.

    \b
    mlctl experiments create fraud --artifact-location s3://models/fraud
    """
    from mlctl.services.runs import experiments

    answer = experiments.create_experiment(session.settings.tracking_uri, name, artifact_location)
    session.show(answer, f"next: mlctl train digits --experiment {quote(name)}")


def rename(session: Session, name: NameArgument, new_name: NewNameArgument) -> None:
    """Rename an experiment.

    \b
    mlctl experiments rename fraud fraud-2025
    """
    from mlctl.services.runs import experiments

    answer = experiments.rename_experiment(session.settings.tracking_uri, name, new_name)
    session.show(answer, f"next: mlctl runs list --experiment {quote(new_name)}")


def delete(session: Session, name: NameArgument) -> None:
    """Delete an experiment with its runs.

    \b
    mlctl experiments delete fraud-2025 --yes

    mlctl refuses to delete a run whose model is registered. Deleted experiments can be restored until server-gc runs.
    """
    from mlctl.services.runs import experiments

    _, runs = experiments.plan_deletion(session.settings.tracking_uri, name)
    session.confirm(f"Delete experiment {name} with {count(runs, 'run')}?")
    answer = experiments.delete_experiment(session.settings.tracking_uri, name)
    session.show(answer, f"mlctl experiments restore {quote(name)} restores it")


def restore(session: Session, name: NameArgument) -> None:
    """Restore a deleted experiment, by its name or id, with its runs.

    \b
    mlctl experiments restore fraud-2025
    """
    from mlctl.services.runs import experiments

    answer = experiments.restore_experiment(session.settings.tracking_uri, name)
    session.show(answer, f"next: mlctl runs list --experiment {quote(answer.name)}")
