"""Artifacts on Google Cloud Storage, with an emulator, and on Azure Blob Storage, at the boundary of its library."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from mlctl.adapters.storage import cloud_artifacts
from mlctl.adapters.storage.cloud_artifacts import CloudArtifacts
from mlctl.errors import ConfigurationError, NotFoundError, RefusedError, UnreachableError, UsageError
from mlctl.services.server.server_location import build_location, location_from_state, location_to_state
from tests.parts import eventually, free_port
from tests.parts.command_line import CommandLine

AZURE = "wasbs://models@account.blob.core.windows.net/team"


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """An emulator of Google Cloud Storage in memory, with the bucket models."""
    pytest.importorskip("gcp_storage_emulator")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = "from gcp_storage_emulator.server import create_server; import sys;"
    program += "create_server('127.0.0.1', int(sys.argv[1]), in_memory=True, default_bucket='models').run()"
    process = subprocess.Popen([sys.executable, "-c", program, str(port)], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return requests.get(f"{url}/storage/v1/b", timeout=2).ok
        except requests.RequestException:
            return False

    eventually(answers)
    yield url
    process.kill()
    process.wait()


@pytest.mark.live
@pytest.mark.usefixtures("empty_database")
def test_a_server_with_artifacts_on_google_cloud_storage(mlctl: CommandLine, emulator: str) -> None:
    """Uploads and downloads through the server, gc, backup, and a restore into a folder."""
    mlctl.environment = {"STORAGE_EMULATOR_HOST": emulator, "NO_PROXY": "127.0.0.1"}
    message, _ = mlctl.error(3, "server-up", "--artifacts", "gs://nowhere/x", "--port", "0")
    assert "there is no nowhere on Google Cloud Storage" in message
    up = mlctl.json("server-up", "--artifacts", "gs://models/team", "--port", "0", "--workers", "1")
    assert up["artifacts"] == "gs://models/team"
    client = MlflowClient(up["url"])
    kept, deleted = (client.create_run("0").info.run_id for _ in range(2))
    for run_id in (kept, deleted):
        client.log_text(run_id, run_id, "notes/note.txt")
    assert Path(client.download_artifacts(kept, "notes/note.txt")).read_text() == kept
    client.delete_run(deleted)
    report = mlctl.json("server-gc", "--yes")
    assert (report["runs"], report["objects"]) == ([deleted], 1)
    backup = mlctl.json("server-backup", "all.tar")
    assert backup["artifacts"] == 1
    mlctl("server-restore", "all.tar", "--root", "elsewhere", "--yes")
    (note,) = (mlctl.cwd / "elsewhere" / "mlartifacts").rglob("note.txt")
    assert note.read_text() == kept


def test_files_by_key(tmp_path: Path) -> None:
    store = CloudArtifacts("gs://models")
    store._repository = LocalArtifactRepository(str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    store.put("a/b/one.txt", io.BytesIO(b"one"))
    (tmp_path / "two.txt").write_bytes(b"2")
    store.put_file("two.txt", tmp_path / "two.txt")
    assert sorted(store.sizes()) == [("a/b/one.txt", 3), ("two.txt", 1)]
    assert list(store.sizes("a/")) == [("a/b/one.txt", 3)]
    with store.open("a/b/one.txt") as body:
        assert body.read() == b"one"
    assert store.delete(["a/b/one.txt"]) == 1
    assert list(store.sizes()) == [("two.txt", 1)]


def make_error(name: str, text: str = "no", **values: int) -> Exception:
    error = type(name, (Exception,), {})(text)
    vars(error).update(values)
    return error


@pytest.mark.unit
@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (make_error("ResourceNotFoundError"), NotFoundError, "there is no models@account"),
        (make_error("ClientAuthenticationError"), ConfigurationError, "refuses the credentials"),
        (ImportError("azure-identity"), ConfigurationError, "azure-identity"),
        (make_error("HttpResponseError", status_code=403), RefusedError, "denies access"),
        (make_error("ServiceRequestError"), UnreachableError, "does not answer"),
        (ValueError("Connection string missing"), ConfigurationError, "Connection string missing"),
    ],
)
def test_errors_of_azure(error: Exception, kind: type[Exception], words: str) -> None:
    found = cloud_artifacts.translate(error, AZURE)
    assert isinstance(found, kind)
    assert words in str(found)
    assert "AZURE_STORAGE" in str(found.hint) or kind in {NotFoundError, UnreachableError}


@pytest.mark.unit
def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr("mlctl.adapters.system.extras.find_spec", absent)
    for uri, package in ((AZURE, "azure-storage-blob"), ("gs://models", "google-cloud-storage")):
        with pytest.raises(ConfigurationError, match="which is not installed") as caught:
            cloud_artifacts.verify(uri)
        assert package in str(caught.value.hint)


@pytest.mark.unit
def test_the_address_of_artifacts(tmp_path: Path) -> None:
    location = build_location(tmp_path, artifacts=f"{AZURE}/")
    assert location.destination == AZURE
    assert location_from_state(location_to_state(location)) == location
    for wrong in ("models", "s3://models/team", "gs://", "wasbs://models/x", "gs://a b"):
        with pytest.raises(UsageError, match="invalid value"):
            build_location(tmp_path, artifacts=wrong)
    with pytest.raises(UsageError, match="both say where"):
        build_location(tmp_path, artifacts="gs://models", bucket="models")
