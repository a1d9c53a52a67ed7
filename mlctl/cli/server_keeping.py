"""mlctl server-backup, server-restore, server-gc: looking after what a server keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.server_options import (
    BackendFile,
    BackendUri,
    BucketName,
    EndpointUrl,
    Name,
    Prefix,
    Region,
    Root,
)
from mlctl.cli.session import Session


def server_backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup; it must not be there yet.")],
    no_artifacts: Annotated[
        bool,
        typer.Option(
            "--no-artifacts", help="Keep only checksums of artifacts: the bucket has its own backup."
        ),
    ] = False,
    name: Name = "main",
    root: Root = Path(),
    backend: BackendUri = None,
    backend_file: BackendFile = None,
    bucket: BucketName = None,
    prefix: Prefix = "",
    endpoint_url: EndpointUrl = None,
    region: Region = None,
) -> None:
    r"""Write a server's database and artifacts to one file, while it is in use.

    \b
    mlctl server-backup monday.tar
    mlctl server-backup monday.tar --backend postgresql://mlflow@db/mlflow --bucket models --no-artifacts
    """
    from mlctl.services import server

    place = server.locate_named(
        name, session.settings.state_dir, root=root, backend=backend, backend_file=backend_file,
        bucket=bucket, prefix=prefix, endpoint_url=endpoint_url, region=region,
    )  # fmt: skip
    session.show(
        server.backup(place, file, not no_artifacts), f"next: mlctl server-restore {file} --root ELSEWHERE"
    )


def server_restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What server-backup has written.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Check the file, and show what it holds.")
    ] = False,
    root: Root = Path(),
    backend: BackendUri = None,
    backend_file: BackendFile = None,
    bucket: BucketName = None,
    prefix: Prefix = "",
    endpoint_url: EndpointUrl = None,
    region: Region = None,
) -> None:
    r"""Restore a backup into an empty database and an empty bucket or folder, of either kind.

    \b
    mlctl server-restore monday.tar --dry-run
    mlctl server-restore monday.tar --root elsewhere --yes
    """
    from mlctl.services import server

    place = server.locate(root, backend, backend_file, bucket, prefix, endpoint_url, region)
    found = server.inspect(file)[0]
    if not dry_run:
        session.agreed(
            f"Restore {found.runs} runs and {found.artifacts} artifacts into {place.backend.shown}?"
        )
        server.restore(place, file)
    session.show(found, "next: mlctl server-up, with the same place")


def server_gc(
    session: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be freed.")] = False,
    name: Name = "main",
    root: Root = Path(),
    backend: BackendUri = None,
    backend_file: BackendFile = None,
    bucket: BucketName = None,
    prefix: Prefix = "",
    endpoint_url: EndpointUrl = None,
    region: Region = None,
) -> None:
    r"""Free what deleted runs, experiments and models still take, but for what a registered version needs.

    \b
    mlctl server-gc              show
    mlctl server-gc --yes        and do it
    """
    from mlctl.services import server

    place = server.locate_named(
        name, session.settings.state_dir, root=root, backend=backend, backend_file=backend_file,
        bucket=bucket, prefix=prefix, endpoint_url=endpoint_url, region=region,
    )  # fmt: skip
    session.show(
        server.sweep(place, really=session.yes and not dry_run),
        "" if session.yes else "next: the same with --yes",
    )
