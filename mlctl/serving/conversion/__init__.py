"""Models of other programs that were converted to ONNX at start, and the scorer that answers with them."""
