"""The options of what runs on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlctl.domain.cluster import Cluster as ServerLocation

ON_CLUSTER = "On a cluster"

Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Ray: ray://HOST:PORT, HOST:PORT, local:2 for a try.",
        rich_help_panel=ON_CLUSTER,
    ),
]
SharedStorage = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", help="What all nodes reach: s3://…, a shared folder.", rich_help_panel=ON_CLUSTER
    ),
]
Cpu = Annotated[
    float | None, typer.Option(min=0.01, help="Cores for each; default: 1.", rich_help_panel=ON_CLUSTER)
]
Gpu = Annotated[
    float | None, typer.Option(min=0, help="GPUs for each; default: none.", rich_help_panel=ON_CLUSTER)
]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory for each: 2GB.", rich_help_panel=ON_CLUSTER)
]


def place(
    address: str | None, storage: str | None, cpu: float | None, gpu: float | None, memory: str | None
) -> ServerLocation | None:
    """Return the cluster that was asked for, if one was; raises UsageError."""
    from mlctl.cli.values import size
    from mlctl.domain.cluster import Cluster
    from mlctl.errors import UsageError

    given = {"--storage": storage, "--cpu": cpu, "--gpu": gpu, "--memory": memory}
    if address is None:
        if alone := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"{alone[0]} is for --cluster alone", "leave it out, or say which cluster")
        return None
    return Cluster(
        address, storage, 1.0 if cpu is None else cpu, gpu or 0.0, None if memory is None else size(memory)
    )
