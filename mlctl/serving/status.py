"""What a worker knows about its own readiness, and about versions that the supervisor refused."""

from __future__ import annotations

from typing import Any

from mlctl.serving.control import WorkerControl
from mlctl.serving.executor import PredictionExecutor
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.router import Router


class WorkerStatus:
    """Answers GET /ready, and holds what the supervisor tells about versions.

    Attributes:
        draining: The worker takes no new connections.
        refused: The last version that was promoted and not served: its `version`, the `reason` and the time (`at`).
    """

    def __init__(self, executor: PredictionExecutor, control: WorkerControl) -> None:
        self.draining = False
        self.refused: dict[str, Any] | None = None
        self._executor = executor
        control.on("refused", self._set_refused)

    def add_to(self, router: Router) -> None:
        """Add the route."""
        router.add("/ready", self.ready, is_public=True)

    def to_json(self) -> dict[str, Any]:
        """Return what GET /version adds."""
        return {"refused": self.refused} if self.refused else {}

    async def ready(self, request: Request) -> Response:
        """Answer 200 if a request would be taken, else 503 with the reason."""
        if self.draining:
            raise _unready("this worker is about to end")
        if not self._executor.is_ready:
            raise _unready("too many requests are waiting")
        return Response(body=b"\n")

    def _set_refused(self, content: dict[str, Any] | None) -> None:
        self.refused = content


def _unready(reason: str) -> RequestError:
    error = RequestError(503, "TEMPORARILY_UNAVAILABLE", reason, "send requests later, or elsewhere")
    error.headers.append((b"retry-after", b"1"))
    return error
