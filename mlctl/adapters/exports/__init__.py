"""Models in the files of other runtimes: ONNX, SavedModel, Keras, LiteRT."""
