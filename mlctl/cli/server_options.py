"""The options that say where a server keeps things, shared by all commands about servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WHERE = "Where things are kept"

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Which server, where there are several.")]
Root = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        help="The folder of an embedded database and artifacts.",
        rich_help_panel=WHERE,
    ),
]
BackendUri = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="URI",
        help="postgresql://USER@HOST/DATABASE, without its password.",
        rich_help_panel=WHERE,
    ),
]
BackendFile = Annotated[
    str | None,
    typer.Option(
        "--backend-file",
        metavar="FILE",
        help="A file with the URI, password included; - is stdin.",
        rich_help_panel=WHERE,
    ),
]
BucketName = Annotated[
    str | None,
    typer.Option("--bucket", metavar="NAME", help="The S3 bucket for artifacts.", rich_help_panel=WHERE),
]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="KEY", help="A prefix in the bucket.", rich_help_panel=WHERE)
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url", metavar="URL", help="An S3-compatible service's address.", rich_help_panel=WHERE
    ),
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="NAME", help="The bucket's region.", rich_help_panel=WHERE)
]
