"""POST /invocations: from a request's body to the model's answers.

Parsing, predicting and encoding are one synchronous call, which the executor runs where it blocks nobody.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.executor import PredictionExecutor
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.mlflow_fallback import MlflowFallback
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.answers import encode
from mlctl.serving.payloads.pictures import is_picture_type, may_hold_pictures
from mlctl.serving.prediction import parse_request
from mlctl.serving.rollout.version_stats import SERVING, VersionStats

WARM_UP_RUNS = 6

Encode = Callable[[Any], bytes]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answered request.

    Attributes:
        body: The encoded answers.
        rows: Number of rows; 0 if MLflow's own application answered.
        inputs: Checked columns, array or tensors by name; None if MLflow's own application answered.
        answers: What the model returned; None if MLflow's own application answered.
        seconds: Time from the body to its encoded answers.
    """

    body: bytes
    rows: int = 0
    inputs: Any = None
    answers: Any = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request with its answer, for those who watch the traffic after the answer was sent."""

    request_id: str
    body: bytes
    content_type: str
    version: str
    answered: Answered
    is_plain: bool = True  # the answer has MLflow's own form


class Invocations:
    """Answers POST /invocations.

    Attributes:
        observers: Called with each exchange after its answer was sent; they must return at once.
        chooser: Answers a request in place of this model, or returns None; for a rollout.
        encoder: Returns the function that encodes the answers to a request, if it wants another form than MLflow's.
        stats: Counts of the requests to this version.
    """

    def __init__(
        self,
        model: ServedModel,
        served: ServedVersion,
        executor: PredictionExecutor,
        *,
        max_body: int,
        strict: bool = False,
    ) -> None:
        self.model = model
        self.served = served
        self.executor = executor
        self.observers: list[Callable[[Exchange], None]] = []
        self.chooser: Callable[[Request, bytes], Awaitable[Response | None]] | None = None
        self.encoder: Callable[[Request], Encode | None] = lambda request: None
        self.stats = VersionStats(None, SERVING, served.version)
        self._max_body = max_body
        self._strict = strict
        self._mlflow = MlflowFallback(model)

    def warm_up(self) -> None:
        """Answer the model's own example, so that the first client does not wait.

        Raises RequestError, or the model's own exception, if the model cannot answer it.
        """
        if not self.model.signature.is_known:
            self._mlflow.load()
        if (example := self.model.example) is None:
            return
        for _ in range(WARM_UP_RUNS):
            self.executor.measure(partial(self.answer, example, "application/json"), size=len(example))

    def answer(self, body: bytes, content_type: str, encode_answers: Encode | None = None) -> Answered:
        """Return the model's answers to a request's body. Raises RequestError, or what the model raises."""
        started = time.perf_counter()
        call = parse_request(self.model, body, content_type, max_bytes=self._max_body, strict=self._strict)
        if call is None:
            content = self._mlflow.answer(body, content_type or "application/json")
            if encode_answers:
                content = encode_answers(orjson.loads(content)["predictions"])
            return Answered(body=content, seconds=time.perf_counter() - started)
        answers = call.predict()
        content = (encode_answers or encode)(answers)
        return Answered(
            body=content,
            rows=call.rows,
            inputs=call.inputs,
            answers=answers,
            seconds=time.perf_counter() - started,
        )

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        body = await request.body()
        if self.chooser is not None and (chosen := await self.chooser(request, body)) is not None:
            return chosen
        content_type, encode_answers = request.content_type, self.encoder(request)
        answer = partial(self.answer, body, content_type, encode_answers)
        is_compressed = "parquet" in content_type or is_picture_type(content_type) or may_hold_pictures(body)
        kind = content_type.partition(";")[0]
        with self.stats.measured():
            answered = await self.executor.run(answer, size=None if is_compressed else len(body), kind=kind)
        response = Response(body=answered.body, rows=answered.rows)
        if self.observers:
            exchange = Exchange(
                request_id=request.request_id,
                body=body,
                content_type=content_type,
                version=self.served.version,
                answered=answered,
                is_plain=encode_answers is None,
            )
            response.after = partial(self.observe, exchange)
        return response

    def observe(self, exchange: Exchange) -> None:
        """Tell all observers of an exchange."""
        for observer in self.observers:
            observer(exchange)
