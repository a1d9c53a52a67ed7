"""mlctl export server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.server_options import EndpointUrl, Prefix, Region


def server(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    to: Annotated[str, typer.Option("--to", metavar="KIND", help="compose, kubernetes or nginx.")],
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The name under which it is reached.")
    ] = "mlflow.example.com",
    image: Annotated[
        str, typer.Option("--image", metavar="IMAGE", help="The container image.")
    ] = "mlctl:latest",
    bucket: Annotated[
        str, typer.Option("--bucket", metavar="BUCKET", help="The S3 bucket for artifacts.")
    ] = "mlflow",
    prefix: Prefix = "",
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    database_port: Annotated[int, typer.Option(min=1, max=65535, help="PostgreSQL's port.")] = 5432,
    upstream: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="nginx: where the server is.")
    ] = "127.0.0.1:5000",
) -> None:
    r"""Write what a team commits to run a tracking server.

    \b
    mlctl export server --to kubernetes deploy --host mlflow.example.com --bucket models
    mlctl export server --to nginx proxy --host mlflow.example.com
    """
    from mlctl.domain.server import Bucket
    from mlctl.services import server as service

    kept = Bucket(bucket, prefix.strip("/"), endpoint_url, region)
    exported = service.export(to, folder, host, image, kept, database_port, upstream)
    if changed := service.replaced(exported):
        session.confirm(f"Replace {', '.join(changed)} in {folder}?")
    session.show(service.write(exported), f"next: read {folder}/README.md" if to != "nginx" else "")
