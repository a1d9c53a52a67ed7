"""mlctl runs tag, rename and restore."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter, RunArgument
from mlctl.cli.parsing import parse_pairs
from mlctl.errors import UsageError

TagsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Tags to set, such as reviewed=yes.")
]
RemoveOption = Annotated[
    list[str] | None,
    typer.Option("--remove", metavar="KEY", help="Tag to remove. Can be given several times."),
]
NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="New name of the run.")]
DeletedRunsArgument = Annotated[
    list[str],
    typer.Argument(metavar="RUN", help="Deleted runs, each by its id, a prefix of it, or its name."),
]


def tag(
    session: Session,
    run: RunArgument,
    tags: TagsArgument = None,
    remove: RemoveOption = None,
    experiment: ExperimentFilter = None,
) -> None:
    """Set and remove tags of a run.

    \b
    mlctl runs tag last reviewed=yes owner=ada
    mlctl runs tag digits-3 --remove reviewed
    """
    from mlctl.services.runs import change

    if not tags and not remove:
        raise UsageError("no tag is given", "example: mlctl runs tag last reviewed=yes")
    answer = change.tag_run(
        session.settings.tracking_uri,
        run,
        tags=parse_pairs("tag", tags),
        remove=remove or (),
        experiment=experiment,
    )
    session.show(answer, f"next: mlctl runs show {shlex.quote(answer.runs[0].run_name)}")


def rename(
    session: Session, run: RunArgument, name: NewNameArgument, experiment: ExperimentFilter = None
) -> None:
    """Give a run another name.

    \b
    mlctl runs rename last baseline
    """
    from mlctl.services.runs import change

    answer = change.rename_run(session.settings.tracking_uri, run, name, experiment=experiment)
    session.show(answer, f"next: mlctl runs show {shlex.quote(name)}")


def restore(session: Session, runs: DeletedRunsArgument) -> None:
    """Restore deleted runs, unless server-gc has removed them.

    \b
    mlctl runs restore 3f2a
    mlctl runs restore digits-3 digits-4

    The models that they logged stay deleted.
    """
    from mlctl.services.runs import change

    answer = change.restore_runs(session.settings.tracking_uri, runs)
    session.show(answer, f"next: mlctl runs show {shlex.quote(answer.runs[0].run_name)}")
