"""mlctl server-backup, server-restore and server-gc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl import output
from mlctl.cli.common_options import Session
from mlctl.cli.options import AFTER_DRY_RUN, DryRunOption
from mlctl.cli.server_options import CreateBucketOption, LocationOptions, NameOption, with_location_options
from mlctl.units import parse_duration

NewFileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="File to write; it must not exist yet.")
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Backup that server-backup wrote.")]
NoArtifactsOption = Annotated[
    bool,
    typer.Option(
        "--no-artifacts",
        help="Back up checksums of the artifacts only, if the bucket has a backup of its own.",
    ),
]


OlderThanOption = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="DURATION",
        help="Leave what was deleted more recently, such as 30d (default: deleted in the retention table of "
        "mlctl.toml, or 0s).",
    ),
]


@with_location_options
def server_backup(
    session: Session,
    location: LocationOptions,
    file: NewFileArgument,
    no_artifacts: NoArtifactsOption = False,
    name: NameOption = "main",
) -> None:
    r"""Write the database and the artifacts of a tracking server to one file.

    \b
    mlctl server-backup monday.tar
    mlctl server-backup monday.tar --backend postgresql://mlflow@db/mlflow

    The server can stay in use.
    """
    from mlctl.services.server import backup, server_location

    server_data = server_location.location_of_server(name, session.settings, **location)
    answer = backup.write_backup(server_data, file, with_artifacts=not no_artifacts)
    if answer.elsewhere:
        output.warn(f"the backup does not hold the artifacts of {len(answer.elsewhere)} other locations")
    session.show(answer, f"next: mlctl server-restore {file} --root NEW_FOLDER")


@with_location_options
def server_restore(
    session: Session,
    location: LocationOptions,
    file: FileArgument,
    create_bucket: CreateBucketOption = False,
    dry_run: DryRunOption = False,
) -> None:
    r"""Restore a backup into an empty database and an empty bucket or folder.

    \b
    mlctl server-restore monday.tar --root elsewhere --dry-run
    mlctl server-restore monday.tar --root elsewhere --yes

    A backup of SQLite can be restored into PostgreSQL or MySQL and a backup of a folder into a bucket, and the other way round.
    """
    from mlctl.services.server import restore, server_location

    server_data = server_location.location_from_options(session.settings, **location)
    answer = restore.check_restore(server_data, file, create_bucket=create_bucket)
    if not dry_run:
        session.confirm(
            f"Restore {answer.runs} runs and {answer.artifacts} artifacts into {server_data.backend.display_uri}?"
        )
        restore.restore_backup(server_data, file, create_bucket=create_bucket)
    session.show(
        answer,
        f"nothing was restored; {AFTER_DRY_RUN}"
        if dry_run
        else "next: mlctl server-up with the same storage options",
    )


@with_location_options
def server_gc(
    session: Session,
    location: LocationOptions,
    older_than: OlderThanOption = None,
    dry_run: DryRunOption = False,
    name: NameOption = "main",
) -> None:
    r"""Free the storage of deleted runs, experiments and models.

    \b
    mlctl server-gc
    mlctl server-gc --older-than 30d --yes

    Without --yes, the command only shows what it would delete. It keeps what a registered version needs.
    """
    from mlctl.services.server import gc, server_location

    server_data = server_location.location_of_server(name, session.settings, **location)
    report = gc.collect_garbage(
        server_data,
        delete=session.yes and not dry_run,
        older_than_s=parse_duration(older_than or session.settings.retention),
    )
    pending = (report.runs or report.experiments or report.models) and not report.done
    again = "next: the same command with --yes" + (" and without --dry-run" if dry_run else "")
    session.show(report, again if pending else "")
