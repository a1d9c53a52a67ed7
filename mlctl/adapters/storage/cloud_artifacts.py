"""Artifacts on Google Cloud Storage and Azure Blob Storage, through MLflow's own repositories."""

from __future__ import annotations

import functools
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from mlctl.adapters.system.extras import require_extra
from mlctl.errors import ConfigurationError, MlctlError, NotFoundError, RefusedError, UnreachableError

PROBE_TIMEOUT_S = 2.0
GOOGLE, AZURE = "gs", "wasbs"
LIBRARIES = {  # by scheme: module, extra, the service's name, where its credentials come from
    GOOGLE: (
        "google.cloud.storage",
        "gcs",
        "Google Cloud Storage",
        "check GOOGLE_APPLICATION_CREDENTIALS, or the machine's service account",
    ),
    AZURE: (
        "azure.storage.blob",
        "azure",
        "Azure Blob Storage",
        "check AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCESS_KEY, or the machine's identity",
    ),
}


def verify(uri: str) -> None:
    """Check that a server can keep artifacts at this address, by writing and deleting an object.

    Raises:
        ConfigurationError: The library is not installed, or the credentials are wrong.
        NotFoundError: There is no such bucket or container.
        RefusedError: A right is missing.
        UnreachableError: Nothing answers.
    """
    scheme = urlsplit(uri).scheme
    module, extra, service, _ = LIBRARIES[scheme]
    require_extra(module, extra, service)
    probe = _probe_google if scheme == GOOGLE else _probe_azure
    try:
        probe(uri)
    except Exception as exc:  # the libraries of both services have dozens of classes
        raise translate(exc, uri) from exc


def translate(error: Exception, uri: str) -> MlctlError:
    """Return mlctl's error for an error of one of the libraries."""
    parts = urlsplit(uri)
    _, _, service, credentials = LIBRARIES[parts.scheme]
    name, kinds = parts.netloc, {kind.__name__ for kind in type(error).__mro__}
    status = getattr(error, "code", None) or getattr(error, "status_code", None)
    reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if kinds & {
        "DefaultCredentialsError",
        "RefreshError",
        "ClientAuthenticationError",
        "Unauthorized",
        "ImportError",
    }:
        return ConfigurationError(f"{service} refuses the credentials: {reason}", credentials)
    if kinds & {"NotFound", "ResourceNotFoundError"} or status == 404:
        return NotFoundError(f"there is no {name} on {service}", "create it, or name another in --artifacts")
    if kinds & {"Forbidden", "PermissionDenied"} or status == 403:
        return RefusedError(f"{service} denies access to {name}: {reason}", credentials)
    if isinstance(error, ValueError):
        return ConfigurationError(f"{service}: {reason}", credentials)
    return UnreachableError(
        f"{service} does not answer for {name}: {reason}", "check the network and the address"
    )


class CloudArtifacts:
    """Files by key, as `ArtifactStore` describes them.

    Args:
        uri: Address of the bucket or container, and the prefix in it.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @functools.cached_property
    def _repository(self) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return self._call(lambda: get_artifact_repository(self.uri))

    def sizes(self, under: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes) of everything below a prefix that ends with a slash, or of everything."""
        folders = [under.rstrip("/")]
        while folders:
            folder = folders.pop()
            for found in self._call(functools.partial(self._repository.list_artifacts, folder or None)):
                if found.is_dir:
                    folders.append(found.path)
                else:
                    yield found.path, found.file_size or 0

    def open(self, key: str) -> Any:
        """Open a file for reading; raises NotFoundError if it is gone."""
        with tempfile.TemporaryDirectory(prefix="mlctl-artifact-") as folder:
            path = self._call(lambda: self._repository.download_artifacts(key, folder))
            return Path(path).open("rb")  # the caller closes it; the file itself is already gone

    def put(self, key: str, body: Any) -> None:
        """Store the content of a readable."""
        with tempfile.TemporaryDirectory(prefix="mlctl-artifact-") as folder:
            file = Path(folder) / PurePosixPath(key).name
            with file.open("wb") as output:
                while chunk := body.read(1 << 20):
                    output.write(chunk)
            self.put_file(key, file)

    def put_file(self, key: str, file: Path) -> None:
        """Store a file, whose name must be that of the key."""
        parent = str(PurePosixPath(key).parent)
        self._call(lambda: self._repository.log_artifact(str(file), None if parent == "." else parent))

    def delete(self, keys: Iterable[str]) -> int:
        """Delete files; return how many there were."""
        number = 0
        for number, key in enumerate(keys, start=1):  # noqa: B007
            self._call(functools.partial(self._repository.delete_artifacts, key))
        return number

    def _call(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except MlctlError:
            raise
        except Exception as exc:
            raise translate(exc, self.uri) from exc


def _key(uri: str) -> str:
    prefix = urlsplit(uri).path.strip("/")
    return f"{prefix}/.mlctl-{uuid.uuid4().hex}" if prefix else f".mlctl-{uuid.uuid4().hex}"


def _probe_google(uri: str) -> None:
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    try:
        client = storage.Client()
    except DefaultCredentialsError:  # as MLflow's repository does
        client = storage.Client.create_anonymous_client()
    bucket = client.bucket(urlsplit(uri).netloc)
    next(iter(bucket.list_blobs(max_results=1, timeout=PROBE_TIMEOUT_S, retry=None)), None)
    blob = bucket.blob(_key(uri))
    blob.upload_from_string(b"mlctl", timeout=PROBE_TIMEOUT_S, retry=None)
    blob.delete(timeout=PROBE_TIMEOUT_S, retry=None)


def _probe_azure(uri: str) -> None:
    from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository

    repository = AzureBlobArtifactRepository(uri)
    container = repository.client.get_container_client(repository.parse_wasbs_uri(uri)[0])
    limits = {"connection_timeout": PROBE_TIMEOUT_S, "read_timeout": PROBE_TIMEOUT_S, "retry_total": 0}
    next(iter(container.list_blobs(results_per_page=1, **limits)), None)
    blob = container.get_blob_client(_key(uri))
    blob.upload_blob(b"mlctl", **limits)
    blob.delete_blob(**limits)
