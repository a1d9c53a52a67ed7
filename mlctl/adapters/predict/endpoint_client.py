"""HTTP client of a served model: an mlctl endpoint, or any server of `mlflow models serve`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.adapters.system.http import CertificateError, HttpClient, HttpError, InvalidUrlError
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, RefusedError, UnreachableError
from mlctl.files import read_secret

if TYPE_CHECKING:
    from requests import Response

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 3.0, 120.0
RETRIES, RETRY_PAUSE_S = 1, 0.2  # a worker that is being replaced resets its connections
URL_HINT = "use http://HOST:PORT, without a path"


class EndpointClient:
    """Sends requests to the endpoint at a URL, with the API key of a file."""

    def __init__(self, url: str, key_file: Path | None = None) -> None:
        self.url = url.rstrip("/").removesuffix("/invocations")
        token = _read_key(key_file) if key_file is not None else ""
        timeout = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
        self._client = HttpClient(self.url, timeout_s=timeout, token=token)

    def get_metadata(self) -> dict[str, Any] | None:
        """Return what an mlctl endpoint reports about its model; None for another server."""
        response = self._request("GET", "/model")
        if response.status_code == 404:
            return None
        self._check(response)
        try:
            return dict(response.json())
        except ValueError:
            return None

    def predict(self, payload: dict[str, Any]) -> tuple[Any, str]:
        """Return the predictions, and the model's version ("" if the server does not report it)."""
        headers = {"Content-Type": "application/json"}
        response = self._request("POST", "/invocations", data=json.dumps(payload), headers=headers)
        self._check(response)
        try:
            return response.json()["predictions"], response.headers.get("x-model-version", "")
        except (ValueError, KeyError, TypeError) as exc:
            raise BadDataError(f"{self.url} returned no predictions", "check that it serves a model") from exc

    def _request(self, method: str, path: str, **options: Any) -> Response:
        for attempt in range(RETRIES + 1):
            try:
                return self._client.request(method, path, **options)
            except CertificateError as exc:
                raise ConfigurationError(
                    f"the certificate of {self.url} is not trusted on this machine",
                    "set REQUESTS_CA_BUNDLE to a file with its certificate authority",
                ) from exc
            except InvalidUrlError as exc:
                raise BadDataError(f"{self.url} is not a valid URL: {exc}", URL_HINT) from exc
            except HttpError as exc:
                if attempt == RETRIES:
                    raise UnreachableError(
                        f"{self.url} does not answer",
                        "mlctl endpoints list shows the endpoints of this machine",
                    ) from exc
                time.sleep(RETRY_PAUSE_S)
        raise AssertionError("unreachable")

    def _check(self, response: Response) -> None:
        """Raise the error that an unsuccessful response stands for."""
        if response.ok:
            return
        try:
            answer = response.json()
            message, hint = str(answer.get("message", ""))[:300], str(answer.get("hint", ""))
        except (ValueError, AttributeError):
            message, hint = response.text[:200], ""
        if response.status_code in (401, 403):
            raise RefusedError(
                f"{self.url} refuses access: {message or response.reason}",
                "pass a file with your API key: --api-key-file FILE",
            )
        if response.status_code == 404:
            raise NotFoundError(f"there is no model endpoint at {self.url}", URL_HINT)
        if response.status_code >= 500:
            raise UnreachableError(f"{self.url} failed: {message}", hint or "see the endpoint's log")
        raise BadDataError(f"{self.url} refuses the input: {message}", hint)


def _read_key(file: Path) -> str:
    key = read_secret(str(file), content="an API key")
    if len(key.split()) != 1 or not key.isascii():
        raise BadDataError(
            f"{file} does not hold an API key: a single word is expected",
            "mlctl keys new NAME > FILE writes a new key",
        )
    return key
