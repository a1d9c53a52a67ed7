"""Have a model of another program converted to ONNX, once: the result is kept by the digest of the model's files.

The conversion runs in a process of its own, whose command comes with the endpoint's specification: it needs the
libraries that the model was made with, which would stay in the memory of every worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mlctl.files import locked, write_atomically

TIMEOUT_S = 90.0  # a model that takes longer is served as it is, and the endpoint still starts in time
RESULT = "result.json"
VERSION = 1  # of what a conversion does; a higher one does all conversions again
PACKAGES = (
    "keras", "lightgbm", "mlctl-keras", "mlflow", "numpy", "onnx", "onnxruntime", "pandas", "scikit-learn",
    "skl2onnx", "tensorflow", "tf2onnx",
)  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion: the folder of the converted model, or the reason why there is none."""

    folder: Path | None
    reason: str = ""


def prepare(folder: Path, *, command: Sequence[str], cache: Path) -> Conversion:
    """Return the conversion of a model, which another process may have made already.

    Args:
        folder: Folder of the model.
        command: Converts the model in the folder that is its first argument into the folder that is its second, and
            prints `{"reason": "…"}`.
        cache: Folder for the results.
    """
    try:
        target = cache / _digest(folder)
        target.mkdir(parents=True, exist_ok=True)
        with locked(target / "lock"):  # the workers start together, and one of them converts
            if (result := _read(target)) is None:
                result = _convert(folder, target, command)
            return result
    except OSError as exc:  # such as a full disk
        return Conversion(None, f"the converted model cannot be kept: {exc.strerror or exc}")


def _read(target: Path) -> Conversion | None:
    try:
        reason = json.loads((target / RESULT).read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError):
        return None
    return Conversion(None, reason) if reason else Conversion(target / "model")


def _convert(folder: Path, target: Path, command: Sequence[str]) -> Conversion:
    with tempfile.TemporaryDirectory(prefix="new-", dir=target) as new:
        try:
            done = subprocess.run(
                [*command, str(folder), new],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            reason = str(json.loads(done.stdout.splitlines()[-1])["reason"])
        except subprocess.TimeoutExpired:  # the machine may be busy: the next start tries again
            return Conversion(None, f"the conversion took longer than {TIMEOUT_S:.0f} s")
        except (IndexError, ValueError, KeyError):
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            return Conversion(
                None, f"the conversion ended with {done.returncode}: {''.join(lines[-1:])[:160]}"
            )
        if not reason:
            shutil.rmtree(target / "model", ignore_errors=True)
            Path(new).rename(target / "model")
            Path(new).mkdir()  # which the temporary folder's end removes
    write_atomically(target / RESULT, json.dumps({"reason": reason}).encode())
    return Conversion(None, reason) if reason else Conversion(target / "model")


def _digest(folder: Path) -> str:
    """Return a digest of the model's files and of the versions that convert it."""
    digest = hashlib.sha256(f"{VERSION}\n".encode())
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            digest.update(f"{name} {metadata.version(name)}\n".encode())
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{file.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()[:32]
