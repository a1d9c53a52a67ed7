"""Put the parts of a worker's application together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlctl.serving.access import AccessLog
from mlctl.serving.app import Application
from mlctl.serving.control import WorkerControl
from mlctl.serving.conversion.load import load_batched
from mlctl.serving.endpoint_routes import EndpointRoutes
from mlctl.serving.endpoint_spec import EndpointSpec
from mlctl.serving.executor import THREADS, PredictionExecutor
from mlctl.serving.http_messages import RequestLimits
from mlctl.serving.interfaces.cors import CorsPolicy
from mlctl.serving.interfaces.details import DetailedAnswers
from mlctl.serving.interfaces.open_inference.routes import OpenInferenceRoutes
from mlctl.serving.interfaces.routes import DescriptionRoutes
from mlctl.serving.invocations import Invocations
from mlctl.serving.keys import ApiKeyAuth
from mlctl.serving.metrics import EndpointMetrics
from mlctl.serving.rollout.assemble import VersionRole
from mlctl.serving.router import Router
from mlctl.serving.status import WorkerStatus
from mlctl.serving.traffic.assemble import TrafficWatch
from mlctl.serving.trial import VersionTrial

BATCH_THREADS = 32


@dataclass(frozen=True)
class WorkerParts:
    """The parts of a worker that need to be started, watched or stopped."""

    application: Application
    invocations: Invocations
    executor: PredictionExecutor
    status: WorkerStatus
    role: VersionRole
    traffic: TrafficWatch


def assemble(spec: EndpointSpec, access_log: AccessLog, control: WorkerControl) -> WorkerParts:
    """Load the model and build the application that serves it."""
    served = spec.serving
    model, is_batched = load_batched(spec)
    metrics = EndpointMetrics(served.name, served.version, Path(spec.scratch)) if spec.metrics else None
    executor = PredictionExecutor(
        timeout_s=spec.timeout_s,
        max_queue=spec.max_queue,
        threads=BATCH_THREADS if is_batched else THREADS,  # of which most wait for a batch
        may_inline=model.info.runtime == "onnxruntime" and not is_batched,
    )
    invocations = Invocations(model, served, executor, max_body=spec.max_body, strict=spec.strict)
    router = Router()
    router.add("/invocations", invocations, methods=("POST",))
    role = VersionRole(spec, invocations, router)
    traffic = TrafficWatch(spec, invocations, executor, metrics)
    traffic.add_to(router)
    status = WorkerStatus(executor, control)
    status.add_to(router)
    EndpointRoutes(model, served, metrics=metrics, needs_key=spec.key_file is not None, status=status).add_to(
        router
    )
    OpenInferenceRoutes(model, served, invocations, status, strict=spec.strict).add_to(router)
    DescriptionRoutes(
        model,
        served,
        invocations,
        router=router,
        needs_key=spec.key_file is not None,
        strict=spec.strict,
    ).add_to(router)
    invocations.encoder = DetailedAnswers(served, model.info.outputs).encoder
    application = Application(
        router,
        served,
        limits=RequestLimits(max_body=spec.max_body, timeout_s=spec.timeout_s),
        access_log=access_log,
        metrics=metrics,
        auth=ApiKeyAuth(Path(spec.key_file)) if spec.key_file else None,
        hosts=None if spec.hosts is None else frozenset(spec.hosts),
        cors=CorsPolicy(spec.cors) if spec.cors else None,
        trial=VersionTrial(control, timeout_s=spec.timeout_s),
    )
    return WorkerParts(application, invocations, executor, status, role, traffic)
