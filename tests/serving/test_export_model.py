"""Exported folders, checked without any cloud: by schemas, and by running them in an environment without mlctl."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import shutil
import site
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mlctl import settings as configuration
from mlctl.errors import NotFoundError, RefusedError, UsageError
from mlctl.services.serving.export_model import export_model
from mlctl.services.serving.exports import TARGETS, base
from mlctl.services.serving.exports.base import ExportOptions
from mlctl.services.serving.exports.formats import ModelFormat
from mlctl.settings import Settings

IMAGE = {"inputs": [[[7] * 8 for _ in range(8)]]}
ROW = {"rooms": 3.0, "age": None, "place": "INLAND"}

PLATFORMS = [
    name for name, target in TARGETS.items() if not isinstance(target, ModelFormat)
]  # test_export_formats.py has the others

# as azureml_inference_server_http has it, without Flask
AML_RESPONSE_STUB = """
import json
class AMLResponse:
    def __init__(self, message, status_code, response_headers={}, json_str=False, run_function_failed=False):
        self.status_code = status_code
        self.data = json.dumps(message) if json_str else message
"""
SCORE = """
import json, sys
import mlctl, score
score.init()
answers = []
for body in json.loads(sys.stdin.read()):
    answer = score.run(body)
    answers.append([200, answer] if isinstance(answer, dict) else [answer.status_code, json.loads(answer.data)])
print(json.dumps([mlctl.__file__, answers]))
"""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.chdir(tmp_path)
    return configuration.load()


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has all libraries of this environment, but not mlctl, not even as an editable install."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    for directory in site.getsitepackages():
        for entry in Path(directory).iterdir():
            if not entry.name.startswith(("mlctl", "__editable__", "distutils-precedence", "__pycache__")):
                (packages / entry.name).symlink_to(entry)
    python = folder / "bin" / "python"
    missing = subprocess.run(
        [python, "-c", "import mlctl"], cwd=folder, env=clean_environment(), capture_output=True, text=True
    )
    assert "No module named 'mlctl'" in missing.stderr
    return python


def clean_environment(**variables: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **variables}


def score(python: Path, exported: Path, bodies: list[str]) -> list[Any]:
    """Return (status, document) for each body, answered by the exported scoring script."""
    stub = exported.parent / "stub" / "azureml_inference_server_http" / "api"
    stub.mkdir(parents=True)
    (stub / "aml_response.py").write_text(AML_RESPONSE_STUB)
    code = exported / "code"
    done = subprocess.run(
        [python, "-c", SCORE],
        input=json.dumps(bodies),
        cwd=code,
        env=clean_environment(
            AZUREML_MODEL_DIR=str(exported / "model"), PYTHONPATH=f"{code}{os.pathsep}{stub.parents[1]}"
        ),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    module_file, answers = json.loads(done.stdout)
    assert Path(module_file).is_relative_to(code)
    return answers


def test_kubernetes_accepts_the_manifests(
    models: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    import kubernetes_validate

    options = ExportOptions(image="r.example.com/m:1", host="m.example.com", cpu="2", memory="512Mi")
    export_model(
        settings, str(models["pictures"]), target="kubernetes", folder=tmp_path / "out", options=options
    )
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
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert pod["volumes"][0]["secret"] == {"secretName": "pictures-keys"}
    with pytest.raises(RefusedError):
        export_model(settings, str(models["pictures"]), target="kubernetes", folder=tmp_path / "out")


def test_kserve_runs_the_image_with_the_open_inference_protocol(
    models: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    """Kubernetes' schemas check the pod; KServe adds its own fields around it."""
    import kubernetes_validate

    options = ExportOptions(image="r.example.com/m:1", cpu="2", memory="512Mi")
    export_model(settings, str(models["pictures"]), target="kserve", folder=tmp_path / "out", options=options)
    service = yaml.safe_load((tmp_path / "out" / "inferenceservice.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = service["spec"]["predictor"]
    pod = {key: predictor.pop(key) for key in ("containers", "volumes")}
    assert set(predictor) == {"minReplicas", "maxReplicas", "timeout"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": service["metadata"], "spec": pod}
    kubernetes_validate.validate(manifest, "1.30", strict=True)
    (container,) = pod["containers"]
    assert container["name"] == "kserve-container"
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert (variables["PROTOCOL"], variables["MLCTL_MODEL_NAME"]) == ("v2", service["metadata"]["name"])
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"


def test_an_empty_folder_is_filled_and_not_replaced(
    models: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    """It may be the folder of the user's shell, or a mounted volume."""
    out = tmp_path / "out"
    out.mkdir()
    inode = out.stat().st_ino
    exported = export_model(settings, str(models["pictures"]), target="kubernetes", folder=out)
    assert sorted(file.name for file in out.iterdir()) == sorted(exported.files)
    assert out.stat().st_ino == inode


def test_invalid_options_are_refused(models: dict[str, Path], settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--memory") as error:
        export_model(
            settings,
            str(models["pictures"]),
            target="kubernetes",
            folder=tmp_path / "new",
            options=ExportOptions(memory="1 or so"),
        )
    assert error.value.hint == "example: --memory 1Gi"
    with pytest.raises(UsageError, match="kubernets") as error:
        export_model(settings, str(models["pictures"]), target="kubernets", folder=tmp_path / "new")
    assert error.value.hint == "did you mean kubernetes?"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("target", PLATFORMS)
def test_compiled_templates_are_no_templates(
    models: dict[str, Path],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
) -> None:
    """An installer such as pip compiles every Python file that it installs, so a templates folder may contain __pycache__."""
    templates = tmp_path / "templates"
    shutil.copytree(base.TEMPLATES, templates, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [templates / target, *(path for path in (templates / target).rglob("*") if path.is_dir())]:
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "score.cpython-311.pyc").write_bytes(b"\xa7\r\r\n\x00")
    monkeypatch.setattr(base, "TEMPLATES", templates)
    exported = export_model(settings, str(models["pictures"]), target=target, folder=tmp_path / "out")
    assert "README.md" in exported.files
    assert not [name for name in exported.files if "__pycache__" in name]
    assert not list((tmp_path / "out").rglob("__pycache__"))


@pytest.mark.parametrize("target", PLATFORMS)
def test_a_failed_export_leaves_nothing_behind(
    models: dict[str, Path],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(NotFoundError):
        export_model(settings, "./nowhere", target=target, folder=tmp_path / "deep" / "out")
    assert sorted(tmp_path.iterdir()) == before
    templates = tmp_path / "templates"
    shutil.copytree(base.TEMPLATES, templates)
    (templates / target / "zzz.yaml").write_text("${unknown}")
    monkeypatch.setattr(base, "TEMPLATES", templates)
    empty = tmp_path / "empty"
    empty.mkdir()
    before = sorted(tmp_path.iterdir())
    for folder in (tmp_path / "deep" / "out", empty):
        with pytest.raises(KeyError):
            export_model(settings, str(models["pictures"]), target=target, folder=folder)
    assert sorted(tmp_path.iterdir()) == before
    assert not list(empty.iterdir())


def test_azure_mls_script_answers_without_mlctl(
    models: dict[str, Path], settings: Settings, tmp_path: Path, bare_python: Path
) -> None:
    out = tmp_path / "out"
    export_model(settings, str(models["pictures"]), target="azureml", folder=out)
    for name in ("environment", "deployment", "endpoint"):
        assert yaml.safe_load((out / f"{name}.yaml").read_text())["name"]
    bodies = [json.dumps(IMAGE), json.dumps({"data": IMAGE["inputs"]}), "{", json.dumps({"inputs": [[1]]})]
    by_mlflow, by_data, broken, wrong_shape = score(bare_python, out, bodies)
    assert by_mlflow[0] == 200
    assert np.array(by_mlflow[1]["predictions"]).shape == (1, 10)
    assert by_data == by_mlflow
    assert broken[0] == wrong_shape[0] == 400
    assert "the JSON breaks" in broken[1]["message"]
    assert wrong_shape[1]["error_code"] == "BAD_REQUEST"


def test_azure_mls_script_answers_tables(
    models: dict[str, Path], settings: Settings, tmp_path: Path, bare_python: Path
) -> None:
    out = tmp_path / "out"
    export_model(settings, str(models["table"]), target="azureml", folder=out)
    rows = [ROW, {**ROW, "rooms": None}, {**ROW, "rooms": "many"}]
    row, gap, wrong = score(bare_python, out, [json.dumps({"data": [sent]}) for sent in rows])
    assert (row[0], np.array(row[1]["predictions"]).shape) == (200, (1, 1))
    assert (gap[0], np.array(gap[1]["predictions"]).shape) == (200, (1, 1))
    assert (wrong[0], "rooms" in wrong[1]["message"]) == (400, True)


def test_the_docker_folder_serves_with_its_requirements_alone(
    models: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    """The libraries of this environment that requirements.txt needs stand in for their installation."""
    out = tmp_path / "out"
    export_model(settings, str(models["pictures"]), target="docker", folder=out)
    dockerfile = (out / "Dockerfile").read_text()
    assert "USER 10001" in dockerfile
    assert "HEALTHCHECK" in dockerfile
    pins = (out / "requirements.txt").read_text()
    assert "onnxruntime==" in pins
    for package in ("tensorflow", "keras", "mlflow", "torch", "scikit-learn"):
        assert f"{package}==" not in pins
    assert "the model:" in (out / "README.md").read_text()
    venv.create(tmp_path / "image", with_pip=False)
    (packages,) = (tmp_path / "image").glob("lib/python*/site-packages")
    assert "tensorflow" not in link_requirements(pins.splitlines(), packages)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    check_container(tmp_path / "image" / "bin" / "python", out, tmp_path, clean_environment())


def link_requirements(lines: list[str], packages: Path) -> set[str]:
    """Link what these requirements and those of their packages have installed here; return the packages' names."""
    waiting = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    linked: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in linked or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        linked.add(name)
        found = importlib.metadata.distribution(name)
        assert requirement.specifier.contains(found.version, prereleases=True), requirement
        waiting += [Requirement(line) for line in found.requires or ()]
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(found.locate_file(top))
    return linked


@pytest.mark.slow
@pytest.mark.long
def test_the_docker_folder_builds_and_serves(
    models: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    """The steps of the Dockerfile run in a virtual environment."""
    out = tmp_path / "out"
    export_model(settings, str(models["pictures"]), target="docker", folder=out)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "image"], check=True)
    python = tmp_path / "image" / "bin" / "python"
    (wheel,) = out.glob("*.whl")
    for arguments in (["-r", str(out / "requirements.txt")], ["--no-deps", str(wheel)]):
        command = [python, "-m", "pip", "install", "-q", *arguments]
        subprocess.run(command, check=True, cwd=tmp_path, env=clean_environment(), timeout=300)
    check_container(python, out, tmp_path, clean_environment())


def check_container(python: Path, exported: Path, folder: Path, environment: dict[str, str]) -> None:
    """Run the container's command: it must refuse to start without keys, and answer when it may."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment |= {
        "MLCTL_MODEL": str(exported / "model"),
        "MLCTL_PORT": str(port),
        "MLCTL_HOST": "127.0.0.1",
    }
    command = [python, "-m", "mlctl.serving.container"]
    refused = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert (refused.returncode, "MLCTL_API_KEY_FILE" in refused.stderr) == (4, True)
    server = subprocess.Popen(command, cwd=folder, env={**environment, "MLCTL_INSECURE": "1"})
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(IMAGE).encode(),
            {"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    assert np.array(json.load(reply)["predictions"]).shape == (1, 10)
                for path in ("/v2/health/ready", "/v2/models/model", "/docs", "/docs/docs.js"):
                    assert urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30).status == 200
                break
            except (urllib.error.URLError, http.client.HTTPException):
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        server.terminate()
        assert server.wait(30) == 0
