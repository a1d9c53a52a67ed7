"""What a model's outputs mean, for `Dataset(outputs=…)`: `outputs.labels("red", "round")`."""

from mlctl.domain.outputs import Output, classes, labels, pixels, sequence, values

__all__ = ["Output", "classes", "labels", "pixels", "sequence", "values"]
