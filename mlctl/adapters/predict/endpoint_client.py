"""Asking a served model over HTTP: one of ours, or any of `mlflow models serve`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import requests

from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, RefusedError, UnreachableError

CONNECT_S, ANSWER_S = 3.0, 120.0
AGAIN = 1  # a worker that is replaced resets its connections; asking once more cures that


class Remote:
    """An endpoint's URL, with the key that it asks for."""

    def __init__(self, url: str, key_file: Path | None = None) -> None:
        self.url = url.rstrip("/").removesuffix("/invocations")
        self._session = requests.Session()
        if key_file is not None:
            self._session.headers["Authorization"] = f"Bearer {_key(key_file)}"

    def about(self) -> dict[str, Any] | None:
        """Return what an endpoint of ours says of its model; None where it is another server."""
        reply = self._ask("GET", "/model")
        if reply.status_code == 404:
            return None
        self._check(reply)
        try:
            return dict(reply.json())
        except ValueError:
            return None

    def predict(self, payload: dict[str, Any]) -> tuple[Any, str]:
        """Return the predictions and the version that made them ("" where the server does not say)."""
        body = json.dumps(payload)
        reply = self._ask("POST", "/invocations", data=body, headers={"Content-Type": "application/json"})
        self._check(reply)
        try:
            return reply.json()["predictions"], reply.headers.get("x-model-version", "")
        except (ValueError, KeyError, TypeError) as exc:
            raise BadDataError(f"{self.url} answers no predictions", "is it a model's endpoint?") from exc

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        for attempt in range(AGAIN + 1):
            try:
                return self._session.request(method, self.url + path, timeout=(CONNECT_S, ANSWER_S), **more)
            except requests.exceptions.SSLError as exc:
                raise ConfigurationError(
                    f"{self.url} shows a certificate that is not trusted here",
                    "name its authority in REQUESTS_CA_BUNDLE",
                ) from exc
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as exc:
                if attempt == AGAIN:
                    raise UnreachableError(
                        f"{self.url} does not answer", "mlctl endpoints list shows what is served here"
                    ) from exc
                time.sleep(0.2)
            except requests.exceptions.RequestException as exc:
                raise BadDataError(f"{self.url} cannot be asked: {exc}", "http://HOST:PORT") from exc
        raise AssertionError("unreachable")

    def _check(self, reply: requests.Response) -> None:
        if reply.ok:
            return
        try:
            said = reply.json()
            message, hint = str(said.get("message", ""))[:300], str(said.get("hint", ""))
        except (ValueError, AttributeError):
            message, hint = reply.text[:200], ""
        if reply.status_code in (401, 403):
            raise RefusedError(
                f"{self.url} refuses: {message or reply.reason}", "--api-key-file names a file with your key"
            )
        if reply.status_code == 404:
            raise NotFoundError(f"{self.url} has no model's endpoint", "http://HOST:PORT, without a path")
        if reply.status_code >= 500:
            raise UnreachableError(f"{self.url} failed: {message}", hint or "its log says more")
        raise BadDataError(f"{self.url} refuses the input: {message}", hint)


def _key(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").split()
    except OSError as exc:
        raise NotFoundError(f"there is no key file {file}", "the key alone, on one line") from exc
    if len(lines) != 1 or not lines[0].isascii():
        raise BadDataError(
            f"{file} is not a key: one word is wanted", "mlctl keys new NAME > FILE writes one for you"
        )
    return lines[0]
