"""What carries a model away, checked without any cloud: by schemas, by running it, by building it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml

from mlctl import settings as configuration
from mlctl.errors import RefusedError, UsageError
from mlctl.services.serving.export_model import export

PICTURE = {"inputs": [[[7] * 8 for _ in range(8)]]}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> configuration.Settings:
    monkeypatch.chdir(tmp_path)
    return configuration.load()


def test_kubernetes_takes_the_manifests(models: dict[str, Path], settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import kubernetes_validate

    export(settings, str(models["pictures"]), "kubernetes", tmp_path / "out", "r.example.com/m:1", "m.example.com",
           "2", "512Mi")  # fmt: skip
    kinds = {}
    for file in (tmp_path / "out").glob("*.yaml"):
        document = yaml.safe_load(file.read_text())
        kubernetes_validate.validate(document, "1.30", strict=True)
        kinds[document["kind"]] = document
    assert set(kinds) == {"Deployment", "Service", "HorizontalPodAutoscaler", "Ingress"}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "r.example.com/m:1"
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "512Mi"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"
    assert pod["volumes"][0]["secret"] == {"secretName": "pictures-keys"}
    with pytest.raises(RefusedError):
        export(settings, str(models["pictures"]), "kubernetes", tmp_path / "out")
    with pytest.raises(UsageError):
        export(settings, str(models["pictures"]), "kubernetes", tmp_path / "new", memory="1 or so")


def test_azure_mls_functions_answer(models: dict[str, Path], settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """score.py is run in a process that finds no other mlctl than the one beside it."""
    export(settings, str(models["pictures"]), "azureml", tmp_path / "out")
    for name in ("environment", "deployment", "endpoint"):
        assert yaml.safe_load((tmp_path / "out" / f"{name}.yaml").read_text())["name"]
    program = (
        "import json, sys, score, mlctl; score.init();"
        f"ask = {PICTURE!r};"
        "print(mlctl.__file__);"
        "print(json.dumps([score.run(json.dumps(ask)), score.run(json.dumps({'data': ask['inputs']})),"
        " score.run('{')]))"
    )
    code = tmp_path / "out" / "code"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=code, capture_output=True, text=True, timeout=60,
        env={**os.environ, "AZUREML_MODEL_DIR": str(tmp_path / "out"), "PYTHONPATH": str(code)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, said = done.stdout.splitlines()
    assert Path(where).is_relative_to(code)
    by_mlflow, by_data, broken = json.loads(said)
    assert np.array(by_mlflow["predictions"]).shape == (1, 10)
    assert by_data == by_mlflow
    assert "breaks" in broken["message"]


@pytest.mark.slow
def test_the_docker_context_builds_and_serves(models: dict[str, Path], settings, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """What the Dockerfile does is done in a virtual environment; no training framework is in it."""
    out = tmp_path / "out"
    export(settings, str(models["pictures"]), "docker", out)
    docker = (out / "Dockerfile").read_text()
    assert "USER 10001" in docker
    assert "HEALTHCHECK" in docker
    pins = (out / "requirements.txt").read_text()
    assert "onnxruntime==" in pins
    for heavy in ("tensorflow", "keras", "mlflow", "torch", "scikit-learn"):
        assert f"{heavy}==" not in pins
    assert "the model:" in (out / "README.md").read_text()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "image"], check=True)
    python = tmp_path / "image" / "bin" / "python"
    (wheel,) = out.glob("*.whl")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for what in (["-r", str(out / "requirements.txt")], ["--no-deps", str(wheel)]):
        subprocess.run([python, "-m", "pip", "install", "-q", *what], check=True, cwd=tmp_path, env=clean,
                       timeout=300)  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {**clean, "MLCTL_MODEL": str(out / "model"), "MLCTL_PORT": str(port), "MLCTL_HOST": "127.0.0.1"}
    start = [python, "-m", "mlctl.serving.container"]
    refused = subprocess.run(start, cwd=tmp_path, env=told, capture_output=True, text=True, timeout=60)
    assert (refused.returncode, "MLCTL_API_KEY_FILE" in refused.stderr) == (4, True)
    server = subprocess.Popen(start, cwd=tmp_path, env={**told, "MLCTL_INSECURE": "1"})
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(PICTURE).encode(),
            {"Content-Type": "application/json"},
        )
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    assert np.array(json.load(reply)["predictions"]).shape == (1, 10)
                break
            except urllib.error.URLError:
                assert time.monotonic() < end
                time.sleep(0.1)
    finally:
        server.terminate()
        assert server.wait(30) == 0
