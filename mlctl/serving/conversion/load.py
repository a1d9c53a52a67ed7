"""Load the model of an endpoint, converted to ONNX if it is another program's and can be."""

from __future__ import annotations

from pathlib import Path

from mlctl.serving.conversion.prepare import Conversion, prepare
from mlctl.serving.conversion.shared_weights import share_weights
from mlctl.serving.endpoint_spec import EndpointSpec
from mlctl.serving.model import ServedModel
from mlctl.serving.saved_model import read_saved_model
from mlctl.serving.supervision.events import log_event


def load_model(spec: EndpointSpec) -> ServedModel:
    """Return the loaded model. The log says once for each version what answers."""
    folder, scratch = Path(spec.serving.folder), Path(spec.scratch)
    if read_saved_model(folder).by_mlctl:
        artifacts = folder / "artifacts" / "model"
        return ServedModel(folder, artifacts=_shared(artifacts, spec))
    if not spec.convert:
        return ServedModel(folder)
    conversion = prepare(folder, command=spec.convert, cache=Path(spec.converted))
    if _is_first(scratch / f"runtime-of-{spec.serving.version or 'the-model'}"):
        subject = f"version {spec.serving.version}" if spec.serving.version else "the model"
        if conversion.folder:
            log_event(f"{subject} was converted to ONNX, and answers without MLflow")
        else:
            log_event(f"{subject} is answered by MLflow: {conversion.reason}")
    if conversion.folder:
        conversion = Conversion(_shared(conversion.folder, spec))
    return ServedModel(folder, conversion)


def _shared(folder: Path, spec: EndpointSpec) -> Path:
    """Return a folder whose graph shares its weights with other workers, if there are others."""
    return share_weights(folder, Path(spec.scratch)) if spec.workers > 1 else folder


def _is_first(marker: Path) -> bool:
    """Whether no other worker of the endpoint has asked before."""
    try:
        marker.touch(exist_ok=False)
    except OSError:
        return False
    return True
