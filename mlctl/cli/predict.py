"""mlctl predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.errors import UsageError
from mlctl.output.progress import TrainingProgress

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="The model: NAME (its Production version), NAME/3, NAME@alias, a run, a URI, a folder, or the URL of an "
        "endpoint.",
    ),
]
InputsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Images, texts, arrays, JSON, or tables of any format that train reads (.csv, .xlsx, .parquet, "
        "FILE.db::TABLE, …), a folder or an s3:// prefix of them, a table of "
        "file names, a text, or - for stdin.",
    ),
]
SampleOption = Annotated[
    int | None,
    typer.Option(
        "--sample", min=1, help="Predict this many rows of the recipe's test split instead of INPUT."
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the predictions to a .csv file, or in parts to a folder that ends in .parquet. If it exists, "
        "mlctl continues where the last call stopped. A .npy or .npz file gets the model's whole answers (default: "
        "show them).",
    ),
]
LikeOption = Annotated[
    Path | None,
    typer.Option(
        "--like",
        metavar="SAMPLE",
        help="Write the answers with the header and the id column of this file, such as Kaggle's "
        "sample_submission.csv, to --out (default: submission.csv). INPUT is one table.",
    ),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option("--api-key-file", metavar="FILE", help="File with your API key, for an endpoint."),
]
BatchClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Predict a folder or an s3:// prefix of Parquet files on this Ray cluster: ray://HOST:PORT or HOST:PORT; "
        "local:2 starts two nodes here to try it. All nodes must reach INPUT and --out.",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size", min=1, help="Maximum number of rows to predict at once (default: by kind of input)."
    ),
]


def predict(
    session: Session,
    model: ModelArgument,
    input_: InputsArgument = None,
    sample: SampleOption = None,
    out: OutOption = None,
    like: LikeOption = None,
    api_key_file: KeyFileOption = None,
    batch_size: BatchSizeOption = None,
    cluster: BatchClusterOption = None,
) -> None:
    """Predict with a model or an endpoint.

    \b
    mlctl predict Digits six.png
    mlctl predict imdb "a film that I would see again"
    mlctl predict Digits --sample 3 -o json
    mlctl predict http://127.0.0.1:8000 rows.csv --out answers.csv
    mlctl predict Houses s3://data/rows --out answers.parquet
    mlctl predict Titanic test.csv --like sample_submission.csv
    """
    from mlctl.services.evaluation import predict as service

    inputs = input_ or []
    if sample and out:
        raise UsageError(
            "--sample and --out cannot be combined", "omit --out, or name an INPUT instead of --sample"
        )
    if cluster:
        given = {
            "--sample": sample,
            "--like": like,
            "--api-key-file": api_key_file,
            "--batch-size": batch_size,
        }
        if unused := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"--cluster and {unused[0]} cannot be combined", f"omit {unused[0]}")
        _predict_on_cluster(session, model, inputs, out=out, address=cluster)
        return
    if out and out.startswith("s3://"):
        raise UsageError("--out s3://… needs --cluster", "write to this machine, or add --cluster ADDRESS")
    if like and (sample or len(inputs) != 1):
        raise UsageError(
            "--like needs one table as INPUT", "example: mlctl predict MODEL test.csv --like SAMPLE"
        )
    with TrainingProgress() as listener:
        if like:
            from mlctl.services.evaluation.submission import DEFAULT_FILE, predict_like

            answer: object = predict_like(
                session.settings,
                model,
                inputs[0],
                sample=like,
                out=Path(out or DEFAULT_FILE),
                key_file=api_key_file,
                batch_size=batch_size,
                listener=listener,
            )
        elif out is None:
            answer = service.predict(
                session.settings,
                model,
                inputs,
                sample=sample,
                key_file=api_key_file,
                batch_size=batch_size,
                listener=listener,
            )
        else:
            answer = service.predict_to_file(
                session.settings,
                model,
                inputs,
                out=Path(out),
                key_file=api_key_file,
                batch_size=batch_size,
                listener=listener,
            )
    session.show(answer)


def _predict_on_cluster(
    session: Session, model: str, inputs: list[str], *, out: str | None, address: str
) -> None:
    from mlctl.domain.cluster import Cluster
    from mlctl.services.evaluation.cluster_predict import predict_on_cluster

    if not inputs or not out or not out.rstrip("/").endswith(".parquet"):
        raise UsageError(
            "--cluster needs an INPUT, and an --out that ends in .parquet",
            "example: mlctl predict MODEL rows/ --out answers.parquet --cluster local:2",
        )
    with TrainingProgress() as listener:
        answer = predict_on_cluster(
            session.settings,
            model,
            inputs,
            out=out,
            cluster=Cluster(address=address, storage=out),
            listener=listener,
        )
    session.show(answer)
