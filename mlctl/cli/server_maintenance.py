"""mlctl server-backup, server-restore, server-gc: looking after what a server keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.server_options import Name, RunFilter, placed


@placed
def server_backup(
    session: Session,
    where: RunFilter,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup; it must not be there yet.")],
    no_artifacts: Annotated[
        bool,
        typer.Option(
            "--no-artifacts", help="Keep only checksums of artifacts: the bucket has its own backup."
        ),
    ] = False,
    name: Name = "main",
) -> None:
    r"""Write a server's database and artifacts to one file, while it is in use.

    \b
    mlctl server-backup monday.tar
    mlctl server-backup monday.tar --backend postgresql://mlflow@db/mlflow --bucket models --no-artifacts
    """
    from mlctl import output
    from mlctl.services import server

    answer = server.backup(server.locate_named(name, session.settings, **where), file, not no_artifacts)
    if answer.elsewhere:
        output.warn(f"artifacts at {len(answer.elsewhere)} other places are not in it")
    session.show(answer, f"next: mlctl server-restore {file} --root ELSEWHERE")


@placed
def server_restore(
    session: Session,
    where: RunFilter,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What server-backup has written.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Check the file, and show what it holds.")
    ] = False,
) -> None:
    r"""Restore a backup into an empty database and an empty bucket or folder, of either kind.

    \b
    mlctl server-restore monday.tar --dry-run
    mlctl server-restore monday.tar --root elsewhere --yes
    """
    from mlctl.services import server

    place = server.locate_in(session.settings, **where)
    found = server.inspect(file)[0]
    if not dry_run:
        session.confirm(
            f"Restore {found.runs} runs and {found.artifacts} artifacts into {place.backend.shown}?"
        )
        server.restore(place, file)
    session.show(found, "next: mlctl server-up, with the same place")


@placed
def server_gc(
    session: Session,
    where: RunFilter,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be freed.")] = False,
    name: Name = "main",
) -> None:
    r"""Free what deleted runs, experiments and models still take, but for what a registered version needs.

    \b
    mlctl server-gc              show
    mlctl server-gc --yes        and do it
    """
    from mlctl.services import server

    place = server.locate_named(name, session.settings, **where)
    found = server.sweep(place, really=session.yes and not dry_run)
    waits = (found.runs or found.experiments or found.models) and not found.done
    session.show(found, "next: the same with --yes" if waits else "")
