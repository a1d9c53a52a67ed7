"""A client of a tracking server's REST API: experiments, runs, logged models and their artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from mlctl.adapters.tracking.clients.entities import (
    DatasetEntity,
    DatasetInput,
    ExperimentEntity,
    FileEntity,
    LoggedModelEntity,
    MetricPoint,
    ModelOutput,
    Page,
    RunData,
    RunEntity,
    RunInfo,
    RunInputs,
    RunOutputs,
    StoreError,
)
from mlctl.adapters.tracking.clients.rest_registry import RegistryRequests

ACTIVE_ONLY, DELETED_ONLY, MAX_POINTS = "ACTIVE_ONLY", "DELETED_ONLY", 25_000
PROXY, CHUNK_BYTES = "/api/2.0/mlflow-artifacts/artifacts", 1 << 20
Json = dict[str, Any]


class RestClient(RegistryRequests):
    """Reads and changes runs through a server."""

    # -- experiments ---------------------------------------------------------------------------------------

    def search_experiments(
        self, *, max_results: int = 1000, page_token: str | None = None, is_deleted: bool = False, **_: Any
    ) -> Page[ExperimentEntity]:
        """Return a page of the active or of the deleted experiments."""
        view = DELETED_ONLY if is_deleted else ACTIVE_ONLY
        query = {"max_results": max_results, "view_type": view, "page_token": page_token}
        answer = self.post("experiments/search", query)
        return Page(map(_experiment, answer.get("experiments", [])), answer.get("next_page_token"))

    # -- runs ----------------------------------------------------------------------------------------------

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        *,
        max_results: int = 1000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
        **_: Any,
    ) -> Page[RunEntity]:
        """Return a page of active runs."""
        query = {
            "experiment_ids": list(experiment_ids),
            "filter": filter_string,
            "run_view_type": ACTIVE_ONLY,
            "max_results": max_results,
            "order_by": list(order_by or ()),
            "page_token": page_token,
        }
        answer = self.post("runs/search", query)
        return Page(map(_run, answer.get("runs", [])), answer.get("next_page_token"))

    def get_run(self, run_id: str) -> RunEntity:
        """Return a run, also a deleted one; raises StoreError."""
        return _run(self.get("runs/get", {"run_id": run_id})["run"])

    def get_metric_history(self, run_id: str, key: str) -> Page[MetricPoint]:
        """Return all values of a metric."""
        points: list[MetricPoint] = []
        token = None
        while True:
            query = {"run_id": run_id, "metric_key": key, "max_results": MAX_POINTS, "page_token": token}
            answer = self.get("metrics/get-history", query)
            points += map(_point, answer.get("metrics", []))
            token = answer.get("next_page_token")
            if not token:
                return Page(points)

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """Set a tag of an active run."""
        self.post("runs/set-tag", {"run_id": run_id, "key": key, "value": str(value)}, writes=True)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag of an active run; raises StoreError if it has none of this name."""
        self.post("runs/delete-tag", {"run_id": run_id, "key": key}, writes=True)

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        """Change the status or the name of an active run."""
        if status is None and name is None:
            return
        self.post("runs/update", {"run_id": run_id, "status": status, "run_name": name}, writes=True)

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self.post("runs/delete", {"run_id": run_id}, writes=True)

    def restore_run(self, run_id: str) -> None:
        """Mark a deleted run as active."""
        self.post("runs/restore", {"run_id": run_id}, writes=True)

    def deleted_runs(self) -> dict[str, str]:
        """Return the names of all deleted runs by their id, the one started last first."""
        found: dict[str, str] = {}
        ids = [experiment.experiment_id for experiment in self.search_experiments()]
        token = None
        while True:
            query = {
                "experiment_ids": ids,
                "run_view_type": DELETED_ONLY,
                "max_results": 1000,
                "page_token": token,
            }
            answer = self.post("runs/search", query)
            found |= {
                run["info"]["run_id"]: run["info"].get("run_name", "") for run in answer.get("runs", [])
            }
            token = answer.get("next_page_token")
            if not token:
                return found

    def create_experiment(self, name: str, artifact_location: str | None = None) -> str:
        """Create an experiment; return its id."""
        body = {"name": name, "artifact_location": artifact_location}
        return str(self.post("experiments/create", body, writes=True)["experiment_id"])

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Rename an experiment."""
        self.post("experiments/update", {"experiment_id": experiment_id, "new_name": new_name}, writes=True)

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an experiment and its runs as deleted."""
        self.post("experiments/delete", {"experiment_id": experiment_id}, writes=True)

    def restore_experiment(self, experiment_id: str) -> None:
        """Mark a deleted experiment and its runs as active."""
        self.post("experiments/restore", {"experiment_id": experiment_id}, writes=True)

    # -- artifacts and logged models -----------------------------------------------------------------------

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileEntity]:
        """Return what is in a folder of a run's artifacts."""
        found = self._list_files("artifacts/list", {"run_id": run_id, "path": path})
        # MLflow finds a logged model of the run by a path, too
        return self.full.list_artifacts(run_id, path) if path and not found else found

    def read_artifact(self, run_id: str, path: str) -> str | None:
        """Return the content of a run's text file; None if the server does not send it."""
        answer = self.http.request("GET", "/get-artifact", params={"run_uuid": run_id, "path": path})
        return answer.content.decode() if answer.status_code == 200 else None

    def list_logged_model_artifacts(self, model_id: str, path: str | None = None) -> list[FileEntity]:
        """Return what is in a folder of a logged model's artifacts."""
        return self._list_files(
            f"logged-models/{model_id}/artifacts/directories", {"artifact_directory_path": path}
        )

    def get_logged_model(self, model_id: str) -> LoggedModelEntity:
        """Return a logged model that is not deleted; raises StoreError."""
        info = self.get(f"logged-models/{model_id}", {})["model"]["info"]
        return LoggedModelEntity(
            model_id=info["model_id"],
            artifact_location=info.get("artifact_uri", ""),
            source_run_id=info.get("source_run_id"),
        )

    def delete_logged_model(self, model_id: str) -> None:
        """Mark a logged model as deleted; raises StoreError."""
        self.call("DELETE", f"logged-models/{model_id}", {}, writes=True)

    def list_proxied(self, path: str) -> list[str]:
        """Return the paths of all files below a folder that the server keeps, relative to it; [] for a file.

        Raises StoreError if a path would lead out of the folder.
        """
        folders, found = [""], list[str]()
        while folders:
            folder = folders.pop()
            query = {"path": f"{path}/{folder}".rstrip("/")}
            for file in self.send("GET", PROXY, params=query).get("files", []):
                name = PurePosixPath(file["path"])
                if name.is_absolute() or ".." in name.parts:
                    raise StoreError(f"the server lists the file {name}")
                inner = f"{folder}/{name}".lstrip("/")
                (folders if file.get("is_dir") else found).append(inner)
        return [] if found == [PurePosixPath(path).name] and self._is_file(path) else found

    def download_proxied(self, path: str, target: Path) -> Path | None:
        """Copy a file that the server keeps; return the copy, or None if there is no such file."""
        answer = self.http.request("GET", f"{PROXY}/{quote(path)}", stream=True)
        if answer.status_code != 200:
            return None
        with target.open("wb") as copy:
            for chunk in answer.iter_content(CHUNK_BYTES):
                copy.write(chunk)
        return target

    def _is_file(self, path: str) -> bool:
        """Return whether a path is a file: the server lists a file as a folder of that one file."""
        parent, _, name = path.rpartition("/")
        listed = self.send("GET", PROXY, params={"path": parent}).get("files", [])
        return any(file["path"] == name and not file.get("is_dir") for file in listed)

    def _list_files(self, path: str, query: Json) -> list[FileEntity]:
        files: list[FileEntity] = []
        token = None
        while True:
            answer = self.get(path, {**query, "page_token": token})
            files += [
                FileEntity(
                    path=found["path"],
                    is_dir=found.get("is_dir", False),
                    file_size=int(found["file_size"]) if "file_size" in found else None,
                )
                for found in answer.get("files", [])
            ]
            token = answer.get("next_page_token")
            if not token:
                return files


def _experiment(found: Json) -> ExperimentEntity:
    return ExperimentEntity(
        experiment_id=found["experiment_id"],
        name=found["name"],
        artifact_location=found.get("artifact_location", ""),
    )


def _run(found: Json) -> RunEntity:
    info, data = found["info"], found.get("data", {})
    datasets = found.get("inputs", {}).get("dataset_inputs", [])
    models = found.get("outputs", {}).get("model_outputs", [])
    return RunEntity(
        info=RunInfo(
            run_id=info["run_id"],
            run_name=info.get("run_name", ""),
            experiment_id=info["experiment_id"],
            status=info["status"],
            start_time=info.get("start_time"),
            end_time=info.get("end_time"),
            artifact_uri=info.get("artifact_uri", ""),
            lifecycle_stage=info.get("lifecycle_stage", "active"),
        ),
        data=RunData(
            params=_pairs(data.get("params", [])),
            metrics={point["key"]: float(point["value"]) for point in data.get("metrics", [])},
            tags=_pairs(data.get("tags", [])),
        ),
        inputs=RunInputs([DatasetInput(_dataset(entry["dataset"])) for entry in datasets]),
        outputs=RunOutputs(
            [ModelOutput(model_id=entry["model_id"], step=entry.get("step", 0)) for entry in models]
        ),
    )


def _dataset(found: Json) -> DatasetEntity:
    return DatasetEntity(
        name=found["name"],
        digest=found["digest"],
        source_type=found.get("source_type", ""),
        profile=found.get("profile"),
    )


def _point(found: Json) -> MetricPoint:
    return MetricPoint(
        key=found["key"],
        value=float(found["value"]),  # "NaN" is a text in JSON
        timestamp=int(found.get("timestamp", 0)),
        step=int(found.get("step", 0)),
    )


def _pairs(found: Sequence[Json]) -> dict[str, str]:
    return {entry["key"]: entry.get("value", "") for entry in found}
