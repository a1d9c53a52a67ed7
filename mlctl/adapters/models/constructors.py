"""Rebuilds layers and models of the user's own classes from the arguments that their constructors were called with.

Keras rebuilds an object from its get_config(). Many classes have none, or one that their __init__ does not take. For
these, the configuration holds the arguments of the call, and a from_config() that repeats the call is added to the
class, with which it travels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import keras
from keras.src.models.functional import Functional
from keras.src.ops.operation import Operation

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_arguments: WeakKeyDictionary[Any, _Arguments] = WeakKeyDictionary()
_KERAS_FROM_CONFIG = (
    Operation.from_config.__func__,
    keras.layers.Layer.from_config.__func__,
    keras.Model.from_config.__func__,
    keras.Sequential.from_config.__func__,
    Functional.from_config.__func__,
)


def record_arguments() -> None:
    """Remember the arguments of each own layer and model that is made from now on."""
    for kind in (keras.layers.Layer, keras.Model, keras.Sequential, Functional):
        original = vars(kind)["__new__"].__func__
        if not hasattr(original, "is_recording"):
            kind.__new__ = _recording(original)


def _recording(original: Callable[..., Any]) -> Any:
    def make(cls: type, *args: Any, **options: Any) -> Any:
        made = original(cls, *args, **options)
        if not _is_of_keras(cls):
            _arguments[made] = (args, options)
        return made

    make.is_recording = True  # type: ignore[attr-defined]
    return staticmethod(make)


def repeat_constructors(layers: Iterable[Any]) -> bool:
    """Let Keras rebuild own layers by repeating the calls of their constructors; return whether there are any."""
    found = False
    for layer in layers:
        cls = type(layer)
        if layer in _arguments:
            if getattr(cls.from_config, "__func__", None) in _KERAS_FROM_CONFIG:
                cls.from_config = classmethod(_from_arguments)
                found = True
            found = found or _repeats(cls)
    return found


def keras_from_config(layers: Iterable[Any]) -> None:
    """Take back `repeat_constructors`."""
    for cls in {type(layer) for layer in layers}:
        if "from_config" in vars(cls) and _repeats(cls):
            del cls.from_config


@contextlib.contextmanager
def argument_configs(layers: Iterable[Any]) -> Iterator[None]:
    """Let get_config() of the classes of `repeat_constructors` return the arguments, within the block."""
    patched: dict[type, Any] = {}
    for layer in layers:
        cls = type(layer)
        if _repeats(cls) and cls not in patched:
            patched[cls] = vars(cls).get("get_config")
            cls.get_config = _config_of_arguments
    try:
        yield
    finally:
        for cls, original in patched.items():
            if original is None:
                del cls.get_config
            else:
                cls.get_config = original


def _repeats(cls: type) -> bool:
    return hasattr(getattr(cls, "from_config", None), "repeats_constructor")


def _config_of_arguments(layer: Any) -> dict[str, Any]:
    args, options = _arguments[layer]
    return {
        "name": layer.name,
        "trainable": layer.trainable,
        "arguments": keras.saving.serialize_keras_object({"args": list(args), "options": options}),
    }


def _from_arguments(cls: type, config: Mapping[str, Any], custom_objects: Any = None) -> Any:
    """Repeat the call of a constructor; it travels with the class, so it refers to Keras alone."""
    import keras

    values = keras.saving.deserialize_keras_object(config["arguments"], custom_objects=custom_objects)
    made = cls(*values["args"], **values["options"])
    made.name = config["name"]
    if not config["trainable"]:
        made.trainable = False
    return made


# unpickling the class in this process replaces the function by a copy, which has this attribute, too
_from_arguments.repeats_constructor = True  # type: ignore[attr-defined]


def _is_of_keras(cls: type) -> bool:
    return str(cls.__module__).partition(".")[0] in ("keras", "keras_hub", "keras_cv", "keras_nlp")
