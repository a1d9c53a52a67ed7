"""The Open Inference Protocol, version 2, over HTTP: what KServe and Triton speak."""
