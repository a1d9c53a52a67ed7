"""Load the model of an endpoint, converted to ONNX if it is another program's and can be."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path

from mlctl.serving.conversion.prepare import Conversion, prepare
from mlctl.serving.conversion.shared_weights import share_weights
from mlctl.serving.endpoint_spec import EndpointSpec
from mlctl.serving.model import ServedModel
from mlctl.serving.prediction import parse_request
from mlctl.serving.saved_model import read_saved_model
from mlctl.serving.supervision.events import log_event


def load_batched(spec: EndpointSpec) -> tuple[ServedModel, bool]:
    """Return the loaded model, and whether it answers several requests in one call."""
    model = load_model(spec)
    _return_memory()
    if spec.batch == "off" or model.example is None or not model.signature.all_tensors:
        return model, False
    call = parse_request(model, model.example, "application/json")
    return model, call is not None and model.batch(spec.batch, example=call.inputs, workers=spec.workers)


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


def _return_memory() -> None:
    """Give memory that loading needed back to the system, if its C library can."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _is_first(marker: Path) -> bool:
    """Whether no other worker of the endpoint has asked before."""
    try:
        marker.touch(exist_ok=False)
    except OSError:
        return False
    return True
