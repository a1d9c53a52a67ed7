"""Packages that load on first use instead of on import.

MLflow's modules name classes of pandas, PyArrow and SciPy in annotations. That loads all three: 90 MB in a server
that never builds a table. Here such a name is a placeholder. Nothing can be an instance of a class that is not
loaded, so `isinstance` does not load the package. A call, a subclass or an attribute access does.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Union

_lock = threading.RLock()


def defer_imports(*packages: str) -> None:
    """Load these packages when they are used, not when they are imported."""
    sys.meta_path.insert(0, _Finder({package for package in packages if package not in sys.modules}))


class _Finder:
    """Finds placeholders for the packages that are not loaded yet, and for their modules."""

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in self.packages:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # it has the loader methods that are called

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _PlaceholderModule(spec.name, self)

    def exec_module(self, _module: ModuleType) -> None:
        """Do nothing: a placeholder has no code."""

    def load(self, name: str) -> ModuleType:
        """Replace the package's placeholders in sys.modules by the real package; return one of its modules."""
        package = name.partition(".")[0]
        with _lock:
            if package in self.packages:
                self.packages.discard(package)
                for module in [module for module in sys.modules if module.partition(".")[0] == package]:
                    del sys.modules[module]
            return importlib.import_module(name)


class _PlaceholderModule(ModuleType):
    """A module of which only the name is known. MLflow's modules may keep a reference to it for ever."""

    def __init__(self, name: str, finder: _Finder) -> None:
        super().__init__(name)
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        package = self.__name__.partition(".")[0]
        if package not in self._finder.packages or name == "__version__":
            return getattr(self._finder.load(self.__name__), name)
        if name.startswith("__"):  # the import system reads such attributes
            raise AttributeError(name)
        placeholder = self.__dict__[name] = _Placeholder(self, name)
        return placeholder


class _Placeholder:
    """One name of a placeholder module."""

    def __init__(self, module: _PlaceholderModule, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(self._module._finder.load(self._module.__name__), self._name)

    def _is_loaded(self) -> bool:
        return self._module.__name__.partition(".")[0] not in self._module._finder.packages

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # typing reads such attributes of every annotation
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __instancecheck__(self, instance: object) -> bool:
        return self._is_loaded() and isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return self._is_loaded() and issubclass(subclass, self._real())

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007  # `|` between placeholders is this very method

    __ror__ = __or__
