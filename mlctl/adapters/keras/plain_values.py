"""Plain Python values as JSON and arrays, so that a callback's attributes can be part of a checkpoint.

Plain are numbers, strings, None, lists, tuples, sets, dicts, deques, NumPy arrays, tensors, random generators, and
objects of a user's class whose attributes are plain. Functions, classes, models, data and the like do not change in
a training: they are left as they are.
"""

from __future__ import annotations

import base64
import random
import sys
import types
import zlib
from collections import deque
from typing import Any

import numpy as np
import tensorflow as tf

CONSTANT_PACKAGES = frozenset(
    [
        "keras",
        "tensorflow",
        "pandas",
        "scipy",
        "mlctl",
        "pathlib",
        "re",
        "logging",
        "_thread",
        "threading",
        "enum",
        "datetime",
        "functools",
    ]
)
LARGE_ARRAY = 1 << 16  # bytes; larger arrays are saved only if they change

Array = np.ndarray[Any, Any]


class NotPlainError(Exception):
    """A value that cannot be saved."""


class Constant:
    """What stands for a value that does not change in a training."""


CONSTANT = Constant()


def pack(value: Any, arrays: dict[str, Array], path: str, known: dict[str, int]) -> Any:
    """Return a value as JSON, and add its arrays to `arrays` under names that begin with `path`.

    `known` has the checksums of large arrays at the start of the training; an array with the same checksum is not
    saved again. Returns CONSTANT for what does not change; raises NotPlainError.
    """
    return _Packer(arrays, known).pack(value, path)


def checksums(value: Any, path: str) -> dict[str, int]:
    """Return the checksum of each large array in a value, for `pack`."""
    arrays: dict[str, Array] = {}
    try:
        pack(value, arrays, path, {})
    except NotPlainError:
        return {}
    return {name: _checksum(array) for name, array in arrays.items() if array.nbytes > LARGE_ARRAY}


def unpack(entry: Any, arrays: dict[str, Array], current: Any) -> Any:
    """Return the value that `pack` turned into `entry`; lists, dicts and objects are changed in place if possible."""
    if not isinstance(entry, dict):
        return entry
    [(kind, content)] = entry.items()
    if kind == "unchanged":
        return current
    if kind in UNPACK_ARRAY:
        return UNPACK_ARRAY[kind](arrays[content])
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "function":
        return _find(content) or current
    if kind in GENERATORS:
        return _set_generator(kind, unpack(content, arrays, None), current)
    if kind == "object":
        return _unpack_object(content, arrays, current)
    return _unpack_container(kind, content, arrays, current)


def _unpack_object(content: Any, arrays: dict[str, Array], current: Any) -> Any:
    """Set the attributes of an object, or of a new one if there is none."""
    if type(current).__qualname__ != content["class"].partition(":")[2]:
        class_ = _find(content["class"])
        if class_ is None:
            return current
        current = class_.__new__(class_)
    for name, item in content["attributes"].items():
        value = unpack(item, arrays, getattr(current, name, None))
        object.__setattr__(current, name, value)  # a frozen dataclass, too
    return current


def _unpack_container(kind: str, content: Any, arrays: dict[str, Array], current: Any) -> Any:
    if kind == "dict":
        known = current if isinstance(current, dict) else {}
        pairs = [(unpack(key, arrays, None), value) for key, value in content]
        items = {key: unpack(value, arrays, known.get(key)) for key, value in pairs}
        if isinstance(current, dict):
            current.clear()
            current.update(items)
            return current
        return items
    before = list(current) if isinstance(current, list | tuple | deque) else []
    before += [None] * (len(content) - len(before))
    values = [unpack(value, arrays, old) for value, old in zip(content, before, strict=False)]
    if kind == "list" and isinstance(current, list):
        current[:] = values
        return current
    if kind == "deque" and isinstance(current, deque):
        current.clear()
        current.extend(values)
        return current
    if kind == "tuple" and hasattr(current, "_make"):
        return type(current)._make(values)
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}[kind](values)


class _Packer:
    def __init__(self, arrays: dict[str, Array], known: dict[str, int]) -> None:
        self._arrays, self._known = arrays, known
        self._open: set[int] = set()  # objects that are being packed: a reference back to one is left out

    def pack(self, value: Any, path: str) -> Any:
        if value is None or type(value) in {bool, int, float, str}:
            return value
        if isinstance(value, np.ndarray | np.generic) or (
            tf.is_tensor(value) and hasattr(value, "numpy") and not isinstance(value, tf.Variable)
        ):
            return self._pack_array(value, path)
        if isinstance(value, bytes):
            return {"bytes": base64.b64encode(value).decode()}
        if id(value) in self._open:
            return CONSTANT
        self._open.add(id(value))
        try:
            return self._pack_object(value, path)
        finally:
            self._open.discard(id(value))

    def _pack_object(self, value: Any, path: str) -> Any:
        for name, type_ in (
            ("list", list),
            ("tuple", tuple),
            ("set", set),
            ("frozenset", frozenset),
            ("deque", deque),
        ):
            if isinstance(value, type_):
                return self._pack_items(name, value, path)
        if isinstance(value, dict):
            return self._pack_dict(value, path)
        if (kind := _generator_kind(value)) is not None:
            return {kind: self.pack(GENERATORS[kind](value), path)}
        if isinstance(value, types.FunctionType) and (function := _function_name(value)):
            return {"function": function}
        if is_constant(value):
            return CONSTANT
        if not hasattr(value, "__dict__"):
            raise NotPlainError(type(value).__name__)
        if type(value).__module__ in {"builtins", "io", "_io", "socket", "subprocess"}:
            raise NotPlainError(type(value).__name__)
        attributes = {name: self.pack(item, f"{path}.{name}") for name, item in vars(value).items()}
        kept = {name: item for name, item in attributes.items() if item is not CONSTANT}
        return {"object": {"class": _path_of(type(value)), "attributes": kept}}

    def _pack_items(self, kind: str, values: Any, path: str) -> Any:
        items = [self.pack(item, f"{path}.{number}") for number, item in enumerate(values)]
        if items and all(item is CONSTANT for item in items):
            return CONSTANT
        if any(item is CONSTANT for item in items):
            if kind in {"set", "frozenset"}:
                raise NotPlainError(kind)
            items = [{"unchanged": 0} if item is CONSTANT else item for item in items]
        return {kind: items}

    def _pack_dict(self, values: dict[Any, Any], path: str) -> Any:
        items = [
            (self.pack(key, f"{path}.{key}.key"), self.pack(item, f"{path}.{key}"))
            for key, item in values.items()
        ]
        if any(key is CONSTANT for key, _ in items):
            raise NotPlainError("dict")
        if items and all(item is CONSTANT for _, item in items):
            return CONSTANT
        return {"dict": [[key, {"unchanged": 0} if item is CONSTANT else item] for key, item in items]}

    def _pack_array(self, value: Any, path: str) -> Any:
        array = value.numpy() if tf.is_tensor(value) else np.asarray(value)
        if isinstance(value, np.memmap):
            return CONSTANT
        if array.dtype.hasobject:
            raise NotPlainError("an array of objects")
        if array.nbytes > LARGE_ARRAY and self._known.get(path) == _checksum(array):
            return {"unchanged": 0}
        name = path
        while name in self._arrays:
            name += "'"
        self._arrays[name] = np.array(array)
        kind = "tensor" if tf.is_tensor(value) else "scalar" if isinstance(value, np.generic) else "array"
        return {kind: name}


def is_constant(value: Any) -> bool:
    """Return whether a value is of a kind that a training does not change, such as a function, a model or data."""
    if isinstance(
        value,
        type | types.FunctionType | types.MethodType | types.BuiltinFunctionType | types.ModuleType,
    ):
        return True
    packages = {base.__module__.partition(".")[0] for base in type(value).__mro__}
    return bool(packages & CONSTANT_PACKAGES) or type(value).__module__.startswith("numpy")


UNPACK_ARRAY = {
    "array": lambda array: array,
    "scalar": lambda array: array[()],
    "tensor": tf.constant,
}
GENERATORS = {
    "generator": lambda generator: generator.bit_generator.state,
    "random_state": lambda generator: generator.get_state(legacy=False),
    "random": lambda generator: generator.getstate(),
}


def _function_name(function: Any) -> str | None:
    """Return MODULE:NAME of a function that can be found by it; callbacks of Keras choose one as they begin."""
    name = _path_of(function)
    return name if _find(name) is function else None


def _path_of(definition: Any) -> str:
    """Return MODULE:NAME of a function or class."""
    return f"{definition.__module__}:{definition.__qualname__}"


def _find(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _generator_kind(value: Any) -> str | None:
    if isinstance(value, np.random.Generator):
        return "generator"
    if isinstance(value, np.random.RandomState):
        return "random_state"
    return "random" if isinstance(value, random.Random) else None


def _set_generator(kind: str, state: Any, current: Any) -> Any:
    if kind == "generator":
        generator = current if current is not None else np.random.default_rng()
        generator.bit_generator.state = state
    elif kind == "random_state":
        generator = current if current is not None else np.random.RandomState()
        generator.set_state(state)
    else:
        generator = current if current is not None else random.Random()  # noqa: S311 - no secret
        generator.setstate(state)
    return generator


def _checksum(array: Array) -> int:
    return zlib.crc32(array.tobytes())
