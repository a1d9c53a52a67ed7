"""The user's code in a saved model: custom layers, losses, functions and encoders, pickled by value.

Keras saves the name of a custom object, not the object. `code_pickling` packs them. What Keras cannot save
or rebuild is refused before training.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import types
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
from keras.src.models.functional import Functional
from keras.src.saving import object_registration
from keras.src.utils import python_utils

from mlctl.adapters.models import constructors
from mlctl.adapters.models.code_pickling import PackedCode, is_user_file, pack
from mlctl.adapters.models.silence import suppress_output
from mlctl.domain.short_texts import describe_error, shorten
from mlctl.errors import BadDataError
from mlctl.serving import scoring

GET_CONFIG_HINT = (
    "let each get_config() return every argument of __init__, and create weights in __init__ or build()"
)
_UNKNOWN_ARGUMENTS = "Unable to revive model from config"
_KERAS_PACKAGES = ("keras", "keras_hub", "keras_cv", "keras_nlp")  # Keras imports their classes by itself

_KERAS_PARTS = (
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
)
_FUNCTIONS = (functools.partial, types.MethodType, types.BuiltinFunctionType)  # callables of builtin types

constructors.record_arguments()


def save_keras(model: keras.Model, path: Path) -> dict[str, Any]:
    """Write a Keras model to a .keras file; return the custom objects that it refers to, by the names in the file.

    Losses and metrics that Keras cannot save are left out of the file: it is loaded uncompiled then.
    """
    layers = list(_all_layers(model))
    with suppress_output(), _recorded_names() as recorded, constructors.argument_configs(layers):
        try:
            model.save(path, include_optimizer=False)
        except (TypeError, ValueError, NotImplementedError):
            with _without_compile_config(model):
                model.save(path, include_optimizer=False)
    if recorded.name_lambdas():
        return save_keras(model, path)
    return recorded.objects


def custom_objects(model: keras.Model) -> dict[str, Any]:
    """Return the custom objects that a model's configuration refers to, by the names that Keras looks up."""
    return _serialize(model)[1]


def check_loads(path: Path, packed: PackedCode) -> None:
    """Check that a .keras file loads with the packed code.

    If only its optimizer, loss or metrics fail, they are removed from the file. Raises BadDataError if the model does
    not load.
    """
    objects = scoring.TravellingCode(packed.content).objects()
    if not objects:
        return
    with suppress_output(), scoring.keras_scope(objects):
        try:
            keras.saving.load_model(path)
        except Exception:  # it may be the compiled loss; if it is a layer, the second attempt says so
            drop_compile_config(path)
            _load_uncompiled(path)


def load_keras(path: Path, packed: bytes) -> keras.Model:
    """Load a .keras file with the content of its code.pkl (b"": none).

    Loss and metrics are removed from the file if they do not load, as those of another backend may not.
    """
    objects = scoring.TravellingCode(packed).objects() if packed else {}
    with suppress_output(), scoring.keras_scope(objects):
        try:
            return keras.saving.load_model(path)
        except Exception:
            drop_compile_config(path)
            return keras.saving.load_model(path)


def _load_uncompiled(path: Path) -> None:
    try:
        keras.saving.load_model(path)
    except Exception as exc:
        raise BadDataError(
            f"the saved model cannot be loaded: {_cause(exc)}",
            "let get_config() of each own layer return every argument of __init__",
        ) from exc


def drop_compile_config(path: Path) -> None:
    """Remove optimizer, loss and metrics from a .keras file."""
    with zipfile.ZipFile(path) as archive:
        files = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in files.items():
            if entry.filename == "config.json":
                config = json.loads(content)
                config.pop("compile_config", None)
                content = json.dumps(config).encode()
            archive.writestr(entry, content)


def check_savable(model: keras.Model, inputs: Any = None) -> None:
    """Raise BadDataError if a compiled model with the user's own code cannot be saved and rebuilt.

    `inputs` are some rows as the model takes them: the rebuilt model must answer as this one does. Models without own
    code are not checked, because Keras saves its own layers.
    """
    _rebuildable(model, inputs)


def savable_model(model: keras.Model, inputs: Any = None) -> tuple[keras.Model, str]:
    """Return the model to save, and a note if it is another object than the trained one.

    Keras cannot rebuild most functional models of a class with a constructor of its own. The plain model over the same
    layers answers equally, and loads anywhere; the class's own training step stays behind.
    """
    if all(_is_of_keras(type(layer)) for layer in _all_layers(model)):
        return model, ""
    saved = _rebuildable(model, inputs)
    if saved is model:
        return model, ""
    name, kind = type(model).__name__, "Sequential" if _is_sequential(model) else "functional"
    return saved, (
        f"the Keras flavor is a plain {kind} model, because Keras cannot rebuild {name} from its configuration"
    )


def _rebuildable(model: keras.Model, inputs: Any) -> keras.Model:
    """Return the model, or else a plain one over its layers, that Keras rebuilds; raises BadDataError."""
    try:
        _check_rebuilds(model, inputs)
    except BadDataError as exc:
        error = exc
    else:
        return model
    plain = model
    if _is_plain_graph(model):
        plain = _plain_model(model)
        with contextlib.suppress(BadDataError):
            _check_rebuilds(plain, inputs)
            return plain
    if constructors.repeat_constructors(_all_layers(plain)):
        with contextlib.suppress(BadDataError):
            _check_rebuilds(plain, inputs)
            return plain
        constructors.keras_from_config(_all_layers(plain))
    raise error


def _is_sequential(model: Any) -> bool:
    return isinstance(model, keras.Sequential)


def _is_plain_graph(model: keras.Model) -> bool:
    """Return whether a model is of the user's own class, but answers by its graph of layers alone."""
    base = keras.Sequential if _is_sequential(model) else Functional
    return (
        isinstance(model, base)
        and not _is_of_keras(type(model))
        and type(model).call is base.call
        and type(model).__call__ is base.__call__
    )


def _plain_model(model: keras.Model) -> keras.Model:
    """Return a model of Keras's own class over the same layers, with the same inputs and outputs."""
    if _is_sequential(model):
        return keras.Sequential(model._layers, name=model.name)  # `layers` leaves out the input
    return keras.Model(model._inputs_struct, model._outputs_struct, name=model.name)


def _check_rebuilds(model: keras.Model, inputs: Any = None) -> None:
    try:
        config, objects = _serialize(model)
    except Exception as exc:
        raise _cannot_serialize(model, exc) from exc
    if not objects:
        return
    packed = pack(objects)
    loaded = scoring.TravellingCode(packed.content).objects()
    try:
        with suppress_output(), scoring.keras_scope(loaded):
            rebuilt = keras.saving.deserialize_keras_object(_without_compile(config))
    except Exception as exc:
        raise _cannot_rebuild(model, loaded, exc) from exc
    if inputs is not None and model.built:
        _compare(model, rebuilt, loaded, inputs)


# -- names ------------------------------------------------------------------------------------------------


@dataclass
class _RecordedNames:
    """The custom objects that Keras asked the names of while it serialized a model."""

    objects: dict[str, Any] = field(default_factory=dict)
    lambdas: list[Any] = field(default_factory=list)

    def name(self, obj: Any, name: str | None) -> str | None:
        """Record an object under a name; return that name, or another one if it would mean two things."""
        if name is None or _is_of_keras(obj):
            return name
        if ">" not in name and (_is_name_of_keras(name) or self.objects.get(name, obj) is not obj):
            name = f"{obj.__module__.rpartition('.')[2]}>{name}"
        unique, number = name, 2
        while self.objects.get(unique, obj) is not obj:
            unique, number = f"{name}_{number}", number + 1
        self.objects[unique] = obj
        return unique

    def name_lambdas(self) -> bool:
        """Give each lambda a name, as Keras loads only functions that have one; return whether there were any."""
        for number, function in enumerate(self.lambdas):
            digest = hashlib.sha256(function.__code__.co_code + repr(function.__code__.co_consts).encode())
            function.__name__ = f"lambda_{number}_{digest.hexdigest()[:8]}"
        return bool(self.lambdas)


@contextlib.contextmanager
def _recorded_names() -> Iterator[_RecordedNames]:
    """Record the custom objects that Keras serializes within the block."""
    recorded = _RecordedNames()
    original_name, original_dump = object_registration.get_registered_name, python_utils.func_dump

    def record_lambda(function: Any) -> tuple[str, None, None]:
        if all(function is not other for other in recorded.lambdas):
            recorded.lambdas.append(function)
        return "", None, None

    object_registration.get_registered_name = lambda obj: recorded.name(obj, original_name(obj))
    python_utils.func_dump = record_lambda
    try:
        yield recorded
    finally:
        object_registration.get_registered_name = original_name
        python_utils.func_dump = original_dump


def _serialize(model: keras.Model) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a model's configuration, and its custom objects by name."""
    layers = list(_all_layers(model))
    with suppress_output(), _recorded_names() as recorded, constructors.argument_configs(layers):
        try:
            config = keras.saving.serialize_keras_object(model)
        except (TypeError, ValueError, NotImplementedError):
            with _without_compile_config(model):
                config = keras.saving.serialize_keras_object(model)
    return _serialize(model) if recorded.name_lambdas() else (config, recorded.objects)


@contextlib.contextmanager
def _without_compile_config(model: keras.Model) -> Iterator[None]:
    original, type(model).get_compile_config = type(model).get_compile_config, lambda self: None
    try:
        yield
    finally:
        type(model).get_compile_config = original


def _without_compile(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "compile_config"}


def _is_of_keras(obj: Any) -> bool:
    package = str(getattr(obj, "__module__", "") or "").partition(".")[0]
    return package in _KERAS_PACKAGES or package == "builtins"


def _is_name_of_keras(name: str) -> bool:
    """Whether Keras has a function or class of this name, which an own one must not replace for every other model."""
    modules = ("activations", "losses", "metrics", "initializers", "regularizers", "constraints", "layers")
    return any(hasattr(getattr(keras, module), name) for module in (*modules, "optimizers"))


# -- the check before training ----------------------------------------------------------------------------


def _cannot_serialize(model: keras.Model, error: Exception) -> BadDataError:
    """Return the error that names the first layer which has no configuration."""
    for layer in _all_layers(model):
        try:
            with suppress_output(), _recorded_names(), _without_compile_config(model):
                keras.saving.serialize_keras_object(layer)
        except Exception as exc:
            if part := _broken_part(layer, {}):
                return part
            kind = type(layer).__name__
            is_missing = isinstance(exc, NotImplementedError)
            cause = (
                "it has no get_config() for the arguments of __init__" if is_missing else describe_error(exc)
            )
            return BadDataError(
                f"{_location(type(layer))}the model cannot be saved: {_named(layer)}: {cause}",
                f"write {kind}.get_config(): it returns every argument of __init__ as a plain value",
            )
    return BadDataError(
        f"the model cannot be saved: {describe_error(error)}",
        "write get_config() for it: it returns every argument of __init__ as a plain value",
    )


def _cannot_rebuild(model: keras.Model, objects: Mapping[str, Any], error: Exception) -> BadDataError:
    """Return the error that names the first layer which its own configuration cannot rebuild."""
    for layer in _all_layers(model):
        try:
            rebuilt = _rebuild(layer, objects)
        except Exception as exc:
            return _broken_part(layer, objects) or BadDataError(
                f"{_location(type(layer))}{_named(layer)} cannot be rebuilt from its get_config(): {_cause(exc)}",
                _how_to_rebuild(layer),
            )
        if attribute := _changed_attribute(layer, rebuilt):
            return BadDataError(
                f"{_location(type(layer))}{_named(layer)} has another {attribute} when it is rebuilt from its"
                " get_config()",
                _how_to_rebuild(layer, attribute),
            )
    return BadDataError(
        f"the model cannot be rebuilt from its configuration: {_cause(error)}", GET_CONFIG_HINT
    )


def _broken_part(layer: Any, objects: Mapping[str, Any]) -> BadDataError | None:
    """Return the error that names an own activation, initializer or the like of a layer which Keras cannot rebuild."""
    if not _is_of_keras(type(layer)):
        return None
    for name, value in vars(layer).items():
        if not callable(value) or isinstance(value, (keras.layers.Layer, type)):
            continue
        if _is_of_keras(type(value)) and not isinstance(value, _FUNCTIONS):
            continue
        try:
            with suppress_output(), scoring.keras_scope(objects), _recorded_names():
                keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(value))
        except Exception as exc:
            kind, part = type(value).__name__, name.lstrip("_")
            if isinstance(value, types.FunctionType):
                continue  # it travels by its name
            where = f"{part} of {_named(layer)}"
            if not isinstance(value, _KERAS_PARTS):
                return BadDataError(
                    f"{_location(type(value))}{where} cannot be saved: Keras saves functions, and this is a {kind}",
                    f"write a function with def, and pass it as {part}",
                )
            is_missing = isinstance(exc, NotImplementedError)
            return BadDataError(
                f"{_location(type(value))}{where} cannot be saved:"
                f" {kind} {'has no get_config()' if is_missing else 'is not rebuilt from its get_config()'}",
                f"write {kind}.get_config(): it returns every argument of __init__ as a plain value",
            )
    return None


def _location(cls: type) -> str:
    """Return "FILE, line N: " of the first method of an own class; "" if nobody knows."""
    if _is_of_keras(cls):
        return ""
    methods = [getattr(value, "__func__", value) for value in vars(cls).values()]  # or those of class methods
    codes = [method.__code__ for method in methods if isinstance(method, types.FunctionType)]
    files = [Path(code.co_filename) for code in codes]  # relative if the recipe was given so
    codes = [
        code
        for code, file in zip(codes, files, strict=True)
        if file.is_file() and is_user_file(file.absolute())
    ]
    if not codes:
        return ""
    first = min(codes, key=lambda code: code.co_firstlineno)
    return f"{first.co_filename}, line {first.co_firstlineno}: "


def _all_layers(model: Any) -> Iterator[Any]:
    """Yield the layers that a model or layer is made of, the innermost first, and itself."""
    layers = list(model._flatten_layers(include_self=False))
    yield from reversed(layers)
    yield model


def _named(layer: Any) -> str:
    kind = "model" if isinstance(layer, keras.Model) else "layer"
    return f"the {kind} {layer.name} ({type(layer).__name__})"


def _rebuild(layer: Any, objects: Mapping[str, Any]) -> Any:
    layers = list(_all_layers(layer))
    with suppress_output(), scoring.keras_scope(objects), _recorded_names():
        with constructors.argument_configs(layers):
            config = keras.saving.serialize_keras_object(layer)
        return keras.saving.deserialize_keras_object(_without_compile(config))


def _how_to_rebuild(layer: Any, attribute: str = "") -> str:
    """Return what to do if Keras rebuilds no layer, or one with another attribute, from a configuration."""
    kind = type(layer).__name__
    if attribute and callable(getattr(layer, attribute)):  # Keras hands its configuration to __init__
        return f"let {kind}.from_config() make {attribute} with keras.saving.deserialize_keras_object"
    if isinstance(layer, Functional):
        return f"let {kind}.__init__ take inputs, outputs and name, as keras.Model does, or build a plain keras.Model"
    if _is_sequential(layer):
        return f"write a function that returns a keras.Sequential, instead of the class {kind}"
    return f"let {kind}.get_config() return every argument of __init__"


def _changed_attribute(layer: Any, rebuilt: Any) -> str:
    """Return the first attribute of an own layer that is not what it was; "" if there is none."""
    if _is_of_keras(type(layer)):
        return ""
    of_keras = {*vars(keras.Model()), *vars(keras.layers.Layer())}
    for name, value in vars(layer).items():
        if name.startswith("_") or name in of_keras or not hasattr(rebuilt, name):
            continue
        other = getattr(rebuilt, name)
        is_plain = isinstance(value, (str, int, float, bool))
        if (is_plain and value != other) or (callable(value) and not callable(other)):
            return str(name)
    return ""


def _compare(model: keras.Model, rebuilt: keras.Model, objects: Mapping[str, Any], inputs: Any) -> None:
    import numpy as np

    def answers(answering: keras.Model) -> list[Any]:
        return [
            np.asarray(keras.ops.convert_to_numpy(part))
            for part in keras.tree.flatten(answering(inputs, training=False))
        ]

    with keras.StatelessScope():  # the check draws none of the random numbers of the training
        expected, again = answers(model), answers(model)
    if any(not np.array_equal(*pair, equal_nan=True) for pair in zip(expected, again, strict=True)):
        return  # it draws random numbers when it answers
    try:
        with keras.StatelessScope():
            answers(rebuilt)
        rebuilt.set_weights(model.get_weights())
        with keras.StatelessScope():
            found = answers(rebuilt)
    except Exception as exc:
        raise _answers_differently(model, objects, f"cannot answer: {_cause(exc)}") from exc
    for answer, wanted in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(wanted).max(initial=0))) if wanted.dtype.kind == "f" else 1.0
        if wanted.dtype.kind == "f" and float(np.abs(answer - wanted).max(initial=0)) > 1e-4 * scale:
            raise _answers_differently(model, objects, "answers differently")


def _answers_differently(model: keras.Model, objects: Mapping[str, Any], what: str) -> BadDataError:
    """Return the error that names the layer which its configuration changes, or else all own ones."""
    for layer in _all_layers(model):
        if attribute := _changed_attribute(layer, _rebuild(layer, objects)):
            return BadDataError(
                f"{_location(type(layer))}the model that is rebuilt from its configuration {what}:"
                f" {_named(layer)} has another {attribute}",
                _how_to_rebuild(layer, attribute),
            )
    own = sorted({type(layer).__name__ for layer in _all_layers(model) if not _is_of_keras(type(layer))})
    return BadDataError(
        f"the model that is rebuilt from its configuration {what} (own classes: {', '.join(own)})",
        GET_CONFIG_HINT,
    )


def _cause(error: BaseException) -> str:
    """Return the last line of what Keras says about an error in a configuration."""
    text = str(error).rpartition("Exception encountered:")[2].strip() or type(error).__name__
    text = " ".join(text.split())
    # the rest of this text is about get_config(), which the hint explains
    return (
        "Keras does not know the arguments of its __init__"
        if text.startswith(_UNKNOWN_ARGUMENTS)
        else shorten(text, 300)
    )
