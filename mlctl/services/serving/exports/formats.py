"""Export to the files of other runtimes. Each export is asked for answers before it is moved to its folder."""

from __future__ import annotations

from abc import abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.errors import RefusedError, UsageError
from mlctl.recipes.keras_import import import_keras
from mlctl.services.serving.exports.base import ExportOptions, ExportTarget, ModelToExport

if TYPE_CHECKING:  # the adapters import TensorFlow
    from mlctl.adapters.exports.model_parts import ModelParts
    from mlctl.adapters.exports.written_file import Calibration, WrittenFile

FLOAT16, INT8, DYNAMIC = "float16", "int8", "dynamic"
QUANTIZATIONS = (FLOAT16, INT8, DYNAMIC)


class ModelFormat(ExportTarget):
    """A file that another runtime reads.

    Attributes:
        title: Name of the format in sentences.
        quantizations: The values of --quantize that the format has.
        needs_tensorflow: Whether its runtime is TensorFlow or Keras.
        run_hint: The packages that predict.py needs.
    """

    title: str
    quantizations: tuple[str, ...] = ()
    needs_tensorflow = False
    run_hint: str

    @abstractmethod
    def write_file(
        self, parts: ModelParts, folder: Path, quantize: str, calibration: Calibration
    ) -> WrittenFile:
        """Write the model's file into a folder. Raises ExportError if the format cannot hold the model."""

    def write(self, model: ModelToExport, folder: Path) -> tuple[str, ...]:
        """Write the file with predict.py, and the proof that it answers as the model does."""
        import_keras()
        from mlctl.services.serving.exports.proof import write_with_proof  # it imports TensorFlow

        return write_with_proof(self, model, folder)


class Onnx(ModelFormat):
    """A graph for ONNX Runtime, with the encoder inside if ONNX has its operators."""

    title, run_hint = "ONNX", "numpy onnxruntime"
    quantizations = QUANTIZATIONS

    def write_file(
        self, parts: ModelParts, folder: Path, quantize: str, calibration: Calibration
    ) -> WrittenFile:
        """Write model.onnx."""
        from mlctl.adapters.exports.onnx_file import write_onnx

        return write_onnx(parts, folder, quantize, calibration)


class Python(Onnx):
    """A program of one file that needs NumPy and ONNX Runtime, and the graph that it runs."""

    title = "Python"


class SavedModel(ModelFormat):
    """TensorFlow's format in the folders that TensorFlow Serving reads."""

    title, run_hint = "SavedModel", "numpy tensorflow"
    needs_tensorflow = True

    def write_file(
        self, parts: ModelParts, folder: Path, quantize: str, calibration: Calibration
    ) -> WrittenFile:
        """Write 1/saved_model.pb."""
        from mlctl.adapters.exports.tensorflow_files import write_saved_model

        return write_saved_model(parts, folder)


class KerasFile(ModelFormat):
    """Keras's own format."""

    title, run_hint = "Keras", "numpy keras tensorflow"
    needs_tensorflow = True

    def write_file(
        self, parts: ModelParts, folder: Path, quantize: str, calibration: Calibration
    ) -> WrittenFile:
        """Write model.keras."""
        from mlctl.adapters.exports.tensorflow_files import write_keras

        return write_keras(parts, folder)


class LiteRt(ModelFormat):
    """The format of phones and small devices, formerly TensorFlow Lite."""

    title, run_hint = "LiteRT", "numpy ai-edge-litert"
    quantizations = QUANTIZATIONS

    @property
    def needs_tensorflow(self) -> bool:  # type: ignore[override]  # the other formats know it beforehand
        """Whether TensorFlow's interpreter asks the file, because the extra litert is not installed."""
        return find_spec("ai_edge_litert") is None

    def write_file(
        self, parts: ModelParts, folder: Path, quantize: str, calibration: Calibration
    ) -> WrittenFile:
        """Write model.tflite."""
        from mlctl.adapters.exports.tensorflow_files import write_litert

        return write_litert(parts, folder, quantize, calibration)


def check_options(target: ExportTarget, name: str, options: ExportOptions) -> None:
    """Raise RefusedError if a target does not have this quantization, UsageError if it has no proof."""
    known: tuple[Any, ...] = getattr(target, "quantizations", ())
    if options.quantize and options.quantize not in known:
        hint = "use --to onnx, python or litert" if not known else f"choose {', '.join(known)}"
        raise RefusedError(f"--to {name} cannot be quantized", hint)
    if not isinstance(target, ModelFormat) and (options.proof_data or options.force):
        option = "--proof" if options.proof_data else "--force"
        raise UsageError(f"--to {name} has no proof, so that {option} has no meaning", f"remove {option}")
