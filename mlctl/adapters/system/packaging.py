"""What goes into an image: this package as a wheel, and the distributions that a server needs, pinned."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

import mlctl

NAME = "mlctl-keras"
ALONE = ("__init__.py", "errors.py", "serving")  # what an endpoint runs on


def files() -> list[tuple[str, Path]]:
    """Return this package's files as (path in it, file)."""
    top = Path(mlctl.__file__).parent
    found = sorted(file for file in top.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return [(file.relative_to(top.parent).as_posix(), file) for file in found]


def serving_files() -> list[tuple[str, Path]]:
    """Return the files of this package that a served process imports."""
    return [(path, file) for path, file in files() if path.split("/")[1] in ALONE]


def wheel_name() -> str:
    """Return the file name that `wheel` writes."""
    return f"mlctl_keras-{mlctl.__version__}-py3-none-any.whl"


def wheel(folder: Path) -> Path:
    """Write this package as a wheel, whether it was installed from one or runs from a checkout."""
    info = f"mlctl_keras-{mlctl.__version__}.dist-info"
    path = folder / wheel_name()
    contents = [(name, file.read_bytes()) for name, file in files()]
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {mlctl.__version__}\n"
    tags = "Wheel-Version: 1.0\nGenerator: mlctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents += [(f"{info}/METADATA", about.encode()), (f"{info}/WHEEL", tags.encode())]
    record = "".join(f"{name},sha256={_hash(data)},{len(data)}\n" for name, data in contents)
    contents.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def pinned(names: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of these distributions and of all that they need, by name."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            there = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform or Python
        found[name] = there.version
        for text in there.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return dict(sorted(found.items()))


def size_mb(name: str) -> float:
    """Return what an installed distribution takes on disk."""
    listed = distribution(name).files or ()
    return (
        sum(Path(str(file.locate())).stat().st_size for file in listed if Path(str(file.locate())).is_file())
        / 1e6
    )


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
