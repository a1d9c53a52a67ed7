"""Export to Kubernetes manifests."""

from __future__ import annotations

from pathlib import Path

from mlctl.services.serving.exports.base import ExportTarget, ModelToExport


class Kubernetes(ExportTarget):
    """Manifests that run an image of the docker export."""

    def write(self, model: ModelToExport, folder: Path) -> tuple[str, ...]:
        """Write a Deployment, a Service, an autoscaler and an Ingress."""
        self.render_templates("kubernetes", folder, model.template_values)
        return ()
