"""The targets of `mlctl export model`. To add one, write its class in this folder and add it to TARGETS."""

from mlctl.services.serving.exports.azureml import AzureMl
from mlctl.services.serving.exports.base import ExportTarget
from mlctl.services.serving.exports.docker import Docker
from mlctl.services.serving.exports.formats import KerasFile, LiteRt, Onnx, Python, SavedModel
from mlctl.services.serving.exports.kserve import KServe
from mlctl.services.serving.exports.kubernetes import Kubernetes

TARGETS: dict[str, ExportTarget] = {
    "docker": Docker(),
    "kubernetes": Kubernetes(),
    "kserve": KServe(),
    "azureml": AzureMl(),
    "onnx": Onnx(),
    "savedmodel": SavedModel(),
    "keras": KerasFile(),
    "litert": LiteRt(),
    "python": Python(),
}
