"""The routes of the Open Inference Protocol.

GET  /v2                              the server and its extensions
GET  /v2/health/live /v2/health/ready 200 while the worker can answer; need no API key
GET  /v2/models/NAME                  the model's inputs and outputs
GET  /v2/models/NAME/ready
POST /v2/models/NAME/infer            predictions

After NAME, a path may have /versions/VERSION.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

import mlctl
from mlctl.domain.short_texts import shorten
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.interfaces.open_inference.answers import (
    UNNAMED,
    describe_outputs,
    encode_response,
    tensors_of,
)
from mlctl.serving.interfaces.open_inference.datatypes import datatype_of
from mlctl.serving.interfaces.open_inference.inputs import describe_inputs, predict_tensors
from mlctl.serving.interfaces.open_inference.request import read_request
from mlctl.serving.invocations import Answered, Exchange, Invocations
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.request_error import RequestError, bad_request, quote
from mlctl.serving.prediction import parse_request
from mlctl.serving.router import Router
from mlctl.serving.status import WorkerStatus

EXTENSIONS = ("binary_tensor_data", "classification")
HEADER_LENGTH = b"inference-header-content-length"
ACTIONS = ("", "ready", "infer")
VERSIONS = "versions"
# those that say nothing about the model; a model that takes params must not ignore others
PROTOCOL_PARAMETERS = frozenset(
    {
        "binary_data_output",
        "content_type",
        "headers",
        "priority",
        "sequence_end",
        "sequence_id",
        "sequence_start",
        "timeout",
    }
)
MAX_ERROR = 490  # characters of an error's text


@dataclass(frozen=True)
class InferenceAnswer:
    """An answered request, and the length of the JSON in its body if bytes of tensors follow it."""

    answered: Answered
    header_length: int | None


def error_body(error: RequestError) -> bytes:
    """Return an error as the protocol has it."""
    text = f"{error.message}; {error.hint}" if error.hint else error.message
    return orjson.dumps({"error": shorten(text, MAX_ERROR)})


class OpenInferenceRoutes:
    """Answers the requests of the protocol."""

    def __init__(
        self,
        model: ServedModel,
        served: ServedVersion,
        invocations: Invocations,
        status: WorkerStatus,
        *,
        strict: bool = False,
    ) -> None:
        self._model = model
        self._served = served
        self._invocations = invocations
        self._status = status
        self._strict = strict
        self._outputs: list[dict[str, Any]] | None = None

    def add_to(self, router: Router) -> None:
        """Add all routes."""
        router.add("/v2", self.server, error_body=error_body)
        router.add("/v2/health/live", self.live, is_public=True, error_body=error_body)
        router.add("/v2/health/ready", self.ready, is_public=True, error_body=error_body)
        router.add("/v2/", self.model_route, methods=("GET", "POST"), error_body=error_body)

    async def server(self, request: Request) -> Response:
        """Return the server's metadata."""
        extensions = list(EXTENSIONS)
        return Response(
            body=orjson.dumps({"name": "mlctl", "version": mlctl.__version__, "extensions": extensions})
        )

    async def live(self, request: Request) -> Response:
        """Answer whether the process runs."""
        return Response(body=b'{"live":true}')

    async def ready(self, request: Request) -> Response:
        """Answer whether a prediction would be taken. Raises RequestError if not."""
        await self._status.ready(request)
        return Response(body=b'{"ready":true}')

    async def model_route(self, request: Request) -> Response:
        """Answer the requests about the model. Raises RequestError for a path that the protocol does not have."""
        action = self._find_action(request.path)
        wanted = "POST" if action == "infer" else "GET"
        if request.method != wanted and (wanted, request.method) != ("GET", "HEAD"):
            error = RequestError(405, "METHOD_NOT_ALLOWED", f"{quote(request.path)} accepts only {wanted}")
            error.headers.append((b"allow", wanted.encode()))
            raise error
        if action == "infer":
            return await self._infer(request)
        if action == "ready":
            await self._status.ready(request)
            return Response(body=orjson.dumps({"name": self._served.name, "ready": True}))
        return Response(body=orjson.dumps(await self._metadata()))

    def _find_action(self, path: str) -> str:
        """Return "", "ready" or "infer"."""
        served = self._served
        parts = path.removeprefix("/v2/").rstrip("/").split("/")
        if parts[0] != "models" or len(parts) < 2:
            raise _not_found(f"this endpoint has no {quote(path)}", f"it has /v2/models/{served.name}")
        _, name, *rest = parts
        if name != served.name:
            raise _not_found(f"there is no model {quote(name)}", f"this endpoint serves {quote(served.name)}")
        if rest[:1] == [VERSIONS]:
            if rest[1:2] != [served.version] or not served.version:
                version = f"version {served.version}" if served.version else "a model without versions"
                wanted = quote(rest[1] if len(rest) > 1 else "")
                raise _not_found(f"there is no version {wanted}", f"this endpoint serves {version}")
            rest = rest[2:]
        action = "/".join(rest)
        if action not in ACTIONS:
            raise _not_found(f"this endpoint has no {quote(path)}", "after the model come /ready and /infer")
        return action

    async def _metadata(self) -> dict[str, Any]:
        served = self._served
        if self._outputs is None:
            self._outputs = await self._describe_outputs()
        return {
            "name": served.name,
            "versions": [served.version] if served.version else [],
            "platform": self._model.info.runtime,
            "inputs": describe_inputs(self._model.signature),
            "outputs": self._outputs,
        }

    async def _describe_outputs(self) -> list[dict[str, Any]]:
        """Return the outputs as the signature, or else the answer to the model's example, has them."""
        if specs := self._model.signature.outputs:
            return [
                {
                    "name": spec.name or UNNAMED,
                    "datatype": datatype_of(spec.dtype),
                    "shape": [length if length >= 0 else -1 for length in spec.shape],
                }
                for spec in specs
            ]
        example = self._model.example
        if example is None or not self._model.signature.is_known:
            return []
        call = parse_request(self._model, example, "application/json")
        if call is None:
            return []
        answers = await self._invocations.executor.run(call.predict, size=None)
        return describe_outputs(tensors_of(answers))

    async def _infer(self, request: Request) -> Response:
        invocations = self._invocations
        body = await request.body()
        is_versioned = f"/{VERSIONS}/" in request.path
        if invocations.chooser is not None and not is_versioned:
            chosen = await invocations.chooser(request, body)
            if chosen is not None:
                return chosen
        header = request.headers.get(HEADER_LENGTH)
        length = None if header is None else header.decode("latin1")
        with invocations.stats.measured():
            answer = await invocations.executor.run(
                partial(self.answer, body, length), size=len(body), kind="v2"
            )
        response = Response(body=answer.answered.body, rows=answer.answered.rows)
        if answer.header_length is not None:
            response.content_type = b"application/octet-stream"
            response.headers.append((HEADER_LENGTH, b"%d" % answer.header_length))
        if invocations.observers:
            exchange = Exchange(
                request_id=request.request_id,
                body=body,
                content_type=request.content_type,
                version=self._served.version,
                answered=answer.answered,
                is_plain=False,
            )
            response.after = partial(invocations.observe, exchange)
        return response

    def answer(self, body: bytes, header_length: str | None) -> InferenceAnswer:
        """Return the model's answer to the body of a request."""
        started = time.perf_counter()
        request = read_request(body, header_length)
        if self._model.signature.params and (params := request.parameters.keys() - PROTOCOL_PARAMETERS):
            raise bad_request(
                f"the parameter {quote(min(params))} cannot be sent so",
                "send the model's params to /invocations",
            )
        call = predict_tensors(self._model, request.tensors, strict=self._strict)
        answers = call.predict()
        tensors = tensors_of(answers, [spec.name for spec in self._model.signature.outputs])
        head = {"model_name": self._served.name, "model_version": self._served.version}
        content, length = encode_response(head, request, tensors, self._model.info.outputs)
        answered = Answered(
            body=content,
            rows=call.rows,
            inputs=call.inputs,
            answers=answers,
            seconds=time.perf_counter() - started,
        )
        return InferenceAnswer(answered, length)


def _not_found(message: str, hint: str) -> RequestError:
    return RequestError(404, "NOT_FOUND", message, hint)
