"""mlctl predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="As mlctl serve has it, or an endpoint: http://HOST:PORT.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT", help="Pictures, .npy, .npz, CSV, Parquet, JSON, a text, or - for stdin."),
]
Sample = Annotated[int | None, typer.Option(min=1, help="So many rows of the recipe's test split, instead.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write answers.csv, or a folder answers.parquet; resumable."),
]
KeyFile = Annotated[
    Path | None, typer.Option("--api-key-file", metavar="FILE", help="A file with your key, for an endpoint.")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Rows asked at once.")]


def predict(
    session: Session,
    model: Model,
    input_: Inputs = None,
    sample: Sample = None,
    out: Out = None,
    api_key_file: KeyFile = None,
    batch_size: BatchSize = 1000,
) -> None:
    """Ask a model, or an endpoint, and show the answer.

    \b
    mlctl predict Digits six.png
    mlctl predict imdb "a film that I would see again"
    mlctl predict Digits --sample 3 -o json
    mlctl predict http://127.0.0.1:8000 rows.csv --out answers.csv
    """
    from mlctl.output.progress import TrainingView
    from mlctl.services.evaluation import predict as service

    with TrainingView() as view:
        if out is not None:
            written = service.predict_to_file(
                session.settings, model, input_ or [], out, api_key_file, batch_size, view
            )
        else:
            said = service.predict(
                session.settings, model, input_ or [], sample, api_key_file, batch_size, view
            )
    session.show(written if out is not None else said)
