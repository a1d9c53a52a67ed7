"""Writing what runs a model beyond this machine: a docker context, Kubernetes manifests, Azure ML's files."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path
from string import Template

from mlctl.adapters.system import packaging
from mlctl.domain.server import Exported
from mlctl.errors import RefusedError, UsageError
from mlctl.services.models.fetch import located
from mlctl.serving.endpoint_spec import Serving
from mlctl.serving.model import Model
from mlctl.settings import Settings

KINDS = ("docker", "kubernetes", "azureml")
SERVER = ("httptools", "numpy", "orjson", "prometheus-client", "psutil", "pyyaml", "uvicorn", "uvloop")
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
IMAGE = re.compile(r"[a-z0-9][\w./:@-]*")


def export(
    settings: Settings,
    model: str,
    kind: str,
    folder: Path,
    image: str | None = None,
    host: str = "model.example.com",
    cpu: str = "1",
    memory: str = "1Gi",
) -> Exported:
    """Write the files into a folder that is not there, or is empty; return their names.

    Raises UsageError for what would break a manifest, RefusedError for a folder in use, and as `located` does.
    """
    for value, pattern, what in (
        (cpu, QUANTITY, "--cpu"), (memory, QUANTITY, "--memory"), (host, HOST, "--host"),
        (image or "model", IMAGE, "--image"),
    ):  # fmt: skip
        if not pattern.fullmatch(value):
            raise UsageError(
                f"{what} {value!r} cannot be", "such as --cpu 1 --memory 1Gi --host m.example.com"
            )
    if kind not in KINDS:
        raise UsageError(f"--to {kind!r} is not known", f"known are: {', '.join(KINDS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is there already, and not empty", "name another, or empty it")
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch:
        serving = located(settings, model, Path(scratch))
        _write(serving, kind, folder, image, {"host": host, "cpu": cpu, "memory": memory})
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return Exported(kind, str(folder), dict.fromkeys(names, ""))


def _write(serving: Serving, kind: str, folder: Path, image: str | None, told: dict[str, str]) -> None:
    slug = re.sub(r"[^a-z0-9]+", "-", serving.name.lower()).strip("-")[:40] or "model"
    folder.mkdir(parents=True, exist_ok=True)
    version = serving.version
    values = {
        **told, "name": serving.name, "version": version, "slug": slug,
        "image": image or f"{slug}:{version or 'latest'}",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }  # fmt: skip
    if kind != "kubernetes":
        shutil.copytree(serving.folder, folder / "model")
        pins = _pins(Path(serving.folder))
        values["pins"] = "\n".join(f"      - {name}=={number}" for name, number in pins.items())
        if kind == "docker":
            values["wheel"] = packaging.wheel(folder).name
            text = "".join(f"{name}=={number}\n" for name, number in pins.items())
            (folder / "requirements.txt").write_text(text, encoding="utf-8")
            values["sizes"] = _sizes(folder, pins)
        else:
            for name, file in packaging.serving_files():
                target = folder / "code" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    for template in resources.files(__package__).joinpath("export_templates", kind).iterdir():
        text = template.read_text(encoding="utf-8")
        place = folder / "code" / template.name if template.name == "score.py" else folder / template.name
        place.write_text(
            text if place.suffix == ".py" else Template(text).substitute(values), encoding="utf-8"
        )


def _pins(folder: Path) -> dict[str, str]:
    """Return what the server and this model need: ONNX Runtime alone where it answers."""
    model = Model(folder)
    names = [*SERVER]
    if not model.ours:
        names += ["mlflow", *_required(folder)]
    elif model.about.runtime == "onnxruntime":
        names += ["onnxruntime"]
    else:
        names += ["keras", "tensorflow"]
    if model.signature.columns:
        names += ["pandas", "pyarrow"]
    return packaging.pinned(names)


def _required(folder: Path) -> list[str]:
    file = folder / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [found[0] for line in lines if (found := re.match(r"[\w.-]+", line.strip()))]


def _sizes(folder: Path, pins: dict[str, str]) -> str:
    model = sum(file.stat().st_size for file in (folder / "model").rglob("*") if file.is_file()) / 1e6
    parts = {name: packaging.size_mb(name) for name in pins}
    largest = sorted(parts, key=lambda name: -parts[name])
    lines = [f"- the model: {model:.1f} MB", f"- {len(pins)} packages: {sum(parts.values()):.0f} MB"]
    lines += [f"  - {name}: {parts[name]:.0f} MB" for name in largest if parts[name] >= 1]
    return "\n".join(lines)
