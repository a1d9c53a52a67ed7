"""The user's code in a saved model: custom layers, losses, functions and encoders, pickled by value.

Keras saves the name of a custom object, not the object. code.pkl has the objects under these names, so that the model
loads in a process that has never seen the recipe. Modules beside the recipe travel as source text, for code that
imports them when it runs. scoring.py reads the file; see `TravellingCode` there.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import hashlib
import io
import json
import pickle
import sys
import sysconfig
import types
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import cloudpickle
import keras
from keras.src.models.functional import Functional
from keras.src.saving import object_registration
from keras.src.utils import python_utils

from mlctl.adapters.models import constructors
from mlctl.adapters.models.load import suppress_output
from mlctl.data.dataset import Dataset
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe, local_modules
from mlctl.serving import scoring

CODE_FILE = "code.pkl"  # scoring.py reads it
LARGE_BYTES = 10_000_000
GET_CONFIG_HINT = (
    "let each get_config() return every argument of __init__, and create weights in __init__ or build()"
)
_UNKNOWN_ARGUMENTS = "Unable to revive model from config"
_KERAS_PACKAGES = ("keras", "keras_hub", "keras_cv", "keras_nlp")  # Keras imports their classes by itself
_STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"]).resolve()

_KERAS_PARTS = (
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
)
_FUNCTIONS = (functools.partial, types.MethodType, types.BuiltinFunctionType)  # callables of builtin types

constructors.record_arguments()


@dataclass(frozen=True, kw_only=True)
class PackedCode:
    """The content of code.pkl, and what it needs.

    Attributes:
        content: Bytes of the file; empty if no code travels.
        requirements: Packages that the code imports, pinned to the installed versions.
        names: Names of the travelling objects.
        notes: Lines for the user.
    """

    content: bytes = b""
    requirements: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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


def pack(objects: Mapping[str, Any], encoder: Any = None) -> PackedCode:
    """Return custom objects and an encoder of the user's own as the content of code.pkl.

    Raises BadDataError that names the first object that cannot be pickled.
    """
    if not objects and encoder is None:
        return PackedCode()
    writer = _Writer()
    content = {
        "python": list(sys.version_info[:2]),
        "objects": writer.dump_each(objects) if objects else None,
        "encoder": None if encoder is None else writer.dump("the encoder", encoder),
        "sources": {root: _sources(root) for root in sorted(writer.roots)},
    }
    packed = pickle.dumps(content, protocol=4)
    notes = []
    if len(packed) > LARGE_BYTES:
        notes.append(
            f"the model's own code takes {len(packed) / 1e6:.0f} MB: a class or function refers to an array, such as"
            " the training data"
        )
    return PackedCode(
        content=packed,
        requirements=tuple(_requirements(writer.imported)),
        names=tuple(objects),
        notes=tuple(notes),
    )


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


def _load_uncompiled(path: Path) -> None:
    try:
        keras.saving.load_model(path)
    except Exception as exc:
        raise BadDataError(
            f"the saved model cannot be loaded: {_cause(exc)}",
            "let get_config() of each own layer return every argument of __init__",
        ) from exc


def is_own_encoder(encoder: Any) -> bool:
    """Whether an encoder is the user's own, so that its code must travel with the model."""
    return encoder is not None and type(encoder) not in scoring.ENCODERS.values()


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


def user_modules() -> list[str]:
    """Return the imported modules of the user's own: neither installed packages nor the standard library nor mlctl."""
    names = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith(local_modules.PREFIX) or (isinstance(file, str) and _is_user_file(Path(file))):
            names.append(name)
    return names


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


# -- pickling ---------------------------------------------------------------------------------------------


class _Writer:
    """Pickles objects, and collects what they import."""

    def __init__(self) -> None:
        self.imported: set[str] = set()  # modules, by their full names
        self.roots: set[str] = set()  # packages of recipe files

    def dump_each(self, objects: Mapping[str, Any]) -> bytes:
        try:
            return self.dump("", dict(objects))
        except BadDataError:
            for name, value in objects.items():  # find the one that fails
                self.dump(name, value)
            raise

    def dump(self, name: str, value: Any) -> bytes:
        """Return the pickled value; raises BadDataError that names it."""
        stream = io.BytesIO()
        try:
            with _pickled_by_value(), _scoring_by_name():
                _Pickler(stream, self).dump(value)
        except Exception as exc:
            raise BadDataError(
                f"{name} cannot travel with the model: {_one_line(exc)}",
                "let it refer only to values that can be pickled: numbers, texts, arrays and functions",
            ) from exc
        return stream.getvalue()


@contextmanager
def _scoring_by_name() -> Iterator[None]:
    """Let scoring.py be found by its name: a served model in this process runs its own copy under that name."""
    current = sys.modules.get(scoring.__name__)
    sys.modules[scoring.__name__] = scoring
    try:
        yield
    finally:
        sys.modules[scoring.__name__] = current or scoring


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """Pickles the user's classes and functions by value, and those of scoring.py by their names."""

    def __init__(self, stream: io.BytesIO, writer: _Writer) -> None:
        super().__init__(stream, protocol=4)
        self._writer = writer

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Dataset):  # a class in build() refers to the data for its shape, not for its rows
            empty = {
                **vars(obj),
                "train": None,
                "validation": None,
                "test": None,
                "as_raw": None,
                "extra": {},
            }
            return types.SimpleNamespace, (), empty
        if obj is Recipe:  # the base of a class whose method is an encoder
            return scoring.absent, ()
        if isinstance(obj, types.CodeType):
            return self._reduce_code(obj)
        if isinstance(obj, types.ModuleType):
            return self._reduce_module(obj)
        if isinstance(obj, (type, types.FunctionType)):
            if obj.__module__ == scoring.__name__:
                return NotImplemented
            self._note_module(obj.__module__ or "")
        return super().reducer_override(obj)

    def _function_getnewargs(self, func: Any) -> Any:
        arguments = super()._function_getnewargs(func)
        module_globals = arguments[1]
        if isinstance(module_globals.get("__file__"), str):
            module_globals["__file__"] = Path(module_globals["__file__"]).name
        module_globals.pop("__path__", None)
        return arguments

    def _reduce_code(self, code: types.CodeType) -> Any:
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                self._note_module(str(instruction.argval))
        function, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
        name = Path(code.co_filename).name  # cloudpickle drops it, and with it the line in a traceback
        return function, tuple(name if value == "<dynamic-code>" else value for value in arguments)

    def _reduce_module(self, module: types.ModuleType) -> Any:
        self._note_module(module.__name__)
        if module is scoring:
            return scoring.this_module, ()
        if module.__name__.startswith(local_modules.PREFIX):
            return cloudpickle.cloudpickle.subimport, (module.__name__,)
        return cloudpickle.Pickler.dispatch_table[types.ModuleType](module)

    def _note_module(self, name: str) -> None:
        self._writer.imported.add(name)
        root = name.partition(".")[0]
        if root.startswith(local_modules.PREFIX):
            self._writer.roots.add(root)


@contextlib.contextmanager
def _pickled_by_value() -> Iterator[None]:
    """Let cloudpickle pickle the user's own modules and mlctl by value."""
    known = cloudpickle.list_registry_pickle_by_value()
    modules = {sys.modules[name].__name__: sys.modules[name] for name in [*user_modules(), "mlctl"]}
    # a module may be in sys.modules under another name, where cloudpickle does not find it
    registered = [
        module for name, module in modules.items() if name not in known and sys.modules.get(name) is module
    ]
    for module in registered:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _is_user_file(path: Path) -> bool:
    if not path.is_absolute():
        return False
    resolved = path.resolve()
    if local_modules.is_installed(resolved) or local_modules.is_builtin(resolved):
        return False
    return not resolved.is_relative_to(_STANDARD_LIBRARY)


def _sources(root: str) -> dict[str, str]:
    """Return the text of a recipe's file and of the modules beside it that it imports, by their paths in its folder."""
    folder = Path(sys.modules[root].__path__[0])
    sources = {}
    for file in local_modules.static_sources_of(root):
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:  # nobody imported it so far
            continue
        tree = local_modules.rewrite_imports(tree, root, lambda name: local_modules.is_local(name, folder))
        tree = ast.fix_missing_locations(_WithoutMlctl().visit(tree))
        sources[file.relative_to(folder).as_posix()] = ast.unparse(tree)
    return sources


class _WithoutMlctl(ast.NodeTransformer):
    """Lets a module be imported where mlctl is absent: what it imports from mlctl is a placeholder there."""

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        if not any(alias.name.partition(".")[0] == "mlctl" for alias in node.names):
            return node
        return self._guarded(node, [alias.asname or alias.name.partition(".")[0] for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if node.level or (node.module or "").partition(".")[0] != "mlctl":
            return node
        return self._guarded(node, [alias.asname or alias.name for alias in node.names])

    @staticmethod
    def _guarded(node: ast.stmt, names: list[str]) -> ast.stmt:
        absent = ast.Name(scoring.ABSENT, ast.Load())
        placeholders: list[ast.stmt] = [ast.Assign([ast.Name(name, ast.Store())], absent) for name in names]
        handler = ast.ExceptHandler(ast.Name("ModuleNotFoundError", ast.Load()), None, placeholders)
        return ast.Try([node], [handler], [], [])


def _requirements(modules: set[str]) -> Iterator[str]:
    """Yield the installed packages that have these modules, pinned to their versions."""
    installed = packages_distributions()
    yield f"cloudpickle=={version('cloudpickle')}"
    packages = {package for module in modules for package in installed.get(module.partition(".")[0], ())}
    for package in sorted(packages - {"cloudpickle", "mlctl-keras", "mlctl"}):
        yield f"{package}=={version(package)}"


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
            cause = "it has no get_config() for the arguments of __init__" if is_missing else _one_line(exc)
            return BadDataError(
                f"{_location(type(layer))}the model cannot be saved: {_named(layer)}: {cause}",
                f"write {kind}.get_config(): it returns every argument of __init__ as a plain value",
            )
    return BadDataError(
        f"the model cannot be saved: {_one_line(error)}",
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
        if file.is_file() and _is_user_file(file.absolute())
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
        else text[:300]
    )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
