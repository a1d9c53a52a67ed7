"""Put the parts of a worker's application together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlctl.serving.access import AccessLog
from mlctl.serving.app import Application
from mlctl.serving.endpoint_routes import EndpointRoutes
from mlctl.serving.endpoint_spec import EndpointSpec
from mlctl.serving.executor import PredictionExecutor
from mlctl.serving.http_messages import RequestLimits
from mlctl.serving.invocations import Invocations
from mlctl.serving.keys import ApiKeyAuth
from mlctl.serving.metrics import EndpointMetrics
from mlctl.serving.model import ServedModel
from mlctl.serving.router import Router


@dataclass(frozen=True)
class WorkerParts:
    """The parts of a worker that need to be started, watched or stopped."""

    application: Application
    invocations: Invocations
    executor: PredictionExecutor


def assemble(spec: EndpointSpec, access_log: AccessLog) -> WorkerParts:
    """Load the model and build the application that serves it."""
    served = spec.serving
    model = ServedModel(Path(served.folder))
    metrics = EndpointMetrics(served.name, served.version) if spec.metrics else None
    executor = PredictionExecutor(timeout_s=spec.timeout_s)
    invocations = Invocations(model, served, executor, max_body=spec.max_body)
    router = Router()
    router.add("/invocations", invocations, methods=("POST",))
    EndpointRoutes(model, served, metrics=metrics, needs_key=spec.key_file is not None).add_to(router)
    application = Application(
        router,
        served,
        limits=RequestLimits(max_body=spec.max_body, timeout_s=spec.timeout_s),
        access_log=access_log,
        metrics=metrics,
        auth=ApiKeyAuth(Path(spec.key_file)) if spec.key_file else None,
        hosts=None if spec.hosts is None else frozenset(spec.hosts),
    )
    return WorkerParts(application, invocations, executor)
