"""Which function answers a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mlctl.serving.http_messages import Request, Response

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
    """

    path: str
    handler: Handler
    methods: tuple[str, ...]
    is_public: bool = False
    is_page: bool = False

    def takes(self, method: str) -> bool:
        """Return whether the route takes requests of a method."""
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)


class Router:
    """The routes of an endpoint."""

    def __init__(self) -> None:
        self._exact: dict[str, Route] = {}
        self._prefixes: list[Route] = []

    @property
    def paths(self) -> list[str]:
        """The paths of all routes; those of prefixes end in /."""
        return [*self._exact, *(route.path for route in self._prefixes)]

    def add(
        self,
        path: str,
        handler: Handler,
        *,
        methods: tuple[str, ...] = ("GET",),
        is_public: bool = False,
        is_page: bool = False,
    ) -> None:
        """Add the route of a path; if the path ends in /, of all paths that begin with it, except "/" itself."""
        route = Route(path=path, handler=handler, methods=methods, is_public=is_public, is_page=is_page)
        if path.endswith("/") and path != "/":
            self._prefixes.append(route)
        else:
            self._exact[path] = route

    def find(self, path: str) -> Route | None:
        """Return the route of a request's path; an exact one before one of a prefix."""
        if route := self._exact.get(path):
            return route
        return next((route for route in self._prefixes if path.startswith(route.path)), None)
