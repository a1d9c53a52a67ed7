"""Weights of a large model that all workers of an endpoint share.

ONNX Runtime copies a model's weights into the memory of each process, in the order in which its kernels read them. The
graph is therefore written once more, as ONNX Runtime has optimized it for this processor, with the weights in a file
beside it in that very order. ONNX Runtime maps such a file into memory, so that all workers use the same pages.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from mlctl.files import locked

GRAPH, WEIGHTS = "model.onnx", "model.weights"
MIN_BYTES = 20_000_000  # of a graph; smaller ones are not worth the files
MIN_WEIGHT_BYTES = 1024
KEPT = 3  # versions of an endpoint: one that serves, and two that may
TIMEOUT_S = 60.0


def share_weights(folder: Path, scratch: Path) -> Path:
    """Return a folder with the same files as `folder`, whose graph shares its weights; `folder` itself if that fails.

    Args:
        folder: Folder with a graph, and other files that belong to it.
        scratch: Folder of the endpoint.
    """
    graph = folder / GRAPH
    if not graph.is_file() or graph.stat().st_size < MIN_BYTES:
        return folder
    shared = scratch / "shared-weights"
    target = shared / _key(graph)
    try:
        shared.mkdir(parents=True, exist_ok=True)
        with locked(shared / "lock"):  # the workers start together, and one of them writes
            if not target.is_dir():
                _write(folder, target)
                _remove_old(shared)
            os.utime(target)
    except (OSError, subprocess.SubprocessError):  # such as a full disk: the model is served all the same
        return folder
    return target


def _write(folder: Path, target: Path) -> None:
    """Fill a folder in a child process: it needs a multiple of the weights' memory, which the worker must not keep."""
    new = Path(tempfile.mkdtemp(prefix="new-", dir=target.parent))
    try:
        command = [
            sys.executable,
            "-m",
            "mlctl.serving.conversion.shared_weights",
            str(folder / GRAPH),
            str(new),
        ]
        subprocess.run(command, check=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, capture_output=True)
        for file in folder.iterdir():
            if file.name != GRAPH:
                (new / file.name).symlink_to(file.resolve())
        new.rename(target)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _remove_old(shared: Path) -> None:
    folders = sorted(
        (path for path in shared.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    for folder in folders[:-KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def _key(graph: Path) -> str:
    """Return a name for the graph of a file, on this machine and with this version of ONNX Runtime."""
    stat = graph.stat()
    parts = (
        graph.resolve(),
        stat.st_size,
        stat.st_mtime_ns,
        platform.node(),
        metadata.version("onnxruntime"),
    )
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:16]


def optimize(graph: Path, target: Path) -> None:
    """Write a graph into a folder as ONNX Runtime has optimized it, with its weights in a file that can be mapped.

    Raises ValueError if the result answers otherwise than the graph.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = str(target / GRAPH)
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", WEIGHTS),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(MIN_WEIGHT_BYTES)),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(key, value)
    providers = ["CPUExecutionProvider"]
    original = onnxruntime.InferenceSession(str(graph), options, providers=providers)
    plain = onnxruntime.SessionOptions()
    plain.log_severity_level = 3
    written = onnxruntime.InferenceSession(str(target / GRAPH), plain, providers=providers)
    if (feed := _made_input(original)) is None:
        return
    for found, expected in zip(written.run(None, feed), original.run(None, feed), strict=True):
        if not np.allclose(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ValueError("the optimized graph answers otherwise")


def _made_input(session: Any) -> dict[str, Any] | None:
    """Return two rows of zeros and ones for each input; None if an input is texts or of any length."""
    import numpy as np

    types = {"float": "float32", "double": "float64"}
    generator, feed = np.random.default_rng(0), {}
    for given in session.get_inputs():
        kind = given.type.removeprefix("tensor(").removesuffix(")")
        if kind == "string" or not all(isinstance(length, int) for length in given.shape[1:]):
            return None
        feed[given.name] = generator.integers(0, 2, (2, *given.shape[1:])).astype(types.get(kind, kind))
    return feed


if __name__ == "__main__":
    optimize(Path(sys.argv[1]), Path(sys.argv[2]))
