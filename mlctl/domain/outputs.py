"""What a model's outputs mean: the kind of answer, its classes or its unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["classes", "labels", "values", "pixels", "sequence", "none"]
# How numbers in targets mean classes: 0 to k-1; 1 to k; -1 and 1; 0 and 255; numbers that are the classes' names. "":
# it is not known yet, or targets are no numbers.
Numbering = Literal["", "zero", "one", "signs", "mask", "names"]

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of a model.

    Attributes:
        kind: What a row's answer is:

            - classes: probabilities of exclusive classes, (n, classes), or (n, 1) of the second of two classes.
            - labels: an independent probability for each label, (n, labels).
            - values: numbers, of any shape.
            - pixels: a class for each pixel, (n, height, width, classes) probabilities.
            - sequence: a class for each step, (n, steps, classes) probabilities.
            - none: numbers without a target, such as a code or a reconstruction.
        name: Name of the Keras model's output; "" for the only output.
        classes: Names of classes or labels, in the order of the model's units.
        unit: Unit of values, such as "USD".
        activation: "sigmoid" or "softmax" if the Keras model answers logits: the served model applies it. mlctl
            detects it.
        numbering: How numbers in the targets of the training data mean classes; mlctl detects it.
        threshold: Probability above which a row of two classes is of the second one. The probabilities stay as
            they are.
    """

    kind: Kind
    name: str = ""
    classes: tuple[str, ...] = ()
    unit: str = ""
    activation: str = ""
    numbering: Numbering = ""
    threshold: float = DEFAULT_THRESHOLD

    @property
    def task(self) -> str:
        """The task in the words of a run: binary, multiclass, regression, or the kind."""
        if self.kind == "classes":
            return "binary" if len(self.classes) == 2 else "multiclass"
        return "regression" if self.kind == "values" else self.kind

    def to_json(self) -> dict[str, Any]:
        """Return the output as a saved model's metadata stores it."""
        entry = {**asdict(self), "classes": list(self.classes)}
        if self.threshold == DEFAULT_THRESHOLD:
            del entry["threshold"]
        return entry

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Output:
        """Return the output that `to_json` stored."""
        return cls(**{**entry, "classes": tuple(entry.get("classes", ()))})


Outputs = tuple[Output, ...]


def task_of(outputs: Sequence[Output]) -> str:
    """Return the task of a model in one word; "several" for several outputs."""
    return outputs[0].task if len(outputs) == 1 else "several" if outputs else "none"


def outputs_of(metadata: Mapping[str, Any]) -> Outputs:
    """Return the outputs that a saved model's metadata describes; models of earlier versions have one."""
    if "outputs" in metadata:
        return tuple(Output.from_json(entry) for entry in metadata["outputs"])
    classes = tuple(metadata.get("classes") or ())
    return (Output(kind="classes" if classes else "values", classes=classes, unit=metadata.get("unit", "")),)


def classes(*names: str, name: str = "") -> Output:
    """Declare an output of exclusive classes."""
    return Output(kind="classes", classes=_texts(names), name=name)


def labels(*names: str, name: str = "") -> Output:
    """Declare an output of independent labels: any number of them can apply to a row."""
    return Output(kind="labels", classes=_texts(names), name=name)


def values(unit: str = "", name: str = "") -> Output:
    """Declare an output of numbers."""
    return Output(kind="values", unit=unit, name=name)


def pixels(*names: str, name: str = "") -> Output:
    """Declare an output with a class for each pixel."""
    return Output(kind="pixels", classes=_texts(names), name=name)


def sequence(*names: str, name: str = "") -> Output:
    """Declare an output with a class for each step of a sequence."""
    return Output(kind="sequence", classes=_texts(names), name=name)


def _texts(names: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(name) for name in names)
