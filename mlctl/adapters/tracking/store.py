"""Reading runs: all that looks at a tracking store goes through `TrackingStore`, which speaks MLflow."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
import sqlalchemy
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType

from mlctl.adapters.tracking.convert import to_run
from mlctl.adapters.tracking.errors import asking
from mlctl.adapters.tracking.filters import as_filter, named
from mlctl.adapters.tracking.health import check_reachable, sqlite_file
from mlctl.domain.run import Artifact, Experiment, Run
from mlctl.domain.run_queries import Condition, SortKey
from mlctl.errors import NotFoundError

FIRST_PAGE, PAGE = 100, 5000
REMOTE_PAGE = 1000  # a server takes over a second for this many, and must not be given up on
COUNTED_REMOTELY = 1000


class TrackingStore:
    """A tracking store, read only but for `delete`.

    Making one asks nothing of the store; the first question does, and fails within seconds where nothing
    answers. A sqlite file that does not exist is a store without runs; only `create` lets it be made.
    """

    def __init__(self, tracking_uri: str, create: bool = False) -> None:
        self.tracking_uri = tracking_uri
        self._create = create
        # MLflow's own defaults wait for minutes; a user's choice in the environment counts
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        hush()

    @cached_property
    def exists(self) -> bool:
        """Whether there is anything to read: a sqlite file may not have been made yet."""
        file = sqlite_file(self.tracking_uri)
        return self._create or file is None or file.exists()

    @cached_property
    def client(self) -> mlflow.MlflowClient:
        """MLflow's client of this store; raises as `check_reachable` does, and NotFoundError where no store is."""
        if not self.exists:
            raise NotFoundError("there are no runs here yet", "mlctl train digits makes the first")
        check_reachable(self.tracking_uri)
        with self.asking():
            return mlflow.MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)

    @property
    def remote(self) -> bool:
        """Whether a server stands between us and the database."""
        return self.tracking_uri.startswith("http") or self.tracking_uri.startswith("databricks")

    @cached_property
    def experiments_by_id(self) -> Mapping[str, Any]:
        """MLflow's experiments, deleted ones left out."""
        if not self.exists:
            return {}
        found: dict[str, Any] = {}
        token = None
        with self.asking():
            while True:
                page = self.client.search_experiments(max_results=1000, page_token=token)
                found.update({one.experiment_id: one for one in page})
                token = page.token
                if not token:
                    return found

    def experiment_ids(self, name: str | None) -> list[str]:
        """Return the id of the experiment of this name, or all ids; raises NotFoundError."""
        if name is None or not self.exists:
            return list(self.experiments_by_id)
        ids = [key for key, one in self.experiments_by_id.items() if one.name == name]
        if not ids:
            known = ", ".join(one.name for one in self.experiments_by_id.values()) or "none"
            raise NotFoundError(f"there is no experiment {name!r}", f"there are: {known}")
        return ids

    def search(
        self,
        conditions: Sequence[Condition] = (),
        order: Sequence[SortKey] = (),
        experiment: str | None = None,
        expected: int | None = None,
    ) -> Iterator[Run]:
        """Yield runs in `order`, newest first where it leaves a choice; runs without a key come last.

        Conditions only spare work: what cannot be said in MLflow's search is left out, so each run must be
        checked again. `expected` is how many runs the caller is likely to take.
        """
        if not self.exists:
            return
        ids = self.experiment_ids(experiment)
        said = " and ".join(text for one in conditions if (text := as_filter(one)))
        order_by = [f"{named(key.field)} {'DESC' if key.descending else 'ASC'}" for key in order]
        largest = REMOTE_PAGE if self.remote else PAGE
        size = min(expected or largest, largest)
        token = None
        while True:
            with self.asking():
                page = self.client.search_runs(
                    ids, said, ViewType.ACTIVE_ONLY, max_results=size, order_by=order_by, page_token=token
                )
            for one in page:
                yield self._run(one)
            token = page.token
            if not token:
                return
            size = min(max(FIRST_PAGE, size * 8), largest)

    def run(self, run_id: str) -> Run:
        """Return one run by its full id; raises NotFoundError."""
        with self.asking():
            found = self.client.get_run(run_id)
        if found.info.lifecycle_stage == "deleted":
            raise NotFoundError(
                f"run {run_id} is deleted", f"mlflow runs restore --run-id {run_id} brings it back"
            )
        return self._run(found)

    def runs(self, run_ids: Sequence[str]) -> Iterator[Run]:
        """Yield those of these runs that there are, in no order."""
        ids = list(self.experiments_by_id) if run_ids else []
        for start in range(0, len(run_ids), FIRST_PAGE):
            some = ", ".join(f"'{one}'" for one in run_ids[start : start + FIRST_PAGE])
            with self.asking():
                page = self.client.search_runs(ids, f"attributes.run_id IN ({some})", max_results=FIRST_PAGE)
            yield from (self._run(one) for one in page)

    def history(self, run_id: str, metric: str) -> tuple[tuple[int, float], ...]:
        """Return a metric's (step, value), one a step: the last written where there are several."""
        with self.asking():
            points = self.client.get_metric_history(run_id, metric)
        by_step = {one.step: one.value for one in sorted(points, key=lambda one: (one.step, one.timestamp))}
        return tuple(by_step.items())

    def artifacts(self, run: Run) -> tuple[Artifact, ...]:
        """Return every file and folder of a run and, under "model/", of its logged model."""
        with self.asking():
            found = list(self._walk(lambda path: self.client.list_artifacts(run.run_id, path)))
            if (model := _model_id(run)) and not any(one.path.partition("/")[0] == "model" for one in found):
                listed = self._walk(lambda path: self.client.list_logged_model_artifacts(model, path))
                found.append(Artifact("model", None))
                found += [Artifact(f"model/{one.path}", one.size_bytes) for one in listed]
        return tuple(sorted(found, key=lambda one: one.path))

    def download(self, run: Run, path: str, to: Path) -> Path:
        """Copy an artifact, a file or a folder, into the folder `to`, replacing what bears its name there."""
        to.mkdir(parents=True, exist_ok=True)
        target = to / Path(path).name
        top, _, inner = path.partition("/")
        # where a download lands depends on the kind of store, so it is moved into place from a folder of its own
        with self.asking(), tempfile.TemporaryDirectory(dir=to, prefix=".fetching-") as apart:
            model = _model_id(run)
            own = {one.path for one in self.client.list_artifacts(run.run_id)}
            (landing := Path(apart) / "here").mkdir()
            if model and top == "model" and top not in own:
                place = self.client.get_logged_model(model).artifact_location
                got = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{place}/{inner}" if inner else place,
                    dst_path=str(landing),
                    tracking_uri=self.tracking_uri,
                )
            else:
                got = self.client.download_artifacts(run.run_id, path, str(landing))
            if target.is_dir():
                shutil.rmtree(target)
            shutil.move(got, target)
        return target

    def experiments(self) -> tuple[Experiment, ...]:
        """Return every experiment with how many runs it holds, the one used last first."""
        if not self.exists:
            return ()
        counted = self._counted_by_pages() if self.remote else self._counted_by_database()
        found = []
        for key, one in self.experiments_by_id.items():
            runs, last = counted.get(key, (0, None))
            more = self.remote and runs >= COUNTED_REMOTELY
            found.append(Experiment(one.name, key, runs, moment(last), one.artifact_location, more))
        never = datetime.fromtimestamp(0, UTC)
        return tuple(sorted(found, key=lambda one: one.last_run_at or never, reverse=True))

    def registered_versions(self, run: Run) -> list[str]:
        """Return "NAME version N" of every registered version that was made from this run."""
        filters = [f"run_id = '{run.run_id}'"]
        if run.model_uri:
            filters.append(f"source_path = '{run.model_uri}'")
        with self.asking():
            versions = [one for text in filters for one in self.client.search_model_versions(text)]
        return sorted({f"{one.name} version {one.version}" for one in versions})

    def delete(self, run: Run) -> None:
        """Delete a run and its logged model, which MLflow would otherwise leave behind for ever."""
        with self.asking():
            if model := _model_id(run):
                self.client.delete_logged_model(model)
            self.client.delete_run(run.run_id)

    def asking(self) -> AbstractContextManager[None]:
        """Turn what MLflow, its database or its server raise into errors of ours."""
        return asking(self.tracking_uri)

    @contextmanager
    def making(self) -> Iterator[None]:
        """As `asking`, for what would count twice: MLflow sends nothing again whose answer was lost.

        That holds for the rest of the process, whatever number of retries the environment asks for.
        """
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        with self.asking():
            yield

    def _run(self, found: MlflowRun) -> Run:
        experiment = self.experiments_by_id.get(found.info.experiment_id)
        return to_run(found, experiment.name if experiment else found.info.experiment_id, self.tracking_uri)

    def _walk(self, listed: Any) -> Iterator[Artifact]:
        waiting: list[str | None] = [None]
        while waiting:
            for one in listed(waiting.pop()):
                yield Artifact(one.path, None if one.is_dir else one.file_size)
                if one.is_dir:
                    waiting.append(one.path)

    def _counted_by_database(self) -> dict[str, tuple[int, int | None]]:
        # MLflow can count only by reading every run, a millisecond each
        self.client  # noqa: B018  (reaches the store, and lets MLflow bring its tables up)
        engine = sqlalchemy.create_engine(self.tracking_uri, poolclass=sqlalchemy.NullPool)
        query = sqlalchemy.text(
            "select experiment_id, count(*), max(start_time) from runs"
            " where lifecycle_stage = 'active' group by experiment_id"
        )
        with self.asking(), engine.connect() as connection:
            return {str(row[0]): (row[1], row[2]) for row in connection.execute(query)}

    def _counted_by_pages(self) -> dict[str, tuple[int, int | None]]:
        counted = {}
        for key in self.experiments_by_id:
            with self.asking():
                page = self.client.search_runs([key], max_results=COUNTED_REMOTELY)
            counted[key] = (len(page), page[0].info.start_time if page else None)
        return counted


def hush() -> None:
    """Keep MLflow, its migrations, bars and warnings off stderr, unless --debug was said."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if logging.getLogger("mlctl").isEnabledFor(logging.DEBUG):
        return
    for name in ("mlflow", "alembic", "sqlalchemy", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")


def moment(milliseconds: int | None) -> datetime | None:
    """Return MLflow's milliseconds as a time with its zone."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _model_id(run: Run) -> str | None:
    """Return the id of a logged model from models:/m-…; a registered version's URI has none."""
    uri = run.model_uri or ""
    return uri.removeprefix("models:/") if uri.startswith("models:/m-") else None
