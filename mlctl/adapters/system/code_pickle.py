"""Pickle what a recipe's data holds, for another process: also functions, and classes of the recipe's own files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cloudpickle

from mlctl.recipes.local_modules import PREFIX


def dump(value: Any, *, by_value: bool = False, buffer_callback: Callable[[Any], Any] | None = None) -> bytes:
    """Return a pickled value; `buffer_callback` receives the memory of large arrays instead.

    With `by_value`, code of recipe files is part of the pickle: on another machine, their modules have other names.
    Otherwise, the reader must have loaded the recipe from the same file.
    """
    modules = []
    if by_value:
        modules = [
            module for name, module in sys.modules.items() if name.startswith(PREFIX) and "." not in name
        ]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled: bytes = cloudpickle.dumps(value, protocol=5, buffer_callback=buffer_callback)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return pickled
