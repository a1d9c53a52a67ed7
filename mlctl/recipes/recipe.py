"""The base class of every recipe."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlctl.domain.objective import Objective
from mlctl.errors import BadDataError, UsageError, did_you_mean
from mlctl.recipes import reads
from mlctl.recipes.declare import COMMON, Hyperparameter, Values, complete

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

SPARSE_BAGS = "its bags of words are sparse, which only TensorFlow computes"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of a training: `epochs` epochs after `start(model, hp, data)` has changed and compiled the model.

    Without `start`, the model stays as it is.
    """

    name: str
    epochs: int
    start: Callable[[Any, Values, Dataset], None] | None = None


class Recipe:
    """What a recipe file declares: a name, an objective, hyperparameters, and three methods.

    `load` reads the data, `encoder` turns raw client input into model input, `build` returns a compiled
    Keras model that takes encoded input. Import Keras inside the methods, so that listing recipes stays fast.
    """

    name: ClassVar[str] = ""
    # for data whose objective is known only after it was read, `load` sets Dataset.objective
    objective: Objective = Objective("val_loss", maximize=False)
    epochs: Any = COMMON["epochs"].default
    batch_size: Any = COMMON["batch_size"].default
    learning_rate: Any = COMMON["learning_rate"].default
    schedule: Any = COMMON["schedule"].default
    # weight of each class in the loss: "balanced", or numbers by the class's index or name
    class_weight: Any = None
    # --precision auto uses bfloat16 if the hardware supports it and the recipe opts in
    bfloat16: ClassVar[bool] = False
    # a small table is trained in one thread, unless the steps of the recipe's network are long enough to share
    long_steps: ClassVar[bool] = False
    # why no other Keras backend than TensorFlow can train it
    needs_tensorflow: ClassVar[str] = ""
    # the model to log is trained again on training and validation rows, for as many epochs as the best one took
    refits: ClassVar[bool] = False

    def load(self, source: Source) -> Dataset:
        """Return the data by split: raw inputs, as a client would send them, and targets."""
        raise BadDataError(
            f"{self.source_file()}: recipe {self.name} has no load()",
            "write load(self, source), which returns a mlctl.data.dataset.Dataset",
        )

    def encoder(self, data: Dataset) -> Any:
        """Return a callable that turns raw inputs into model input, or None if they are the same."""
        return None

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return a compiled model that takes encoded input."""
        raise BadDataError(
            f"{self.source_file()}: recipe {self.name} has no build()",
            "write build(self, hp, data), which returns a compiled Keras model",
        )

    def callbacks(self, hp: Values, data: Dataset) -> Sequence[keras.callbacks.Callback]:
        """Return Keras callbacks for the training; their plain attributes are part of the checkpoint."""
        return ()

    def scores(self, targets: Any, predictions: Any) -> Mapping[str, float]:
        """Return scores by name, which are added to mlctl's own or replace those of the same name.

        `targets` and `predictions` are arrays (n, …), or dicts of them by output name; predictions of classes are
        probabilities. The scores get the prefixes `val_` and `test_`.
        """
        return {}

    def phases(self, hp: Values, data: Dataset) -> Sequence[Phase]:
        """Return the phases of the training, such as a frozen trunk first; none: a single phase of `epochs` epochs."""
        return ()

    def serving(self, model: keras.Model, data: Dataset) -> keras.Model:
        """Return the model to log and to serve, if it is another one than the trained one."""
        return model

    @classmethod
    def declared(cls) -> dict[str, Hyperparameter]:
        """Return every hyperparameter and option by name: the common ones first, then the recipe's own."""
        declared: dict[str, Hyperparameter] = {}
        for name, common in COMMON.items():
            value = getattr(cls, name)
            if not isinstance(value, Hyperparameter):
                value = dataclasses.replace(common, default=type(common.default)(value))
            declared[name] = value
        for owner in reversed(cls.__mro__):
            for name, value in vars(owner).items():
                if isinstance(value, Hyperparameter):
                    declared[name] = value
                elif name in declared and name not in COMMON:  # a class changes a default by assignment
                    declared[name] = dataclasses.replace(declared[name], default=value)
        return declared

    @classmethod
    def values(cls, overrides: Mapping[str, Any]) -> Values:
        """Return the value of everything declared, overrides checked; raises UsageError."""
        declared = cls.declared()
        each = {name: parameter for name, parameter in declared.items() if parameter.each}
        values: dict[str, Any] = {
            name: parameter.parse(name, overrides.get(name, parameter.default))
            for name, parameter in declared.items()
            if name not in each
        }
        for name, text in overrides.items():
            parameter = each.get(name.partition(".")[0]) if "." in name else None
            if parameter is not None:
                values[name] = parameter.parse(name, text)
            elif name not in values:
                hint = did_you_mean(name, declared) or f"it declares: {', '.join(declared)}"
                raise UsageError(f"recipe {cls.name} declares no {name!r}", hint)
        return complete(declared, values, reads.unread_names(cls), chosen=overrides)

    @classmethod
    def source_file(cls) -> Path:
        """Return the file that declares this recipe."""
        return Path(inspect.getfile(cls))


def has_phases(recipe: Recipe) -> bool:
    """Return whether a recipe may have phases: it has a method for them."""
    return type(recipe).phases is not Recipe.phases
