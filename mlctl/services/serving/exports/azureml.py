"""Export to an online endpoint of Azure Machine Learning."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlctl.adapters.system import packaging
from mlctl.services.serving.exports.base import ExportTarget, ModelToExport
from mlctl.services.serving.exports.requirements import pinned_requirements


class AzureMl(ExportTarget):
    """A model, its scoring script with the code that the script imports, and the YAML files of a deployment."""

    def write(self, model: ModelToExport, folder: Path) -> tuple[str, ...]:
        """Write the model, the code folder and the YAML files."""
        model.copy_to(folder / "model")
        for name, file in packaging.serving_files():
            target = folder / "code" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        pins = pinned_requirements(model.folder)
        pin_lines = "\n".join(f"      - {name}=={version}" for name, version in pins.items())
        self.render_templates("azureml", folder, {**model.template_values, "pins": pin_lines})
        return ()
