"""Predict a folder or prefix of tables on a Ray cluster: each file on some node, with a part of answers for each."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mlctl.adapters.predict.cluster_output import MODEL_FILE, ClusterOutput
from mlctl.adapters.ray import cluster_access
from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.tables import reader
from mlctl.domain.cluster import Cluster
from mlctl.domain.progress import NullProgress, PredictionListener
from mlctl.domain.serving import PredictionFile
from mlctl.errors import UsageError
from mlctl.services.evaluation.answer_columns import answer_columns
from mlctl.services.evaluation.input_files import InputFile, digest
from mlctl.services.evaluation.inputs import list_inputs, read_batches
from mlctl.services.evaluation.predictor import LocalModel
from mlctl.services.models.fetch import fetch_model
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.settings import Settings


@dataclass(frozen=True, kw_only=True)
class FileTask:
    """One file for a node.

    Attributes:
        output: Folder of the answers, which has the model too.
        model: Name of the model.
        version: Its version.
        path: The file, as every node reaches it.
        name: Its name in the answers.
        part: Name of its part.
    """

    output: str
    model: str
    version: str
    path: str
    name: str
    part: str


def predict_on_cluster(
    settings: Settings,
    model: str,
    inputs: Sequence[str],
    *,
    out: str,
    cluster: Cluster,
    listener: PredictionListener | None = None,
) -> PredictionFile:
    """Write the predictions of tables to a folder of Parquet parts, which every node reaches as it does the tables.

    A call with the same inputs continues an earlier one. Raises UsageError for other inputs, RefusedError if `out`
    exists and is something else, and what finding the model and connecting to the cluster raise.
    """
    listener = listener or NullProgress()
    cluster_access.check_reachable(cluster)
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch:
        served = fetch_model(TrackingStore(settings.tracking_uri), model, Path(scratch))
        info = LocalModel(served).info
        files = _require_tables(list_inputs(info, inputs).files, inputs)
        output = ClusterOutput(out)
        job = {"model": info.name, "version": info.version, "inputs": list(inputs), "files": digest(files)}
        done = output.start(job)
        tasks = [_task(file, number, output, served) for number, file in enumerate(files)]
        waiting = [task for task in tasks if task.part not in done]
        _store_model(output.storage, Path(served.folder))
    resumed = sum(output.count_rows(task.part) for task in tasks if task.part in done)
    connection = cluster_access.connect(cluster, listener)
    try:
        from mlctl.adapters.ray.ray_data import map_items  # Ray reads its settings when it is imported

        rows = resumed
        for answered in map_items(answer_file, waiting, cluster):
            rows += answered
            listener.predicted(rows, None)
    finally:
        connection.close()
    output.finish()
    return PredictionFile(file=out, rows=rows, resumed=resumed, model=info.name, version=info.version)


def answer_file(task: FileTask) -> int:
    """Predict a file on a node, and return the number of rows. Doing it again replaces its part by an equal one."""
    model = _load_model(task.output, task.model, task.version)

    def batches() -> Iterator[Mapping[str, Any]]:
        for batch in read_batches(
            model.info, [task.path], table_rows=model.batch_rows, listener=NullProgress()
        ):
            columns = answer_columns(model.info, model.predict(batch.load(), batch.first_row))
            yield {"file": np.full(batch.count, task.name, object), **columns}

    return ClusterOutput(task.output).write(task.part, batches())


@lru_cache(maxsize=1)
def _load_model(output: str, name: str, version: str) -> LocalModel:
    """Return the model that the job has stored; a process of a node keeps it for its next file."""
    folder = Path(tempfile.mkdtemp(prefix="mlctl-model-"))
    with (
        ClusterOutput(output).storage.opened(MODEL_FILE) as file,
        tarfile.open(fileobj=file, mode="r|") as archive,
    ):
        archive.extractall(folder, filter="data")
    return LocalModel(ServedVersion(name=name, version=version, uri="", folder=str(folder)))


def _store_model(storage: SharedStorage, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch:
        path = Path(scratch) / MODEL_FILE
        with tarfile.open(path, "w") as archive:
            archive.add(folder, arcname=".")
        storage.put(MODEL_FILE, path)


def _require_tables(files: Sequence[InputFile], inputs: Sequence[str]) -> list[InputFile]:
    if not files or not all(reader.is_table(file.name) for file in files):
        raise UsageError(
            f"--cluster predicts tables, and {', '.join(inputs)} is none",
            "name a folder or an s3:// prefix of Parquet files",
        )
    return list(files)


def _task(file: InputFile, number: int, output: ClusterOutput, served: ServedVersion) -> FileTask:
    return FileTask(
        output=output.storage.uri,
        model=served.name,
        version=served.version,
        path=_path(file),
        name=file.name,
        part=f"part-{number:06}-{PurePosixPath(file.name).stem}.parquet",
    )


def _path(file: InputFile) -> str:
    """Return the file as every node reaches it."""
    if file.source.startswith("s3://"):
        return f"{file.source.rstrip('/')}/{file.name}" if file.is_part else file.source
    path = Path(file.source) / file.name if file.is_part else Path(file.source)
    return str(path.absolute())
