"""Exported files of a server, checked offline with Kubernetes' schemas and with a real nginx."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

from mlctl.domain.server import Bucket, ExportedFiles
from mlctl.errors import UsageError
from mlctl.services.server.export import render_files
from tests.parts import nginx as nginx_part
from tests.parts.command_line import CommandLine

KINDS = {
    "Deployment",
    "Service",
    "Ingress",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "ServiceAccount",
}


def test_manifests_match_the_schemas_of_kubernetes(mlctl: CommandLine) -> None:
    import kubernetes_validate

    exported = mlctl.json(
        *("export", "server", "deploy", "--to", "kubernetes"),
        *("--host", "mlflow.example.com", "--bucket", "models"),
        *("--prefix", "team", "--endpoint-url", "http://minio:9000"),
    )
    documents = {}
    for name in exported["files"]:
        text = (mlctl.cwd / "deploy" / name).read_text()
        assert "$" not in text.replace("$$", ""), name
        if name.endswith(".yaml") and name != "kustomization.yaml":
            document = yaml.safe_load(text)
            kubernetes_validate.validate(document, "1.30", strict=True)
            documents[document["kind"]] = document
    assert set(documents) == KINDS
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (server,), (migrate,) = pod["containers"], pod["initContainers"]
    assert {"--bucket=models", "--prefix=team", "--endpoint-url=http://minio:9000"} <= set(server["args"])
    assert "--migrate-only" in migrate["args"]
    keys = {entry["name"] for entry in server["env"] if "valueFrom" in entry}
    assert keys == {"MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"}
    assert server["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert pod["securityContext"]["runAsNonRoot"]
    assert server["securityContext"]["readOnlyRootFilesystem"]
    ports = [port["port"] for rule in documents["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]]
    assert {5432, 9000} <= set(ports)
    for wrong in ({"kind": "Deployment"}, {**documents["Service"], "spec": {"prots": []}}):
        with pytest.raises(Exception, match=r"."):
            kubernetes_validate.validate(wrong, "1.30", strict=True)
    (mlctl.cwd / "deploy" / "service.yaml").write_text("mine")
    assert "service.yaml" in mlctl.fails(4, "export", "server", "deploy", "--to", "kubernetes")


INVALID_VALUES = {
    "--upstream": ("nginx", ["x; }", "host", ""]),
    "--host": ("nginx", ["a.example.com\n", ""]),
    "--prefix": ("kubernetes", ["a: b", "team:", "$HOME"]),
    "--bucket": ("compose", ["a #b"]),
    "--endpoint-url": ("compose", ["http://minio:", "minio:9000", "http://minio:65536"]),
    "--region": ("kubernetes", ["eu west"]),
    "--image": ("kubernetes", ["mlctl:"]),
}


@pytest.mark.unit
@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [(kind, option, value) for option, (kind, values) in INVALID_VALUES.items() for value in values],
)
def test_a_value_that_would_break_a_file_is_refused(kind: str, option: str, value: str) -> None:
    values = {
        "--host": "mlflow.example.com",
        "--image": "mlctl:1.0",
        "--upstream": "[::1]:5000",
        "--bucket": "s3://models",
        "--prefix": "",
        "--endpoint-url": "http://minio:9000",
        "--region": "",
    }
    assert render(kind, values).files
    with pytest.raises(UsageError, match=f"for {option}$"):
        render(kind, {**values, option: value})


def render(kind: str, values: dict[str, str]) -> ExportedFiles:
    bucket = Bucket(
        name=values["--bucket"],
        prefix=values["--prefix"],
        endpoint_url=values["--endpoint-url"],
        region=values["--region"],
    )
    return render_files(
        kind,
        Path(),
        host=values["--host"],
        image=values["--image"],
        bucket=bucket,
        database_port=5432,
        upstreams=[values["--upstream"]],
    )


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is absent")
def test_kustomize_reads_the_folder(mlctl: CommandLine) -> None:
    mlctl("export", "server", "deploy", "--to", "kubernetes")
    done = subprocess.run(["kubectl", "kustomize", "deploy"], cwd=mlctl.cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {document["kind"] for document in yaml.safe_load_all(done.stdout)} == KINDS


def test_the_command_in_compose_yaml_is_valid(mlctl: CommandLine) -> None:
    mlctl("export", "server", "stack", "--to", "compose", "--bucket", "models", "--region", "eu-west-1")
    compose = yaml.safe_load((mlctl.cwd / "stack" / "compose.yaml").read_text())
    command = compose["services"]["mlflow"]["command"]
    assert {"--bucket=models", "--region=eu-west-1", "--auth"} <= set(command)
    assert (mlctl.cwd / "stack" / ".gitignore").read_text() == "secrets/\n"
    # server-up accepts every option: only the secret is missing on this machine
    assert "there is no file /run/secrets/backend" in mlctl.fails(3, *command)


@pytest.fixture
def nginx(mlctl: CommandLine, empty_database: Path) -> Iterator[tuple[str, Path]]:
    """A server behind the exported nginx with TLS and a user; yields nginx's address and certificate."""
    up = mlctl.json("server-up", "--port", "0", "--workers", "2", "--allowed-host", "localhost")
    mlctl("export", "server", "proxy", "--to", "nginx", "--host", "localhost", "--upstream", up["url"][7:])
    folder = mlctl.cwd / "proxy"
    port, cert = nginx_part.free_ports(folder / "mlflow.conf"), nginx_part.make_certificate(folder)
    secret = subprocess.run(
        ["openssl", "passwd", "-6", "pass-word"], check=True, capture_output=True, text=True
    )
    (folder / "users").write_text(f"ada:{secret.stdout.strip()}\n")
    url = f"https://localhost:{port}"
    with nginx_part.running(folder, f"{url}/ready", cert):
        yield url, cert


@pytest.mark.live
@pytest.mark.needs("nginx")
def test_a_large_artifact_passes_nginx(
    mlctl: CommandLine, nginx: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, cert = nginx
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(cert))
    monkeypatch.setenv("NO_PROXY", "localhost")
    large = mlctl.cwd / "large.bin"
    large.write_bytes(os.urandom(1 << 20) * 200)
    mlflow.set_tracking_uri(url)
    client = MlflowClient(url)
    with pytest.raises(mlflow.MlflowException, match="401"):
        client.search_experiments()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass-word")
    run = client.create_run("0").info.run_id
    client.log_artifact(run, str(large))
    (stored,) = (mlctl.cwd / "mlartifacts").rglob("large.bin")
    assert stored.stat().st_size == 200 << 20
    downloaded = mlflow.artifacts.download_artifacts(
        run_id=run, artifact_path="large.bin", dst_path=str(mlctl.cwd / "back")
    )
    assert Path(downloaded).read_bytes() == large.read_bytes()
