"""Act as soon as a module is imported, without importing it."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def after_import(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Call `action` now if a module is imported, else as soon as it is while the block runs."""
    if name in sys.modules:
        action()
        yield
        return
    watcher = _ImportWatcher(name, action)
    sys.meta_path.insert(0, watcher)
    try:
        yield
    finally:
        if watcher in sys.meta_path:
            sys.meta_path.remove(watcher)


class _ImportWatcher(importlib.abc.MetaPathFinder):
    """Calls `action` after the first import of a module.

    Asking for a module's spec is no import: TensorFlow does so with Keras.
    """

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self._name = name
        self._action = action
        self._is_searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec that the other finders find, with a loader that calls `action` at its end."""
        if fullname != self._name or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_searching = False
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                loader.exec_module = execute
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                    self._action()

            loader.exec_module = execute_and_act
        return spec
