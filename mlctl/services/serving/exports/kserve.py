"""Export to a KServe InferenceService."""

from __future__ import annotations

from pathlib import Path

from mlctl.services.serving.exports.base import ExportTarget, ModelToExport


class KServe(ExportTarget):
    """An InferenceService that runs an image of the docker export, with the Open Inference Protocol."""

    def write(self, model: ModelToExport, folder: Path) -> tuple[str, ...]:
        """Write the InferenceService."""
        self.render_templates("kserve", folder, model.template_values)
        return ()
