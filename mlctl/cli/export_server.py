"""mlctl export server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import StaticPrefixOption
from mlctl.cli.server_options import STORAGE, EndpointUrlOption, PrefixOption, RegionOption
from mlctl.domain.server import Bucket

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files.")]
ToOption = Annotated[
    str, typer.Option("--to", metavar="TARGET", help="What to export for: compose, kubernetes or nginx.")
]
HostOption = Annotated[
    str, typer.Option("--host", metavar="HOST", help="Host name under which clients reach the server.")
]
ImageOption = Annotated[
    str, typer.Option("--image", metavar="IMAGE", help="Name of the container image with mlctl.")
]
BucketOption = Annotated[
    str, typer.Option("--bucket", metavar="BUCKET", help="S3 bucket for artifacts.", rich_help_panel=STORAGE)
]
DatabasePortOption = Annotated[
    int,
    typer.Option("--database-port", min=1, max=65535, help="Port of PostgreSQL.", rich_help_panel=STORAGE),
]
UpstreamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream",
        metavar="HOST:PORT",
        help="nginx: address of the server that nginx forwards to (default: 127.0.0.1:5000). Repeat it for replicas.",
    ),
]


def server(
    session: Session,
    folder: FolderArgument,
    to: ToOption,
    host: HostOption = "mlflow.example.com",
    image: ImageOption = "mlctl:latest",
    bucket: BucketOption = "mlflow",
    prefix: PrefixOption = "",
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    database_port: DatabasePortOption = 5432,
    upstream: UpstreamOption = None,
    static_prefix: StaticPrefixOption = "",
) -> None:
    r"""Write the files that run a tracking server elsewhere.

    \b
    mlctl export server --to kubernetes deploy --host mlflow.example.com
    mlctl export server --to nginx proxy --host mlflow.example.com
    """
    from mlctl.services.server import export

    exported = export.render_files(
        to,
        folder,
        host=host,
        image=image,
        bucket=Bucket(name=bucket, prefix=prefix.strip("/"), endpoint_url=endpoint_url, region=region),
        database_port=database_port,
        upstreams=upstream or ["127.0.0.1:5000"],
        static_prefix=static_prefix,
    )
    if changed := export.changed_files(exported):
        session.confirm(f"Replace {', '.join(changed)} in {folder}?")
    session.show(export.write_files(exported), "" if to == "nginx" else f"next: read {folder}/README.md")
