"""The packages that a model needs to be served."""

from __future__ import annotations

import re
from pathlib import Path

from mlctl.adapters.system import packaging
from mlctl.serving.saved_model import read_saved_model

SERVER = ("httptools", "numpy", "orjson", "prometheus-client", "psutil", "pyyaml", "uvicorn", "uvloop")
CODE_FILE = "code.pkl"
RUNTIMES = {
    "onnxruntime": ("onnxruntime",),
    "keras": ("keras", "tensorflow"),
    "tensorflow": ("tensorflow",),
    "litert": ("ai-edge-litert",),
}


def pinned_requirements(folder: Path) -> dict[str, str]:
    """Return the packages, with versions, that serve the model in a folder, and no others."""
    model = read_saved_model(folder)
    names = [*SERVER]
    if not model.by_mlctl:
        names += ["mlflow", *_own_requirements(folder)]
    else:
        names += RUNTIMES.get(model.runtime, RUNTIMES["keras"])
        if (folder / "artifacts" / "model" / CODE_FILE).is_file():  # code of the user's own
            names += [name for name in _own_requirements(folder) if name != "mlflow"]
    tensor = model.signature.tensor
    if tensor is not None and len(tensor.shape) in (3, 4):  # perhaps images, which clients may send as files
        names += ["pillow", "python-multipart"]
    if model.signature.columns or model.signature.tensors:
        names += ["pandas", "pyarrow"]
    return packaging.pinned_versions(names)


def _own_requirements(folder: Path) -> list[str]:
    file = folder / "requirements.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [match[0] for line in lines if (match := re.match(r"[\w.-]+", line.strip()))]
