"""What a run records of `compile` and `fit`: the optimizer with its settings, the loss, and how long and on what batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from mlctl.adapters.scripts.epoch_callback import named_optimizers
from mlctl.adapters.scripts.plain_values import name_of, plain
from mlctl.domain.short_texts import shorten

FIT_PARAMS = (
    "batch_size",
    "epochs",
    "initial_epoch",
    "steps_per_epoch",
    "validation_split",
    "validation_steps",
    "validation_batch_size",
    "validation_freq",
    "shuffle",
)
DEFAULT_BATCH_SIZE = 32  # of Keras, for arrays
# what Keras writes into each optimizer's configuration, and what says nothing unless it is set
SILENT_SETTINGS = {"name", "gradient_accumulation_steps", "loss_scale_factor", "jit_compile"}
MAX_TEXT = 500  # characters, as some stores take no more


def params_of_fit(model: Any, arguments: Mapping[str, Any], *, has_arrays: bool = True) -> dict[str, Any]:
    """Return the parameters of a call of `fit`, by name."""
    params: dict[str, Any] = {}
    for name in FIT_PARAMS:
        value = arguments.get(name)
        if value is not None and (value or name not in {"initial_epoch", "validation_split"}):
            params[name] = plain(value)
    params.setdefault("epochs", 1)
    if has_arrays:
        params.setdefault("batch_size", DEFAULT_BATCH_SIZE)
    if (weights := arguments.get("class_weight")) is not None:
        params["class_weight"] = plain(weights)
    if arguments.get("sample_weight") is not None:
        params["sample_weight"] = True
    if callbacks := script_callbacks(arguments.get("callbacks")):
        params["callbacks"] = ", ".join(map(_describe_callback, callbacks))
    return {name: _text(value) for name, value in params.items()}


def params_of_compile(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is passed to `compile`, in words."""
    params: dict[str, Any] = {"optimizer": "given"} if "optimizer" in arguments else {}
    for name, value in arguments.items():
        if name in {"metrics", "weighted_metrics"} and value:
            params[name] = name_of(value)
        elif name == "loss_weights" and value is not None:
            params[name] = plain(value)
        elif name in {"run_eagerly", "jit_compile"} and value is True:
            params[name] = value
        elif name == "steps_per_execution" and value not in (None, 1):
            params[name] = plain(value)
    return {name: _text(value) for name, value in params.items()}


def params_of_model(model: Any, compiled: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parameters of a compiled model, by name; `compiled` is what `params_of_compile` has returned."""
    params = _optimizers_params(model, compiled)
    if (loss := getattr(model, "loss", None)) is not None:
        params["loss"] = name_of(loss)
    params |= {name: value for name, value in (compiled or {}).items() if name != "optimizer"}
    return {name: _text(value) for name, value in params.items()}


def script_callbacks(callbacks: Any) -> list[Any]:
    """Return the callbacks of `fit` as a flat list; those of mlctl are left out."""
    if callbacks is None:
        return []
    listed = callbacks.callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks
    flat = keras.tree.flatten(list(listed) if isinstance(listed, (list, tuple)) else [listed])
    hidden = (keras.callbacks.History, keras.callbacks.ProgbarLogger)
    return [
        callback
        for callback in flat
        if not isinstance(callback, hidden) and not type(callback).__module__.startswith("mlctl.")
    ]


def _describe_callback(callback: Any) -> str:
    """Return a callback's class, of Keras's own ones with the settings that decide the training."""
    shown = {
        "EarlyStopping": ("monitor", "patience", "min_delta", "restore_best_weights"),
        "ReduceLROnPlateau": ("monitor", "factor", "patience", "min_lr"),
    }
    name = type(callback).__name__
    settings = [
        f"{setting}={plain(abs(value) if setting == 'min_delta' else value)}"
        for setting in shown.get(name, ())
        if type(callback).__module__.startswith("keras.") and (value := getattr(callback, setting, None))
    ]
    return f"{name}({', '.join(settings)})" if settings else name


def _optimizers_params(model: Any, compiled: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings of the optimizer; those of further ones, as of a GAN, under their attributes' names."""
    found = named_optimizers(model)
    if len(found) > 1 and compiled is not None and "optimizer" not in compiled:
        found.pop(
            "optimizer", None
        )  # Keras's default, which a model with a train_step of its own does not use
    params: dict[str, Any] = {}
    for name, optimizer in found.items():
        params |= _optimizer_params(name, optimizer)
    return params


def _optimizer_params(prefix: str, optimizer: Any) -> dict[str, Any]:
    params: dict[str, Any] = {prefix: type(optimizer).__name__}
    try:
        config = dict(optimizer.get_config())
    except Exception:  # an optimizer of the user's own may have none
        return params
    if not config.get("use_ema"):
        config = {name: value for name, value in config.items() if not name.startswith("ema_")}
    for name, value in config.items():
        if name in SILENT_SETTINGS or value is None or value is False:
            continue
        is_plain = name == "learning_rate" and prefix == "optimizer"
        params[name if is_plain else f"{prefix}_{name}"] = plain(value)
    return params


def _text(value: Any) -> Any:
    return shorten(value, MAX_TEXT) if isinstance(value, str) else value
