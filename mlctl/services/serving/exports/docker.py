"""Export to a docker build context."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlctl.adapters.system import packaging
from mlctl.services.serving.exports.base import ExportTarget, ModelToExport
from mlctl.services.serving.exports.requirements import pinned_requirements


class Docker(ExportTarget):
    """A folder from which `docker build` makes an image."""

    def write(self, model: ModelToExport, folder: Path) -> tuple[str, ...]:
        """Write the model, mlctl as a wheel, the pinned requirements and a Dockerfile."""
        model.copy_to(folder / "model")
        pins = pinned_requirements(model.folder)
        requirements = "".join(f"{name}=={version}\n" for name, version in pins.items())
        (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
        values = {
            **model.template_values,
            "wheel": packaging.build_wheel(folder).name,
            "sizes": _size_list(folder / "model", pins),
        }
        self.render_templates("docker", folder, values)
        return ()


def _size_list(model_folder: Path, pins: Mapping[str, str]) -> str:
    model_mb = sum(file.stat().st_size for file in model_folder.rglob("*") if file.is_file()) / 1e6
    sizes = {name: packaging.installed_size_mb(name) for name in pins}
    lines = [f"- the model: {model_mb:.1f} MB", f"- {len(pins)} packages: {sum(sizes.values()):.0f} MB"]
    by_size = sorted(sizes, key=lambda name: -sizes[name])
    lines += [f"  - {name}: {sizes[name]:.0f} MB" for name in by_size if sizes[name] >= 1]
    return "\n".join(lines)
