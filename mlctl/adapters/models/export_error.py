"""The error of a model that has no ONNX form."""


class ExportError(Exception):
    """The model has no ONNX form; the message is the reason in a few words."""
