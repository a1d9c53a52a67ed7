"""HTTP requests to tracking servers and endpoints: timeouts, certificates, proxies and redirects in one place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a command that may ask a server need not import it before it does
    from requests import PreparedRequest, Response


class HttpError(Exception):
    """The request got no answer."""


class CertificateError(HttpError):
    """The server's certificate is not trusted."""


class InvalidUrlError(HttpError):
    """The URL cannot be requested."""


class HttpClient:
    """Requests to one server, over a connection that stays open between requests.

    No redirect is followed: a redirect would send credentials to another address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float | tuple[float, float],
        verify: bool | str = True,
        user: tuple[str, str] | None = None,
        token: str = "",
        is_local: bool = False,
    ) -> None:
        """Prepare the client; no request is sent yet.

        Args:
            base_url: What each request's path is appended to.
            timeout_s: Seconds for connecting and for each read; or one value for each of the two.
            verify: False accepts any certificate; a path names a file of trusted authorities.
            user: User name and password for basic authentication.
            token: Bearer token.
            is_local: The server is a process of this machine: use no proxy and accept any certificate.
        """
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._verify = False if is_local else verify
        import requests
        import urllib3

        self._session = requests.Session()
        self._session.trust_env = not is_local
        if token:
            self._session.auth = _bearer_token(token)
        elif user:
            self._session.auth = requests.auth.HTTPBasicAuth(user[0].encode(), user[1].encode())
        if self._verify is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def request(self, method: str, path: str, **options: Any) -> Response:
        """Return the answer, whatever its status; `options` are those of `requests` (`json`, `params`, `data`).

        Raises CertificateError, InvalidUrlError, and HttpError if there is no answer in time.
        """
        from requests import exceptions

        try:
            return self._session.request(
                method,
                self.base_url + path,
                timeout=self._timeout_s,
                verify=self._verify,
                allow_redirects=False,
                **options,
            )
        except exceptions.SSLError as exc:
            raise CertificateError(str(exc)) from exc
        except (exceptions.ConnectionError, exceptions.Timeout) as exc:
            raise HttpError(str(exc)) from exc
        except exceptions.RequestException as exc:
            raise InvalidUrlError(str(exc)) from exc
        except OSError as exc:  # the file of trusted authorities is missing
            raise CertificateError(str(exc)) from exc

    def get_json(self, path: str) -> dict[str, Any] | None:
        """Return the JSON object that the server answers; None if there is no answer, or another one."""
        try:
            document = self.request("GET", path).json()
        except (HttpError, ValueError):
            return None
        return document if isinstance(document, dict) else None

    def set_header(self, name: str, value: str) -> None:
        """Send a header with each request."""
        self._session.headers[name] = value

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def tracking_server_client(
    tracking_uri: str, *, timeout_s: float | tuple[float, float], **options: Any
) -> HttpClient:
    """Return a client of a tracking server, which trusts the certificates that MLflow's own client trusts."""
    verify: bool | str = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
        verify = False
    client = HttpClient(tracking_uri, timeout_s=timeout_s, verify=verify, **options)
    if workspace := os.environ.get("MLFLOW_WORKSPACE", "").strip():
        client.set_header("X-MLFLOW-WORKSPACE", workspace)
    return client


def _bearer_token(token: str) -> Callable[[PreparedRequest], PreparedRequest]:
    """Return what sends the token even if ~/.netrc has a password for the host, which would replace a plain header."""

    def authorize(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return authorize
