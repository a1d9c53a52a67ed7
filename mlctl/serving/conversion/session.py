"""A session of ONNX Runtime for a worker, which shares the cores with others."""

from __future__ import annotations

from typing import Any


def open_session(path: str) -> Any:
    """Return a session that computes in the calling thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # a graph that is refused raises; its warnings help nobody
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
