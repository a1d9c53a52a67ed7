"""The options of commands that can run on a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.domain.cluster import Cluster
from mlctl.errors import UsageError
from mlctl.units import parse_size

PANEL = "Ray cluster"

ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Run on this Ray cluster: ray://HOST:PORT or HOST:PORT; local:2 starts two nodes here to try it.",
        rich_help_panel=PANEL,
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="PATH",
        help="Storage that this machine and all nodes can reach: s3://… or a shared folder.",
        rich_help_panel=PANEL,
    ),
]
CpuOption = Annotated[
    float | None,
    typer.Option(
        "--cpu", min=0.01, help="CPU cores for each trial or training (default: 1).", rich_help_panel=PANEL
    ),
]
GpuOption = Annotated[
    float | None,
    typer.Option("--gpu", min=0, help="GPUs for each trial or training (default: 0).", rich_help_panel=PANEL),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Memory to reserve for each trial or training, such as 2GB.",
        rich_help_panel=PANEL,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        max=64,
        help="Train one model on N workers, each with its share of every batch (on JAX; default: 1).",
        rich_help_panel=PANEL,
    ),
]


def parse_cluster(
    address: str | None,
    *,
    storage: str | None,
    cpu: float | None,
    gpu: float | None,
    memory: str | None,
    workers: int | None = None,
) -> Cluster | None:
    """Return the cluster that the options describe, or None without --cluster.

    Raises UsageError if another option of a cluster is given without --cluster.
    """
    options = {"--storage": storage, "--cpu": cpu, "--gpu": gpu, "--memory": memory, "--workers": workers}
    if address is None:
        if unused := [name for name, value in options.items() if value is not None]:
            raise UsageError(f"{unused[0]} needs --cluster", f"add --cluster ADDRESS, or omit {unused[0]}")
        return None
    return Cluster(
        address=address,
        storage=storage,
        cpu=1.0 if cpu is None else cpu,
        gpu=gpu or 0.0,
        memory=None if memory is None else parse_size(memory),
        workers=workers or 1,
    )
