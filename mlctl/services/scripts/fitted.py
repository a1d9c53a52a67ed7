"""The models that a script trains, without keeping those alive that the script has dropped."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.objective import Objective, parse_objective
from mlctl.domain.script import BEST, ScriptRequest
from mlctl.errors import UsageError

MAX_RECORDED = 20  # models whose epochs are metrics of the run; of further ones only the logged model's are


@dataclass(kw_only=True, eq=False)
class FittedModel:
    """A model that the script has trained.

    Attributes:
        name: Its Keras name, with a number if an earlier model has the same name.
        number: Position among the script's models, from 0.
        progress: All its epochs (a `FitProgress`), over all calls of `fit`, and the best one's weights.
        fits: How often `fit` was called.
        data: The data of its last `fit` (a `FitData`); None if it could not be read.
        inputs, targets: Rows that the script has given to check a model that it trains without `fit`.
        phases: First epoch of each phase: a phase begins if the model was compiled again since its last `fit`.
        is_compiled: Whether it was compiled since its last `fit`.
        compile_params: What was passed to `compile`, in words; None if it was not seen.
        params: Its parameters, for the logged model.
    """

    name: str
    number: int
    progress: Any
    fits: int = 0
    data: Any = None
    inputs: Any = None
    targets: Any = None
    phases: list[int] = field(default_factory=list)
    is_compiled: bool = False
    compile_params: dict[str, Any] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    _model: Any = None
    _reference: Any = None

    @property
    def model(self) -> Any:
        """The Keras model; None if the script has dropped it and mlctl does not keep it."""
        return self._model if self._model is not None else self._reference()

    @property
    def prefix(self) -> str:
        """What its metrics and parameters begin with: nothing for the first model."""
        return f"{self.name}_" if self.number else ""

    def keep(self, model: Any) -> None:
        """Keep the model alive."""
        self._model = model

    def let_go(self) -> None:
        """Keep the model only as long as the script does; then its weights and data are dropped, too."""
        if self._model is None:
            return
        weakref.finalize(self._model, _drop, weakref.ref(self)).atexit = False
        self._reference, self._model = weakref.ref(self._model), None


def _drop(reference: Any) -> None:
    if (fitted := reference()) is not None:
        fitted.data, fitted.progress.best_weights = None, []


class FittedModels:
    """All models of a script, in the order of their first `fit`.

    Attributes:
        last: The model that was trained last.
        chosen: The model that the script has named for the run to log; None: the last one, or that of `--model`.
    """

    def __init__(self, request: ScriptRequest) -> None:
        self._request = request
        self._compiled: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
        self.all: list[FittedModel] = []
        self.last: FittedModel | None = None
        self.chosen: FittedModel | None = None

    def find(self, model: Any) -> FittedModel | None:
        """Return the record of a model; None if it was not trained."""
        return next((fitted for fitted in reversed(self.all) if fitted.model is model), None)

    def compiled(self, model: Any, arguments: dict[str, Any]) -> None:
        """Note that a model was compiled."""
        from mlctl.adapters.scripts.fit_params import params_of_compile

        params = params_of_compile(
            arguments
        )  # in words: the arguments may refer to the model, and keep it alive
        self._compiled[model] = params
        if (fitted := self.find(model)) is not None:
            fitted.is_compiled, fitted.compile_params = True, params

    def get(self, model: Any, *, has_validation: bool) -> FittedModel:
        """Return the record of a model that is trained now; make one if it is new."""
        fitted = self._get(model, has_validation)
        if self.last is not None and self.last is not fitted and not self.is_wanted(self.last):
            self.last.let_go()
        self.last = fitted
        return fitted

    def choose(self, model: Any) -> FittedModel:
        """Let a model be logged at the end; return its record. Raises UsageError if it is no Keras model."""
        if not hasattr(model, "get_weights") or not hasattr(model, "name"):
            raise UsageError(
                f"a {type(model).__name__} cannot be logged as a model", "give a Keras model to mlctl.keras"
            )
        self.chosen = self._get(model, has_validation=True)
        return self.chosen

    def is_wanted(self, fitted: FittedModel) -> bool:
        """Return whether a model is named to be logged, and is kept for that."""
        return fitted is self.chosen or (
            self._request.model is not None and _is_named(fitted, self._request.model)
        )

    def named(self, name: str) -> FittedModel | None:
        """Return the last model of this name; else the one that has a model of this name as a part."""
        by_name = [fitted for fitted in self.all if fitted.name == name and fitted.model is not None]
        candidates = by_name or [
            fitted for fitted in self.all if fitted.model is not None and name in parts(fitted.model)
        ]
        return candidates[-1] if candidates else None

    @property
    def names(self) -> list[str]:
        """The names that `--model` takes."""
        found: dict[str, None] = {}
        for fitted in self.all:
            if (model := fitted.model) is not None:
                found[fitted.name] = None
                found.update(dict.fromkeys(parts(model)))
        return list(found)

    def _get(self, model: Any, has_validation: bool) -> FittedModel:
        fitted = self.find(model)
        if fitted is None:
            fitted = FittedModel(
                name=self._free_name(str(model.name)),
                number=len(self.all),
                progress=self._progress(has_validation),
                is_compiled=True,
                compile_params=self._compiled.get(model),
            )
            self.all.append(fitted)
        fitted.keep(model)
        return fitted

    def _free_name(self, name: str) -> str:
        taken = {fitted.name for fitted in self.all}
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        return free

    def _progress(self, has_validation: bool) -> Any:
        from mlctl.adapters.scripts.fit_progress import FitProgress

        text = self._request.objective
        default = Objective("val_loss" if has_validation else "loss", maximize=False)
        return FitProgress(
            parse_objective(text) if text else default,
            keep_last=self._request.keep != BEST or not (has_validation or text),
        )


def parts(model: Any) -> dict[str, Any]:
    """Return the models that are attributes of a model, as the generator of a GAN is, by attribute and by name."""
    try:
        attributes = dict(vars(model))
    except TypeError:
        return {}
    found = {}
    for attribute, value in attributes.items():
        if not attribute.startswith("_") and any(cls.__name__ == "Model" for cls in type(value).__mro__):
            found[attribute] = value
            found.setdefault(str(getattr(value, "name", attribute)), value)
    return found


def _is_named(fitted: FittedModel, name: str) -> bool:
    model = fitted.model
    return fitted.name == name or (model is not None and name in parts(model))
