"""How a recipe declares what can be set on it: typed, bounded values that train checks and tune searches."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.conditions import Comparison, Condition, inactive_names, parse_condition
from mlctl.domain.objective import Objective
from mlctl.domain.recipes import HyperparameterInfo
from mlctl.domain.truths import TRUTHS
from mlctl.errors import UsageError

TYPE_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
NO_VALUE = object()


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """A value that can be set; its type is the type of its default.

    `low` and `high` are inclusive bounds. `step` and `log` say how a search samples the range. `choices` lists
    all allowed values, which may be of several types, and None. `when` says when the value counts: a comparison of
    another hyperparameter (`num_layers>=3`, `optimizer in adam|sgd`), or several with `&`; otherwise, the value is
    the default, and is neither recorded nor searched. `data` marks an option of `load` or of the encoder, which a
    search leaves alone. `each` marks a value that is set per name (`column.NAME=date`) and has no value of its own.

    Raises ValueError if the declaration contradicts itself.
    """

    default: Any = field(kw_only=False)
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    help: str = ""
    when: str = ""
    data: bool = False
    each: bool = False

    def __post_init__(self) -> None:
        """Check the declaration; the choices may be any sequence, and include the default."""
        choices = tuple(self.choices)
        if choices and not _contains(choices, self.default):
            choices = (self.default, *choices)
        object.__setattr__(self, "choices", choices)
        if not choices and type(self.default) not in TYPE_NAMES:
            raise ValueError(
                f"a default of {self.default!r} says no type of the values: list them, choice({self.default!r}, …)"
            )
        parse_condition(self.when)

    def parse(self, name: str, text: Any) -> Any:
        """Turn typed text into a checked value; raises UsageError that names the bound."""
        if self.choices:
            return self._parse_choice(name, text)
        value = self._convert(name, text)
        if self.low is not None and not value >= self.low:
            raise UsageError(f"{name}={text} is below its bound {self.low}", f"allowed: {self.allowed}")
        if self.high is not None and not value <= self.high:
            raise UsageError(f"{name}={text} is above its bound {self.high}", f"allowed: {self.allowed}")
        return value

    def compared(self, name: str, sign: str, text: str) -> Any:
        """Return the value of a condition: one of the choices, or a number that may lie between or beyond them."""
        if sign in {"==", "!=", "in"}:
            return self._parse_choice(name, text) if self.choices else self._convert(name, text)
        number = _read_as(float, text)
        values = self.choices or (self.default,)
        if number is NO_VALUE or not any(type(value) in {int, float} for value in values):
            raise UsageError(f"{name}{sign}{text} compares no numbers", f"allowed: {self.allowed}")
        return number

    def _parse_choice(self, name: str, text: Any) -> Any:
        """Return the choice that a text or value means."""
        if isinstance(text, str):
            for same in (str.__eq__, lambda one, other: one.lower() == other.lower()):
                for choice in self.choices:
                    if same(str(choice), text):
                        return choice
            for choice in self.choices:  # "2e-3" is 0.002, and "yes" is true
                if type(choice) in {int, float, bool} and _read_as(type(choice), text) == choice:
                    return choice
        else:
            value = tuple(text) if isinstance(text, list) else text
            for exact in (True, False):  # 1 is also True and 1.0
                for choice in self.choices:
                    if choice == value and (not exact or type(choice) is type(value)):
                        return choice
        raise UsageError(f"{name}={text} is not one of {self.allowed}", f"set {name} to one of them")

    def _convert(self, name: str, text: Any) -> Any:
        type_ = type(self.default)
        if not isinstance(text, str):
            return text
        value = _read_as(type_, text)
        if value is NO_VALUE:
            raise UsageError(f"{name}={text} is not {TYPE_NAMES[type_]}", f"allowed: {self.allowed}")
        return value

    @property
    def allowed(self) -> str:
        """The allowed values in words: "16..256 step 16", "adam, rmsprop", "a number"."""
        if self.choices:
            return ", ".join(str(choice) for choice in self.choices)
        if type(self.default) is bool:
            return "true, false"
        if self.low is None and self.high is None:
            return TYPE_NAMES[type(self.default)]
        low, high = ("" if bound is None else _plain(bound) for bound in (self.low, self.high))
        words = f"{low}..{high}" if high else f"at least {low}"
        return words + (f" step {self.step:g}" if self.step else "") + (" (log)" if self.log else "")


def _plain(bound: float) -> str:
    """Return a bound as people write it: 1000000, not 1e+06."""
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


def _read_as(type_: type, text: str) -> Any:
    """Return a text as a value of this type; NO_VALUE if it is none."""
    try:
        if type_ is bool:
            return TRUTHS[text.lower()]
        if type_ is int and float(text).is_integer():
            return int(float(text))
        return type_(text)
    except (KeyError, ValueError, OverflowError):
        return NO_VALUE


def _contains(choices: tuple[Any, ...], value: Any) -> bool:
    return any(choice == value and (type(choice) is bool) == (type(value) is bool) for choice in choices)


def hyperparameter(default: Any, **bounds: Any) -> Any:
    """Declare a hyperparameter: `units = hyperparameter(64, low=16, high=256, step=16, help="…")`.

    `when="num_layers>=3"` makes it count only if another hyperparameter has such a value.
    """
    return Hyperparameter(default, **bounds)


def choice(default: Any, *others: Any, help: str = "", when: str = "") -> Any:
    """Declare a hyperparameter that takes one of a few values, the default first: `choice(None, "relu", 3)`."""
    return Hyperparameter(default, choices=(default, *others), help=help, when=when)


def option(default: Any, **bounds: Any) -> Any:
    """Declare an option of the data: set with --set like a hyperparameter, but never searched."""
    return Hyperparameter(default, data=True, **bounds)


def maximize(metric: str, *, tolerance: float = 1.0) -> Objective:
    """Name the validation metric to maximize: it selects the best epoch, the best run and the best trial.

    Of proportions within `tolerance` standard errors of the best one, the validation loss selects.
    """
    return Objective(metric, maximize=True, tolerance=tolerance)


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

    `hp.rate` is for the optimizer: the learning rate, or its schedule over all steps. A recipe that declares a
    hyperparameter `rate` finds its value there instead.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        steps_per_epoch: int = 1,
        *,
        inactive: frozenset[str] = frozenset(),
        unread: frozenset[str] = frozenset(),
        chosen: frozenset[str] = frozenset(),
    ) -> None:
        """`inactive` names have their defaults, `unread` ones are never read by the recipe: neither is recorded.

        `chosen` names have a value that the user or a search has set, even if it equals the default.
        """
        self._values = dict(values)
        self._chosen = chosen
        self._schedule_epochs: int | None = None  # None: all epochs
        self._inactive = inactive
        self._unread = unread
        self._reads: set[str] = set()  # the copies of `on` have the same set
        self.steps_per_epoch = steps_per_epoch

    def __getattr__(self, name: str) -> Any:
        try:
            value = self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"this recipe declares no hyperparameter {name!r}") from None
        self._reads.add(name)
        return value

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        self._reads.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def rate(self) -> Any:
        """The learning rate for an optimizer: a float, or Keras's cosine decay to zero over all steps."""
        if "rate" in self._values:
            return self["rate"]
        self._reads.add("rate")
        rate = self["learning_rate"]
        if self["schedule"] == "constant":
            return rate
        import keras

        epochs = self._schedule_epochs or self._values["epochs"]
        return keras.optimizers.schedules.CosineDecay(rate, self.steps_per_epoch * epochs)

    def on(self, rows: int, defaults: Mapping[str, Any] | None = None) -> Values:
        """Return the same values for this number of training rows.

        `defaults` take the place of values that nobody has set, and of the values 0 and "auto".
        """
        values = copy.copy(self)
        by_data = {
            name: value
            for name, value in (defaults or {}).items()
            if name not in self._chosen or self._values[name] in (0, "auto")
        }
        values._values = {**self._values, **by_data}
        values.steps_per_epoch = -(-rows // values._values["batch_size"])
        return values


def recorded_values(values: Values) -> dict[str, Any]:
    """Return the values that a run records: those that have an effect."""
    return {
        name: value
        for name, value in values._values.items()
        if name not in values._inactive and name not in values._unread
    }


def plain_values(values: Values) -> dict[str, Any]:
    """Return all values as a dict."""
    return dict(values._values)


def with_epochs(values: Values, epochs: int) -> Values:
    """Return the same values with another number of epochs."""
    changed = copy.copy(values)
    changed._values = {**values._values, "epochs": epochs}
    return changed


def with_schedule_epochs(values: Values, epochs: int) -> Values:
    """Return the same values, with a schedule of the learning rate that spans this number of epochs."""
    changed = copy.copy(values)
    changed._schedule_epochs = epochs
    return changed


def with_own_reads(values: Values) -> Values:
    """Return the same values, as nobody has read them yet."""
    unread = copy.copy(values)
    unread._reads = set()
    return unread


def is_chosen(values: Values, name: str) -> bool:
    """Return whether the user or a search has set a value."""
    return name in values._chosen


def read_names(values: Values) -> frozenset[str]:
    """Return the names that were read so far; "rate" stands for `hp.rate`."""
    return frozenset(values._reads)


def conditions_of(declared: Mapping[str, Hyperparameter]) -> dict[str, Condition]:
    """Return the conditions by name, with values of the types of the hyperparameters that they compare.

    Raises ValueError for a comparison with a name that is not declared, or with a value that it cannot have.
    """
    conditions = {}
    for name, parameter in declared.items():
        if not parameter.when:
            continue
        comparisons = []
        for comparison in parse_condition(parameter.when):
            other = declared.get(comparison.name)
            if other is None or other.each:
                raise ValueError(
                    f"when={parameter.when!r} of {name}: there is no hyperparameter {comparison.name!r}"
                )
            try:
                values = tuple(
                    other.compared(comparison.name, comparison.sign, str(value))
                    for value in comparison.values
                )
            except UsageError as exc:
                raise ValueError(f"when={parameter.when!r} of {name}: {exc.message}") from exc
            comparisons.append(Comparison(comparison.name, comparison.sign, values))
        conditions[name] = tuple(comparisons)
    return conditions


def complete(
    declared: Mapping[str, Hyperparameter],
    given: Mapping[str, Any],
    unread: frozenset[str] = frozenset(),
    chosen: Iterable[str] | None = None,
) -> Values:
    """Return checked values with the default of each hyperparameter that is missing or inactive.

    `chosen` are the names that the user or a search has set; None: all that are given.
    """
    defaults = {name: parameter.default for name, parameter in declared.items() if not parameter.each}
    values = {**defaults, **given}
    inactive = inactive_names(conditions_of(declared), values)
    values.update({name: defaults[name] for name in inactive})
    return Values(
        values, inactive=inactive, unread=unread, chosen=frozenset(given if chosen is None else chosen)
    )


def hyperparameter_info(name: str, declared: Hyperparameter) -> HyperparameterInfo:
    """Return a hyperparameter as `mlctl recipes show` lists it."""
    return HyperparameterInfo(
        name=name,
        default=declared.default,
        allowed=declared.allowed,
        help=declared.help,
        when=declared.when,
    )
