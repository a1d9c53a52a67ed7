"""The base class of export targets, and the model that it receives."""

from __future__ import annotations

import re
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.registry import ModelReference
from mlctl.errors import UsageError
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.settings import Settings

TEMPLATES = Path(__file__).parent / "templates"
MAX_SLUG_LENGTH = 40
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
IMAGE_NAME = re.compile(r"[a-z0-9][\w./:@-]*")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of an export; a target uses those that it needs.

    Attributes:
        image: Name of the container image; None derives it from the model.
        host: Host name under which clients send requests.
        cpu: CPU request of a pod.
        memory: Memory request of a pod.
        quantize: "float16", "int8" or "dynamic"; "" keeps float32.
        max_loss: Points that the score may fall by.
        proof_data: Data of which the export is asked; None: the test split of the model's training.
        force: Write the export even if the score falls by more.
    """

    image: str | None = None
    host: str = "model.example.com"
    cpu: str = "1"
    memory: str = "1Gi"
    quantize: str = ""
    max_loss: float = 0.5
    proof_data: str | None = None
    force: bool = False

    def check(self) -> None:
        """Raise UsageError if a value would break a manifest."""
        for option, value, pattern, example in (
            ("--cpu", self.cpu, QUANTITY, "1"),
            ("--memory", self.memory, QUANTITY, "1Gi"),
            ("--host", self.host, HOST_NAME, "model.example.com"),
            ("--image", self.image or "model", IMAGE_NAME, "registry.example.com/digits:3"),
        ):
            if not pattern.fullmatch(value):
                raise UsageError(f"invalid value {value!r} for {option}", f"example: {option} {example}")


@dataclass(frozen=True, kw_only=True)
class ModelToExport:
    """A model with its files on this machine, and what its export needs.

    Attributes:
        served: The model.
        options: The options of the export.
        target: Name of the target.
        settings: Settings in force.
        store: The tracking store.
        reference: The model in the store.
        listener: Receives progress messages.
    """

    served: ServedVersion
    options: ExportOptions
    target: str
    settings: Settings
    store: TrackingStore
    reference: ModelReference
    listener: ProgressListener

    @property
    def folder(self) -> Path:
        """Folder of the model's files."""
        return Path(self.served.folder)

    def copy_to(self, folder: Path) -> None:
        """Copy the model's files to a new folder."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def template_values(self) -> dict[str, str]:
        """The values that every template may use."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.served.name.lower()).strip("-")[:MAX_SLUG_LENGTH] or "model"
        return {
            "name": self.served.name,
            "version": self.served.version,
            "slug": slug,
            "image": self.options.image or f"{slug}:{self.served.version or 'latest'}",
            "host": self.options.host,
            "cpu": self.options.cpu,
            "memory": self.options.memory,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        }


class ExportTarget(ABC):
    """A platform that can serve an exported model. Its templates lie in templates/NAME.

    Placeholders in a template are written ${name}. Python files are copied unchanged.
    """

    @abstractmethod
    def write(self, model: ModelToExport, folder: Path) -> tuple[str, ...]:
        """Write all files of the export into an empty folder; return notes for the user."""

    def render_templates(self, name: str, folder: Path, values: Mapping[str, str]) -> None:
        """Write the templates of the folder templates/NAME with these values."""
        top = TEMPLATES / name
        for template in sorted(top.rglob("*")):
            relative = template.relative_to(top)
            if not template.is_file() or "__pycache__" in relative.parts:
                continue  # an installation may have compiled the Python templates
            text = template.read_text(encoding="utf-8")
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(
                text if target.suffix == ".py" else Template(text).substitute(values), encoding="utf-8"
            )
