"""The routes that describe an endpoint to programs and people.

GET /openapi.json   OpenAPI 3.1, with this model's schemas
GET /docs /docs/…   a page that shows it, and sends requests
"""

from __future__ import annotations

import functools
from pathlib import Path

import orjson

from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.interfaces.openapi import describe_api
from mlctl.serving.invocations import Invocations
from mlctl.serving.model import ServedModel
from mlctl.serving.page.files import HEADERS
from mlctl.serving.payloads.request_error import RequestError, quote
from mlctl.serving.router import Router

FOLDER = Path(__file__).parent / "docs"
CONTENT_TYPES = {
    "docs.html": b"text/html; charset=utf-8",
    "docs.css": b"text/css; charset=utf-8",
    "docs.js": b"text/javascript; charset=utf-8",
}


class DescriptionRoutes:
    """Answers /openapi.json and /docs."""

    def __init__(
        self,
        model: ServedModel,
        served: ServedVersion,
        invocations: Invocations,
        *,
        router: Router,
        needs_key: bool,
        strict: bool,
    ) -> None:
        self._model = model
        self._served = served
        self._invocations = invocations
        self._router = router
        self._needs_key = needs_key
        self._strict = strict
        self._document: bytes | None = None

    def add_to(self, router: Router) -> None:
        """Add all routes."""
        router.add("/openapi.json", self.openapi, is_page=True)
        router.add("/docs", self.page, is_page=True)
        router.add("/docs/", self.page, is_page=True)

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document, which is built when it is first asked for."""
        if self._document is None:
            self._document = await self._invocations.executor.run(self._describe, size=None)
        return Response(body=self._document)

    async def page(self, request: Request) -> Response:
        """Return a file of the page."""
        if (found := _find_file(request.path)) is None:
            raise RequestError(404, "NOT_FOUND", f"this endpoint has no {quote(request.path)}", "open /docs")
        content, content_type = found
        return Response(body=content, content_type=content_type, headers=list(HEADERS))

    def _describe(self) -> bytes:
        example = self._model.example
        answer = None
        if example is not None:
            answer = self._invocations.answer(example, "application/json").body
        document = describe_api(
            self._model,
            self._served,
            routes=self._router.routes,
            needs_key=self._needs_key,
            strict=self._strict,
            example_answer=answer,
        )
        return orjson.dumps(document)


@functools.cache
def _find_file(path: str) -> tuple[bytes, bytes] | None:
    """Return a file's content and content type; None if the page has no such file."""
    name = "docs.html" if path == "/docs" else path.removeprefix("/docs/")
    return ((FOLDER / name).read_bytes(), CONTENT_TYPES[name]) if name in CONTENT_TYPES else None
