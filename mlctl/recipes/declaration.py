"""Check a recipe class when it is read: names that cannot be used, and names that have no effect."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from mlctl.domain.conditions import find_cycle
from mlctl.errors import BadDataError
from mlctl.recipes.declare import COMMON, Hyperparameter, Values, conditions_of
from mlctl.recipes.recipe import Recipe

OWN_METHODS = ("declared", "values", "source_file")  # of Recipe; a recipe cannot replace them
OF_EVERY_RUN = {"seed": "--seed", "precision": "--precision"}  # parameters that mlctl records by itself
DECLARABLE = {*COMMON, "class_weight", "rate"}  # `hp.rate` becomes the declared value

# Names of Keras, KerasTuner and Lightning, and what a recipe has in their place; mlctl calls none of them.
INSTEAD = {
    "fit": "mlctl trains the model that build() returns; override train_step of a keras.Model, or use callbacks()",
    "compile": "build() returns a compiled model",
    "train": "mlctl trains the model that build() returns",
    "train_step": "override it in a keras.Model that build() returns",
    "test_step": "override it in a keras.Model that build() returns",
    "compute_loss": "override it in a keras.Model that build() returns",
    "training_step": "override train_step in a keras.Model that build() returns",
    "validation_step": "override test_step in a keras.Model that build() returns",
    "configure_optimizers": "compile the model in build()",
    "evaluate": "scores() adds scores of your own",
    "predict": "serving() returns the model that answers clients",
    "transform": "encoder() turns raw inputs into model input",
    "preprocess": "encoder() turns raw inputs into model input",
    "score": "scores(targets, predictions) adds scores of your own",
    "metric": "compile the model with metrics in build(), or write scores()",
    "metrics": "compile the model with metrics in build(), or write scores()",
    "loss": "compile the model with the loss in build()",
    "loss_weights": "compile the model with them in build()",
    "optimizer": "compile the model with the optimizer in build()",
    "lr": "learning_rate is its name",
    "sample_weight": "load() returns weights: Split(inputs, targets, weights)",
    "sample_weights": "load() returns weights: Split(inputs, targets, weights)",
    "weights": "load() returns weights: Split(inputs, targets, weights)",
    "class_weights": "class_weight is its name",
    "callback": "callbacks(hp, data) returns a list",
    "phase": "phases(hp, data) returns a list",
    "batch": "batch_size is its name",
    "steps_per_epoch": "mlctl takes it from the data and batch_size",
    "steps_per_execution": "compile the model with it in build()",
    "validation_split": "load() returns the validation split",
    "validation_data": "load() returns the validation split",
    "validation_freq": "mlctl validates after every epoch",
    "shuffle": "mlctl shuffles training rows, and leaves tf.data pipelines as they are",
    "initial_epoch": "mlctl resume continues a run",
    "verbose": "mlctl shows the progress",
    "patience": "mlctl train --patience stops early",
    "run_eagerly": "compile the model with it in build()",
    "jit_compile": "compile the model with it in build()",
    "max_trials": "mlctl tune --trials sets it",
    "tuner": "mlctl tune searches the hyperparameters",
    "hyperparameters": "declare each one in the class: units = hyperparameter(64, low=16, high=256)",
    "inputs": "load() returns a Dataset",
    "data": "load() returns a Dataset",
    "dataset": "load() returns a Dataset",
    "load_data": "load() returns a Dataset",
    "model": "build() returns the model",
    "build_model": "build() returns the model",
    "make_model": "build() returns the model",
    "create_model": "build() returns the model",
    "encode": "encoder() returns the encoder",
    "classes": "load() returns them: Dataset(…, classes=…)",
    "outputs": "load() returns them: Dataset(…, outputs=…)",
    "export": "serving() returns the model to log",
}
LIKE_A_KNOWN_NAME = 0.8  # similarity from which an unknown name is taken for a misspelling


def check_declaration(recipe: type[Recipe]) -> None:
    """Raise BadDataError if a hyperparameter cannot have its name, or compares what is not declared."""
    file = recipe.source_file()
    reserved = {name for name in (*dir(Values({})), *dir(Recipe)) if not name.startswith("__")} - DECLARABLE
    for owner in recipe.__mro__[: recipe.__mro__.index(Recipe)]:
        for name, value in vars(owner).items():
            if name in OWN_METHODS and not isinstance(value, Hyperparameter):
                raise BadDataError(
                    f"{file}: {owner.__name__} replaces {name}(), which mlctl calls", "give it another name"
                )
            if not isinstance(value, Hyperparameter):
                continue
            if name in reserved:
                raise BadDataError(
                    f"{file}: a hyperparameter cannot have the name {name!r}: hp.{name} or the recipe's {name} is mlctl's own",
                    f"choose another name, such as {name.strip('_')}_value",
                )
            if name in OF_EVERY_RUN:
                raise BadDataError(
                    f"{file}: a hyperparameter cannot have the name {name!r}: every run records mlctl's own {name}",
                    f"choose another name, or use {OF_EVERY_RUN[name]}",
                )
    for name in ("load", "build", "encoder", "callbacks", "scores", "phases", "serving"):
        if not callable(getattr(recipe, name)):
            raise BadDataError(
                f"{file}: {name} of {recipe.__name__} is no method", f"write def {name}(self, …)"
            )
    if callable(inspect.getattr_static(recipe, "class_weight")):
        raise BadDataError(
            f"{file}: class_weight is a method", 'assign it: class_weight = "balanced", or {0: 1.0, 1: 20.0}'
        )
    try:
        conditions = conditions_of(recipe.declared())
    except ValueError as exc:
        raise BadDataError(f"{file}: {exc}", "compare a hyperparameter that the recipe declares") from exc
    if cycle := find_cycle(conditions):
        raise BadDataError(
            f"{file}: when={recipe.declared()[cycle].when!r} of {cycle} leads back to {cycle}",
            "remove one of the conditions",
        )


def declaration_notes(recipe: type[Recipe]) -> list[str]:
    """Return a line for each name of a recipe's class that looks as if mlctl used it, and that it does not use."""
    if recipe.__module__.startswith("mlctl.recipes."):
        return []
    known = [name for name in dir(Recipe) if not name.startswith("_")]
    notes = []
    for name, value in _own_names(recipe).items():
        if name.startswith("_") or name in known or isinstance(value, Hyperparameter):
            continue
        is_called = name in _called_by_own_methods(recipe)
        kind = "method" if callable(value) or isinstance(value, (staticmethod, classmethod)) else "attribute"
        if is_called:
            continue
        near = difflib.get_close_matches(name, known, 1, LIKE_A_KNOWN_NAME)
        if name in INSTEAD or near:
            hint = INSTEAD.get(name) or f"did you mean {near[0]}?"
            notes.append(
                f"{recipe.__name__}.{name} has no effect: mlctl uses no {kind} of this name ({hint})"
            )
    return notes


def _own_names(recipe: type[Recipe]) -> Mapping[str, Any]:
    names: dict[str, Any] = {}
    for owner in reversed(recipe.__mro__[: recipe.__mro__.index(Recipe)]):
        if owner.__module__ != "builtins" and not owner.__module__.startswith("mlctl."):
            names.update(vars(owner))
    return names


def _called_by_own_methods(recipe: type[Recipe]) -> set[str]:
    """Return the names that code of the recipe's own methods uses, also within nested functions."""
    used: set[str] = set()
    for value in _own_names(recipe).values():
        function = getattr(value, "__func__", value)
        codes = [function.__code__] if hasattr(function, "__code__") else []
        for name in ("fget", "__wrapped__"):
            if hasattr(getattr(function, name, None), "__code__"):
                codes.append(getattr(function, name).__code__)
        while codes:
            code = codes.pop()
            if code.co_name != "<module>":
                used.update(_attribute_names(code))
            codes.extend(constant for constant in code.co_consts if inspect.iscode(constant))
    return used


def _attribute_names(code: Any) -> set[str]:
    """Return the attributes that a function takes of `self` or `cls`."""
    import dis

    names, previous = set(), None
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_ATTR", "LOAD_METHOD"} and previous in {"self", "cls"}:
            names.add(str(instruction.argval))
        previous = instruction.argval if instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) else None
    return names
