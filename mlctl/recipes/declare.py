"""How a recipe declares what can be set on it: typed, bounded values that train checks and tune searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.objective import Objective
from mlctl.domain.recipes import HyperparameterInfo
from mlctl.errors import UsageError

BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
TYPE_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """A value that can be set; its type is the type of its default.

    `low` and `high` are inclusive bounds. `step` and `log` say how a search samples the range. `choices` lists
    all allowed values. `data` marks an option of `load` or of the encoder, which a search leaves alone. `each`
    marks a value that is set per name (`column.NAME=date`) and has no value of its own.
    """

    default: Any = field(kw_only=False)
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    help: str = ""
    data: bool = False
    each: bool = False

    def parse(self, name: str, text: Any) -> Any:
        """Turn typed text into a checked value; raises UsageError that names the bound."""
        value = self._convert(name, text)
        if self.choices and value not in self.choices:
            raise UsageError(f"{name}={text} is not one of {self.allowed}", f"set {name} to one of them")
        if self.low is not None and not value >= self.low:
            raise UsageError(f"{name}={text} is below its bound {self.low}", f"allowed: {self.allowed}")
        if self.high is not None and not value <= self.high:
            raise UsageError(f"{name}={text} is above its bound {self.high}", f"allowed: {self.allowed}")
        return value

    def _convert(self, name: str, text: Any) -> Any:
        type_ = type(self.default)
        if not isinstance(text, str):
            return text
        try:
            if type_ is bool:
                return BOOLEANS[text.lower()]
            if type_ is int and float(text).is_integer():
                return int(float(text))
            return type_(text)
        except (KeyError, ValueError, OverflowError):
            raise UsageError(
                f"{name}={text} is not {TYPE_NAMES[type_]}", f"allowed: {self.allowed}"
            ) from None

    @property
    def allowed(self) -> str:
        """The allowed values in words: "16..256 step 16", "adam, rmsprop", "a number"."""
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        if type(self.default) is bool:
            return "true, false"
        if self.low is None and self.high is None:
            return TYPE_NAMES[type(self.default)]
        low, high = ("" if bound is None else f"{bound:g}" for bound in (self.low, self.high))
        words = f"{low}..{high}" if high else f"at least {low}"
        return words + (f" step {self.step:g}" if self.step else "") + (" (log)" if self.log else "")


def hyperparameter(default: Any, **bounds: Any) -> Any:
    """Declare a hyperparameter: `units = hyperparameter(64, low=16, high=256, step=16, help="…")`."""
    return Hyperparameter(default, **bounds)


def choice(default: Any, *others: Any, help: str = "") -> Any:
    """Declare a hyperparameter that takes one of a few values, the default first."""
    return Hyperparameter(default, choices=(default, *others), help=help)


def option(default: Any, **bounds: Any) -> Any:
    """Declare an option of the data: set with --set like a hyperparameter, but never searched."""
    return Hyperparameter(default, data=True, **bounds)


def maximize(metric: str) -> Objective:
    """Name the validation metric to maximize: it selects the best epoch, the best run and the best trial."""
    return Objective(metric, maximize=True)


def minimize(metric: str) -> Objective:
    """Name the validation metric to minimize: it selects the best epoch, the best run and the best trial."""
    return Objective(metric, maximize=False)


# Every recipe has these; a class changes a default by assignment (epochs = 20).
COMMON: Mapping[str, Hyperparameter] = {
    "epochs": Hyperparameter(10, low=1, high=100_000, help="passes over the training data"),
    "batch_size": Hyperparameter(32, low=1, high=1_000_000, help="examples per step"),
    "learning_rate": Hyperparameter(1e-3, low=1e-8, high=100.0, log=True, help="the optimizer's step size"),
    "schedule": Hyperparameter(
        "constant", choices=("constant", "cosine"), help="how the learning rate changes over the epochs"
    ),
}


class Values(Mapping[str, Any]):
    """The hyperparameters of one training, by name and as attributes: `hp.units`.

    `hp.rate` is for the optimizer: the learning rate, or its schedule over all steps.
    """

    def __init__(self, values: Mapping[str, Any], steps_per_epoch: int = 1) -> None:
        self._values = dict(values)
        self.steps_per_epoch = steps_per_epoch

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"this recipe declares no hyperparameter {name!r}") from None

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def rate(self) -> Any:
        """The learning rate for an optimizer: a float, or Keras's cosine decay to zero over all steps."""
        if self._values["schedule"] == "constant":
            return self._values["learning_rate"]
        import keras

        return keras.optimizers.schedules.CosineDecay(
            self._values["learning_rate"], self.steps_per_epoch * self._values["epochs"]
        )

    def on(self, rows: int) -> Values:
        """Return the same values for this number of training rows."""
        return Values(self._values, -(-rows // self._values["batch_size"]))


def hyperparameter_info(name: str, declared: Hyperparameter) -> HyperparameterInfo:
    """Return a hyperparameter as `mlctl recipes show` lists it."""
    return HyperparameterInfo(
        name=name, default=declared.default, allowed=declared.allowed, help=declared.help
    )
