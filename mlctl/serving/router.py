"""Which function answers a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mlctl.serving.http_messages import Request, Response
from mlctl.serving.payloads.request_error import RequestError

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route of an endpoint.

    Attributes:
        path: Its path, or the beginning of its paths; the metrics name it so.
        handler: Answers its requests.
        methods: HTTP methods that it takes; GET includes HEAD.
        is_public: It needs no API key.
        is_page: A browser shows it, so that a client without a key is asked for one.
        error_body: Returns the body of an error in the form that the route's clients expect.
    """

    path: str
    handler: Handler
    methods: tuple[str, ...]
    is_public: bool = False
    is_page: bool = False
    error_body: Callable[[RequestError], bytes] = RequestError.to_json

    def takes(self, method: str) -> bool:
        """Return whether the route takes requests of a method."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)


class Router:
    """The routes of an endpoint."""

    def __init__(self) -> None:
        self._exact: dict[str, Route] = {}
        self._prefixes: list[Route] = []

    @property
    def routes(self) -> list[Route]:
        """All routes."""
        return [*self._exact.values(), *self._prefixes]

    @property
    def paths(self) -> list[str]:
        """The paths of all routes; those of prefixes end in /."""
        return [route.path for route in self.routes]

    def add(
        self,
        path: str,
        handler: Handler,
        *,
        methods: tuple[str, ...] = ("GET",),
        is_public: bool = False,
        is_page: bool = False,
        error_body: Callable[[RequestError], bytes] = RequestError.to_json,
    ) -> None:
        """Add the route of a path; if the path ends in /, of all paths that begin with it, except "/" itself."""
        route = Route(
            path=path,
            handler=handler,
            methods=methods,
            is_public=is_public,
            is_page=is_page,
            error_body=error_body,
        )
        if path.endswith("/") and path != "/":
            self._prefixes.append(route)
        else:
            self._exact[path] = route

    def remove(self, path: str) -> None:
        """Remove the route of a path, if there is one."""
        self._exact.pop(path, None)

    def find(self, path: str) -> Route | None:
        """Return the route of a request's path; an exact one before one of a prefix."""
        if route := self._exact.get(path):
            return route
        return next((route for route in self._prefixes if path.startswith(route.path)), None)
