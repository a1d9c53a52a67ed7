"""The routes on which an endpoint tells about itself.

GET /ping /health      200 while the worker can answer; needs no API key
GET /version           the versions of MLflow, mlctl and the model, as JSON; a version that was refused, and why
GET /metrics           Prometheus metrics
GET / /model /page/…   the web page to try the model, and the model's description for it
"""

from __future__ import annotations

import asyncio

import orjson

from mlctl.serving.description import describe, versions
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.metrics import CONTENT_TYPE, EndpointMetrics
from mlctl.serving.model import ServedModel
from mlctl.serving.page import files as page
from mlctl.serving.payloads.request_error import RequestError, quote
from mlctl.serving.router import Router
from mlctl.serving.status import WorkerStatus


class EndpointRoutes:
    """Answers what concerns the endpoint itself, and not its predictions."""

    def __init__(
        self,
        model: ServedModel,
        served: ServedVersion,
        *,
        metrics: EndpointMetrics | None,
        needs_key: bool,
        status: WorkerStatus,
    ) -> None:
        self._model = model
        self._served = served
        self._metrics = metrics
        self._needs_key = needs_key
        self._status = status

    def add_to(self, router: Router) -> None:
        """Add all routes."""
        router.add("/ping", self.ping, is_public=True)
        router.add("/health", self.ping, is_public=True)
        router.add("/version", self.version)
        if self._metrics:
            router.add("/metrics", self.metrics)
        router.add("/", self.page, is_page=True)
        router.add("/model", self.description, is_page=True)
        router.add("/page/", self.page, is_page=True)

    async def ping(self, request: Request) -> Response:
        """Answer a health check."""
        return Response(body=b"\n")

    async def version(self, request: Request) -> Response:
        """Return the versions of all parts."""
        return Response(body=orjson.dumps(versions(self._model, self._served) | self._status.to_json()))

    async def metrics(self, request: Request) -> Response:
        """Return the metrics of all workers."""
        assert self._metrics is not None
        text = await asyncio.to_thread(self._metrics.text)  # it reads the files of all workers
        return Response(body=text, content_type=CONTENT_TYPE.encode())

    async def description(self, request: Request) -> Response:
        """Return the model's description."""
        return Response(body=orjson.dumps(describe(self._model, self._served, needs_key=self._needs_key)))

    async def page(self, request: Request) -> Response:
        """Return a file of the web page."""
        if (file := page.find(request.path)) is None:
            raise RequestError(
                404, "NOT_FOUND", f"this endpoint has no {quote(request.path)}", "open / instead"
            )
        return Response(body=file[0], content_type=file[1].encode(), headers=list(page.HEADERS))
