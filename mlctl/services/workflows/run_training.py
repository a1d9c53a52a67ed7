"""The training that train, resume and reproduce share, here or on a cluster's node."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.recipes.keras_import import TENSORFLOW
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training.backend import check_backend, check_data
from mlctl.services.training.request import TrainRequest
from mlctl.settings import Settings

if TYPE_CHECKING:
    from mlctl.adapters.keras.worker_group import WorkerGroup
    from mlctl.adapters.tracking.store import TrackingStore
    from mlctl.services.training.resume_point import ResumePoint


def run_training(
    settings: Settings,
    request: TrainRequest,
    prepared: PreparedData,
    *,
    listener: ProgressListener,
    store: TrackingStore | None = None,
    resume_point: ResumePoint | None = None,
    workers: WorkerGroup | None = None,
) -> Run:
    """Import TensorFlow and MLflow, train, and register the model if the request says so.

    `store` is opened if the caller has not done so. `workers` train the model, and are closed in the end; without them,
    a worker on this machine trains it if the request asks for another backend.
    """
    prepared.require_measurable_objective()
    check_backend(request, prepared.recipe)
    check_data(request, prepared)
    # imported only now: everything that can be wrong with the request was reported without waiting for TensorFlow
    listener.stage("starting TensorFlow and MLflow")
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        from mlctl.adapters.keras import worker_group
        from mlctl.adapters.keras.worker_program import prepare_workers
        from mlctl.adapters.runlog.recorder import open_store
        from mlctl.adapters.tracking.store import TrackingStore
        from mlctl.services.training.run_setup import RunSetup
        from mlctl.services.training.training import Training
        from mlctl.services.workflows.finish_result import finish_result

    if store is None:
        open_ = TrackingStore if request.offline else open_store
        store = open_(settings.tracking_uri)
    setup = RunSetup(
        settings=settings, store=store, request=request, prepared=prepared, objective=prepared.objective
    )
    if workers is None and request.backend != TENSORFLOW:
        workers = worker_group.LocalWorker(request.backend, request.source)
    with contextlib.closing(workers) if workers else contextlib.nullcontext():
        if workers:
            listener.stage(f"starting Keras on {request.backend}")
            prepare_workers(
                workers,
                values=prepared.values,
                data=prepared.data,
                seed=request.seed,
                precision=setup.precision,
                name=prepared.recipe.name,
                listener=listener,
            )
        run = Training(setup, listener, resume_point, workers=workers).run()
    return finish_result(settings, store, run, register=request.register, listener=listener)
