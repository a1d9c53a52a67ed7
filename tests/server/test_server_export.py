"""What a team commits: checked by Kubernetes' own schemas and by a real nginx, both offline."""

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

from mlctl.domain.server import Bucket, Exported
from mlctl.errors import UsageError
from mlctl.services.server import export
from tests.parts import eventually, free_port
from tests.parts.command_line import CommandLine

KINDS = {
    "Deployment", "Service", "Ingress", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy",
    "ServiceAccount",
}  # fmt: skip


def test_manifests_are_what_kubernetes_takes(mlctl: CommandLine) -> None:
    import kubernetes_validate

    told = mlctl.json(
        "export", "server", "deploy", "--to", "kubernetes", "--host", "mlflow.example.com", "--bucket", "models",
        "--prefix", "team", "--endpoint-url", "http://minio:9000",
    )  # fmt: skip
    documents = {}
    for name in told["files"]:
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


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("nginx", "--upstream", "x; }"), ("nginx", "--upstream", "host"), ("nginx", "--upstream", ""),
        ("kubernetes", "--prefix", "a: b"), ("kubernetes", "--prefix", "team:"), ("compose", "--prefix", "$HOME"),
        ("compose", "--bucket", "a #b"), ("compose", "--endpoint-url", "http://minio:"),
        ("compose", "--endpoint-url", "minio:9000"), ("kubernetes", "--endpoint-url", "http://minio:65536"), ("kubernetes", "--region", "eu west"),
        ("kubernetes", "--image", "mlctl:"), ("nginx", "--host", "a.example.com\n"), ("nginx", "--host", ""),
    ],
)  # fmt: skip
def test_a_value_that_would_break_a_file_is_refused(kind: str, option: str, value: str) -> None:
    given = {"--host": "mlflow.example.com", "--image": "mlctl:1.0", "--upstream": "[::1]:5000"}
    place = {
        "--bucket": "s3://models",
        "--prefix": "",
        "--endpoint-url": "http://minio:9000",
        "--region": None,
    }

    def files() -> Exported:
        bucket = Bucket(*(place[one] or "" for one in place))
        return export(kind, Path(), given["--host"], given["--image"], bucket, 5432, given["--upstream"])

    assert files().files
    (given if option in given else place)[option] = value
    with pytest.raises(UsageError, match=f"^{option} "):
        files()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is absent")
def test_kustomize_takes_the_folder(mlctl: CommandLine) -> None:
    mlctl("export", "server", "deploy", "--to", "kubernetes")
    done = subprocess.run(["kubectl", "kustomize", "deploy"], cwd=mlctl.cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {one["kind"] for one in yaml.safe_load_all(done.stdout)} == KINDS


def test_compose_is_the_command_that_server_up_takes(mlctl: CommandLine) -> None:
    mlctl("export", "server", "stack", "--to", "compose", "--bucket", "models", "--region", "eu-west-1")
    compose = yaml.safe_load((mlctl.cwd / "stack" / "compose.yaml").read_text())
    command = compose["services"]["mlflow"]["command"]
    assert {"--bucket=models", "--region=eu-west-1", "--auth"} <= set(command)
    assert (mlctl.cwd / "stack" / ".gitignore").read_text() == "secrets/\n"
    # every option is one that server-up knows: what fails is the secret that is not here
    assert "/run/secrets/backend is not there" in mlctl.fails(3, *command)


@pytest.fixture
def nginx(mlctl: CommandLine) -> Iterator[tuple[str, Path]]:
    """A server, and the exported nginx before it with TLS and a user; yields its address and certificate."""
    up = mlctl.json("server-up", "--port", "0", "--workers", "2", "--allowed-hosts", "localhost")
    mlctl("export", "server", "proxy", "--to", "nginx", "--host", "localhost", "--upstream", up["url"][7:])
    folder, port = mlctl.cwd / "proxy", free_port()
    conf = (folder / "mlflow.conf").read_text()
    conf = conf.replace("listen 443", f"listen 127.0.0.1:{port}").replace(
        "listen 80", f"listen 127.0.0.1:{free_port()}"
    )
    (folder / "mlflow.conf").write_text(conf)
    (folder / "tls").mkdir()
    cert = folder / "tls" / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "tls" / "key.pem",
         "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    secret = subprocess.run(
        ["openssl", "passwd", "-6", "pass-word"], check=True, capture_output=True, text=True
    )
    (folder / "users").write_text(f"ada:{secret.stdout.strip()}\n")
    who = (
        "user root;" if os.geteuid() == 0 else ""
    )  # its workers would be somebody else, who sees no files here
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-p", folder, "-c", "nginx.conf", "-g", f"daemon off; {who}"], stdout=log, stderr=log
        )
    try:
        url = f"https://localhost:{port}"
        ask = ["curl", "-sf", "--noproxy", "*", "--cacert", cert, f"{url}/ready"]
        eventually(lambda: subprocess.run(ask, capture_output=True).returncode == 0, 10)
        yield url, cert
    finally:
        process.terminate()
        process.wait()


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
    (kept,) = (mlctl.cwd / "mlartifacts").rglob("large.bin")
    assert kept.stat().st_size == 200 << 20
    back = mlflow.artifacts.download_artifacts(
        run_id=run, artifact_path="large.bin", dst_path=str(mlctl.cwd / "back")
    )
    assert Path(back).read_bytes() == large.read_bytes()
