"""What an exported image contains: this package as a wheel, and the pinned distributions that a server needs."""

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
# what the package `serving` may import, besides libraries
SERVING_PARTS = (
    "__init__.py",
    "domain",
    "errors.py",
    "files.py",
    "machine.py",
    "notifications",
    "pictures.py",
    "serving",
    "units.py",
)


def package_files() -> list[tuple[str, Path]]:
    """Return this package's files as (path in a wheel, file)."""
    package = Path(mlctl.__file__).parent
    files = sorted(file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return [(file.relative_to(package.parent).as_posix(), file) for file in files]


def serving_files() -> list[tuple[str, Path]]:
    """Return the files of this package that a served process imports."""
    return [(path, file) for path, file in package_files() if path.split("/")[1] in SERVING_PARTS]


def wheel_name() -> str:
    """Return the file name that `build_wheel` writes."""
    return f"mlctl_keras-{mlctl.__version__}-py3-none-any.whl"


def build_wheel(folder: Path) -> Path:
    """Write this package as a wheel, whether it was installed from one or runs from a checkout."""
    info = f"mlctl_keras-{mlctl.__version__}.dist-info"
    path = folder / wheel_name()
    contents = [(name, file.read_bytes()) for name, file in package_files()]
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {mlctl.__version__}\n"
    tags = "Wheel-Version: 1.0\nGenerator: mlctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents += [(f"{info}/METADATA", metadata.encode()), (f"{info}/WHEEL", tags.encode())]
    record = "".join(f"{name},sha256={_hash(data)},{len(data)}\n" for name, data in contents)
    contents.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def pinned_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of these distributions and of their dependencies, by name."""
    versions: dict[str, str] = {}
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in versions:
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # a dependency for another platform or Python
        versions[name] = installed.version
        for text in installed.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return dict(sorted(versions.items()))


def installed_size_mb(name: str) -> float:
    """Return the disk space of an installed distribution in MB."""
    files = [Path(str(file.locate())) for file in distribution(name).files or ()]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
