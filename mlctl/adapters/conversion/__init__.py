"""Convert models that other programs logged to ONNX, so that an endpoint serves them without their libraries."""
