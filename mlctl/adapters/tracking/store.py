"""The tracking store: runs, experiments and artifacts, through MLflow."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mlctl.adapters.tracking.clients.choose import make_client
from mlctl.adapters.tracking.clients.database_client import DatabaseClient
from mlctl.adapters.tracking.clients.light_client import LightClient
from mlctl.adapters.tracking.convert import to_datetime, to_run
from mlctl.adapters.tracking.errors import translate_errors
from mlctl.adapters.tracking.filters import mlflow_field, to_mlflow_filter
from mlctl.adapters.tracking.health import check_reachable, sqlite_file
from mlctl.domain.run import Artifact, Experiment, Run
from mlctl.domain.run_queries import Condition, SortKey
from mlctl.errors import NotFoundError

FIRST_PAGE_SIZE, PAGE_SIZE = 100, 5000
REMOTE_PAGE_SIZE = 1000  # a server takes more than a second for so many; larger pages risk a timeout
MAX_REMOTE_COUNT = 1000
MLFLOW_DELETED_ONLY = 2  # of mlflow.entities.ViewType
EPOCH = datetime.fromtimestamp(0, UTC)


class TrackingStore:
    """A tracking store. Construct it once per command and pass it on.

    The constructor sends no request. The first use of `client` checks that the store answers, once, and fails within
    seconds if it does not. A SQLite file that does not exist is a store without runs.

    Args:
        tracking_uri: URI of the store.
        create: Let MLflow create a SQLite file that does not exist.
    """

    def __init__(self, tracking_uri: str, create: bool = False) -> None:
        self.tracking_uri = tracking_uri
        self._create = create
        self._is_checked = False

    @cached_property
    def exists(self) -> bool:
        """Whether the store can hold runs: False for a SQLite file that does not exist yet."""
        file = sqlite_file(self.tracking_uri)
        return self._create or file is None or file.exists()

    @cached_property
    def client(self) -> Any:
        """A client with the names of `MlflowClient`, which imports MLflow only for what it cannot do itself.

        Raises as `check_reachable` does, and NotFoundError if the store does not exist.
        """
        file = sqlite_file(self.tracking_uri)
        if not self.exists or (file is not None and not file.exists()):
            return self.mlflow_client
        self.check_reachable()
        with self.translate_errors():
            return make_client(self.tracking_uri, lambda: self.mlflow_client)

    @cached_property
    def mlflow_client(self) -> Any:
        """MLflow's own client, for whatever records a training; raises as `client` does."""
        if not self.exists:
            raise NotFoundError("there are no runs yet", "make the first run: mlctl train digits")
        import mlflow  # it takes seconds

        # MLflow's own defaults wait for minutes; values that the user has set take precedence
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault(
            "MLFLOW_HTTP_REQUEST_TIMEOUT", "60"
        )  # a server may pass an upload on to its bucket
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for the answer
        silence_mlflow()
        self.check_reachable()
        with self.translate_errors():
            return mlflow.MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)

    def check_reachable(self) -> None:
        """Check, once for this object, that the store answers; raises UnreachableError and ConfigurationError."""
        if not self._is_checked:
            check_reachable(self.tracking_uri)
            self._is_checked = True

    @property
    def is_remote(self) -> bool:
        """Whether requests go through a server instead of directly to the database."""
        return self.tracking_uri.startswith(("http", "databricks"))

    @cached_property
    def experiments_by_id(self) -> Mapping[str, Any]:
        """MLflow's experiments by id, without deleted ones."""
        if not self.exists:
            return {}
        with self.translate_errors():
            return {
                found.experiment_id: found
                for found in paged(self.client.search_experiments, max_results=1000)
            }

    def experiment_ids(self, name: str | None) -> list[str]:
        """Return the id of the experiment with this name, or all ids if `name` is None; raises NotFoundError."""
        if name is None or not self.exists:
            return list(self.experiments_by_id)
        ids = [key for key, experiment in self.experiments_by_id.items() if experiment.name == name]
        if not ids:
            names = ", ".join(experiment.name for experiment in self.experiments_by_id.values()) or "none"
            raise NotFoundError(f"there is no experiment {name!r}", f"experiments: {names}")
        return ids

    def search_runs(
        self,
        conditions: Sequence[Condition] = (),
        *,
        order: Sequence[SortKey] = (),
        experiment: str | None = None,
        expected: int | None = None,
    ) -> Iterator[Run]:
        """Yield runs.

        Args:
            conditions: What the runs must fulfil. The store is only asked for what MLflow's search can express, so the
                caller must check each run again.
            order: Sort keys; runs without a key come last, and equal runs newest first.
            experiment: Name of the experiment; None for all.
            expected: How many runs the caller will probably read, which decides the size of the first page.
        """
        if not self.exists:
            return
        ids = self.experiment_ids(experiment)
        largest = REMOTE_PAGE_SIZE if self.is_remote else PAGE_SIZE
        size = min(expected or largest, largest)
        token = None
        while True:
            with self.translate_errors():
                page = self._search_page(ids, conditions, order, size, token)
            for found in page:
                yield self._to_run(found)
            token = page.token
            if not token:
                return
            size = min(max(FIRST_PAGE_SIZE, size * 8), largest)

    def _search_page(
        self,
        experiment_ids: Sequence[str],
        conditions: Sequence[Condition],
        order: Sequence[SortKey],
        size: int,
        token: str | None,
    ) -> Any:
        """Return a page of MLflow's runs, and the token of the next one."""
        if isinstance(self.client, DatabaseClient):
            return self.client.find_runs(
                experiment_ids, conditions, order, max_results=size, page_token=token
            )
        return self.client.search_runs(
            experiment_ids,
            " and ".join(text for condition in conditions if (text := to_mlflow_filter(condition))),
            max_results=size,
            order_by=[f"{mlflow_field(key.field)} {'DESC' if key.descending else 'ASC'}" for key in order],
            page_token=token,
        )

    def get_run(self, run_id: str) -> Run:
        """Return a run by its full id; raises NotFoundError."""
        with self.translate_errors():
            found = self.client.get_run(run_id)
        if found.info.lifecycle_stage == "deleted":
            raise NotFoundError(f"run {run_id} is deleted", f"restore it: mlctl runs restore {run_id[:8]}")
        return self._to_run(found)

    def get_runs(self, run_ids: Sequence[str]) -> Iterator[Run]:
        """Yield those of these runs that exist, in any order."""
        experiment_ids = list(self.experiments_by_id) if run_ids else []
        for start in range(0, len(run_ids), FIRST_PAGE_SIZE):
            some = run_ids[start : start + FIRST_PAGE_SIZE]
            with self.translate_errors():
                if isinstance(self.client, DatabaseClient):
                    page = self.client.find_runs_by_id(some)
                else:
                    quoted = ", ".join(f"'{run_id}'" for run_id in some)
                    page = self.client.search_runs(
                        experiment_ids, f"attributes.run_id IN ({quoted})", max_results=FIRST_PAGE_SIZE
                    )
            yield from (self._to_run(found) for found in page)

    def get_metric_history(self, run_id: str, metric: str) -> tuple[tuple[int, float], ...]:
        """Return (step, value) of a metric by step; of several values at one step, the last that was written."""
        with self.translate_errors():
            points = self.client.get_metric_history(run_id, metric)
        points = sorted(points, key=lambda point: (point.step, point.timestamp))
        return tuple({point.step: point.value for point in points}.items())

    def list_artifacts(self, run: Run) -> tuple[Artifact, ...]:
        """Return every file and folder of a run and, below "model/", of its logged model."""
        with self.translate_errors():
            artifacts = list(_walk(lambda path: self.client.list_artifacts(run.run_id, path)))
            model_id = _logged_model_id(run)
            if model_id and not any(artifact.path.partition("/")[0] == "model" for artifact in artifacts):
                files = _walk(lambda path: self.client.list_logged_model_artifacts(model_id, path))
                artifacts.append(Artifact("model", None))
                artifacts += [Artifact(f"model/{file.path}", file.size_bytes) for file in files]
        return tuple(sorted(artifacts, key=lambda artifact: artifact.path))

    def download_artifact(self, run: Run, path: str, folder: Path) -> Path:
        """Copy an artifact, a file or a folder, into `folder`; replace what has its name there."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / Path(path).name
        top, _, inner = path.partition("/")
        # the kind of store decides where a download lands, so it lands in a folder of its own and is moved from there
        with self.translate_errors(), tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
            landing = Path(scratch) / "landing"  # MLflow may return the folder itself as the download
            landing.mkdir()
            model_id = _logged_model_id(run)
            run_paths = {artifact.path for artifact in self.client.list_artifacts(run.run_id)}
            if model_id and top == "model" and top not in run_paths:
                location = self.client.get_logged_model(model_id).artifact_location
                import mlflow

                downloaded = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{location}/{inner}" if inner else location,
                    dst_path=str(landing),
                    tracking_uri=self.tracking_uri,
                )
            else:
                downloaded = self.client.download_artifacts(run.run_id, path, str(landing))
            if target.is_dir():
                shutil.rmtree(target)
            shutil.move(downloaded, target)
        return target

    def read_artifact(self, run: Run, path: str) -> str:
        """Return the content of a run's text file; raises NotFoundError if there is none."""
        with self.translate_errors():
            if isinstance(self.client, LightClient):
                content = self.client.read_artifact(run.run_id, path)
                if content is not None:
                    return str(content)
        with tempfile.TemporaryDirectory(prefix="mlctl-artifact-") as folder:
            return self.download_artifact(run, path, Path(folder)).read_text(encoding="utf-8")

    def list_experiments(self) -> tuple[Experiment, ...]:
        """Return every experiment with its number of runs, the one used last first."""
        if not self.exists:
            return ()
        counts = self._counts_by_search() if self.is_remote else self._counts_by_database()
        experiments = []
        for experiment_id, found in self.experiments_by_id.items():
            runs, last_start_ms = counts.get(experiment_id, (0, None))
            experiments.append(
                Experiment(
                    name=found.name,
                    experiment_id=experiment_id,
                    runs=runs,
                    last_run_at=to_datetime(last_start_ms),
                    artifact_location=found.artifact_location,
                    has_more=self.is_remote and runs >= MAX_REMOTE_COUNT,
                )
            )
        experiments.sort(key=lambda experiment: experiment.last_run_at or EPOCH, reverse=True)
        return tuple(experiments)

    def list_registered_versions(self, run: Run) -> list[str]:
        """Return "NAME version N" of every registered version that was made from this run."""
        filters = [f"run_id = '{run.run_id}'"]
        if run.model_uri:
            filters.append(f"source_path = '{run.model_uri}'")
        with self.translate_errors():
            versions = [version for text in filters for version in self.client.search_model_versions(text)]
        return sorted({f"{version.name} version {version.version}" for version in versions})

    def delete_run(self, run: Run) -> None:
        """Delete a run and its logged model, which MLflow would leave behind."""
        with self.translate_errors():
            if model_id := _logged_model_id(run):
                self.client.delete_logged_model(model_id)
            self.client.delete_run(run.run_id)

    def deleted_runs(self) -> dict[str, str]:
        """Return the names of deleted runs by their id."""
        if not self.exists:
            return {}
        with self.translate_errors():
            if isinstance(self.client, LightClient):
                return dict(self.client.deleted_runs())
            ids = list(self.experiments_by_id)
            pages = paged(self.client.search_runs, experiment_ids=ids, run_view_type=MLFLOW_DELETED_ONLY)
            return {found.info.run_id: found.info.run_name for found in pages}

    def deleted_experiments(self) -> dict[str, str]:
        """Return the names of deleted experiments by their id."""
        if not self.exists:
            return {}
        with self.translate_errors():
            is_light = isinstance(self.client, LightClient)
            view = {"is_deleted": True} if is_light else {"view_type": MLFLOW_DELETED_ONLY}
            pages = paged(self.client.search_experiments, max_results=1000, **view)
            return {found.experiment_id: found.name for found in pages}

    def translate_errors(self) -> AbstractContextManager[None]:
        """Raise mlctl's errors for those of MLflow, its database and its server."""
        return translate_errors(self.tracking_uri)

    @contextmanager
    def without_retries(self) -> Iterator[None]:
        """Translate errors, and keep MLflow from repeating a request whose answer was lost.

        Use it for requests that must not count twice. It holds for the rest of the process, whatever number of retries
        the environment asks for.
        """
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        with self.translate_errors():
            yield

    def _to_run(self, found: Any) -> Run:
        experiment_id = found.info.experiment_id
        experiment = self.experiments_by_id.get(experiment_id)
        return to_run(found, experiment.name if experiment else experiment_id, self.tracking_uri)

    def _counts_by_database(self) -> dict[str, tuple[int, int | None]]:
        # MLflow can count only by reading every run, which takes a millisecond per run
        if isinstance(self.client, DatabaseClient):
            with self.translate_errors():
                return self.client.count_runs()
        import sqlalchemy

        engine = sqlalchemy.create_engine(self.tracking_uri, poolclass=sqlalchemy.NullPool)
        query = sqlalchemy.text(
            "select experiment_id, count(*), max(start_time) from runs"
            " where lifecycle_stage = 'active' group by experiment_id"
        )
        with self.translate_errors(), engine.connect() as connection:
            return {str(row[0]): (row[1], row[2]) for row in connection.execute(query)}

    def _counts_by_search(self) -> dict[str, tuple[int, int | None]]:
        counts = {}
        for experiment_id in self.experiments_by_id:
            with self.translate_errors():
                page = self.client.search_runs([experiment_id], max_results=MAX_REMOTE_COUNT)
            counts[experiment_id] = (len(page), page[0].info.start_time if page else None)
        return counts


def paged(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Yield the results of all pages of one of MLflow's searches."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def silence_mlflow() -> None:
    """Keep messages, progress bars and warnings of MLflow and its libraries off stderr, except with --debug."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if logging.getLogger("mlctl").isEnabledFor(logging.DEBUG):
        return
    for name in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")
    # if two processes delete one alias at the same time, SQLAlchemy warns on stderr
    warnings.filterwarnings("ignore", message=".*DELETE statement on table.*")


def _walk(list_folder: Callable[[str | None], Any]) -> Iterator[Artifact]:
    folders: list[str | None] = [None]
    while folders:
        for found in list_folder(folders.pop()):
            yield Artifact(found.path, None if found.is_dir else found.file_size)
            if found.is_dir:
                folders.append(found.path)


def _logged_model_id(run: Run) -> str | None:
    """Return the id of the run's logged model from models:/m-…; None for the URI of a registered version."""
    uri = run.model_uri or ""
    return uri.removeprefix("models:/") if uri.startswith("models:/m-") else None
