"""The call of `fit` that is running, for a callback that was made while `fit` was called."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import keras


def running_fit(model: Any) -> dict[str, Any]:
    """Return the arguments of the `fit` of a model that is on the stack, those that are not the default.

    {}: there is none.
    """
    method = inspect.unwrap(keras.Model.fit)
    code, parameters = method.__code__, inspect.signature(method).parameters
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code and frame.f_locals.get("self") is model:
            given = {name: frame.f_locals.get(name) for name in parameters if name != "self"}
            return {name: value for name, value in given.items() if not _is_default(value, parameters[name])}
        frame = frame.f_back  # type: ignore[assignment]
    return {}


def _is_default(value: Any, parameter: inspect.Parameter) -> bool:
    return value is parameter.default or (
        isinstance(value, (bool, int, float, str)) and value == parameter.default
    )
