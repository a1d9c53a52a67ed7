"""What a run records of `compile` and `fit`: the optimizer with its settings, the loss, and how long and on what batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIT_PARAMS = ("batch_size", "epochs", "steps_per_epoch", "validation_split", "validation_steps", "shuffle")
DEFAULT_BATCH_SIZE = 32  # of Keras, for arrays
# what Keras writes into each optimizer's configuration, and what says nothing unless it is set
SILENT_SETTINGS = {"name", "gradient_accumulation_steps", "loss_scale_factor", "jit_compile"}


def params_of_fit(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a model that is about to be trained, by name."""
    params: dict[str, Any] = {}
    for name in FIT_PARAMS:
        if (value := arguments.get(name)) is not None:
            params[name] = value
    if "batch_size" not in params and hasattr(arguments.get("x"), "shape"):
        params["batch_size"] = DEFAULT_BATCH_SIZE
    params.update(_optimizer_params(getattr(model, "optimizer", None)))
    if (loss := getattr(model, "loss", None)) is not None:
        params["loss"] = _name(loss)
    if callbacks := arguments.get("callbacks"):
        listed = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
        params["callbacks"] = ", ".join(type(callback).__name__ for callback in listed)
    return params


def _optimizer_params(optimizer: Any) -> dict[str, Any]:
    if optimizer is None:
        return {}
    params: dict[str, Any] = {"optimizer": type(optimizer).__name__}
    try:
        config = dict(optimizer.get_config())
    except Exception:  # an optimizer of the user's own may have none
        return params
    for name, value in config.items():
        if name in SILENT_SETTINGS or value is None or value is False:
            continue
        if isinstance(value, Mapping):  # such as a schedule of the learning rate
            params[name] = _name(value)
            continue
        params[name if name == "learning_rate" else f"optimizer_{name}"] = value
    return params


def _name(value: Any) -> str:
    """Return the name of a loss or schedule; of several losses, all of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if "class_name" in value:
            return str(value["class_name"])
        return ", ".join(f"{name}: {_name(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_name, value))
    return str(getattr(value, "name", None) or getattr(value, "__name__", type(value).__name__))
