"""Packages that are there by name only, until one of their names is used.

MLflow's modules name classes of pandas, PyArrow and SciPy in annotations, which loads all three: 90 MB in
a server that never makes a table. Here such a name is a stand-in. Nothing can be an instance of a class that is
not loaded, so asking that loads nothing; calling it, inheriting from it or looking into it loads the package.
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


def stand_in(*packages: str) -> None:
    """Let these packages be loaded when they are used, not when they are imported."""
    sys.meta_path.insert(0, _Finder({one for one in packages if one not in sys.modules}))


class _Finder:
    """Finds stand-ins for the packages that it still holds, and for their modules."""

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in self.packages:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # it has what is called of a loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Package(spec.name, self)

    def exec_module(self, _module: ModuleType) -> None:
        """There is nothing to run."""

    def load(self, name: str) -> ModuleType:
        """Put the real package in the stand-in's place; return one of its modules."""
        package = name.partition(".")[0]
        with _lock:
            if package in self.packages:
                self.packages.discard(package)
                for one in [one for one in sys.modules if one.partition(".")[0] == package]:
                    del sys.modules[one]
            return importlib.import_module(name)


class _Package(ModuleType):
    """A module of which only the name is known; MLflow's modules may hold it for good."""

    def __init__(self, name: str, finder: _Finder) -> None:
        super().__init__(name)
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        package = self.__name__.partition(".")[0]
        if package not in self._finder.packages or name == "__version__":
            return getattr(self._finder.load(self.__name__), name)
        if name.startswith("__"):  # the import system asks for such
            raise AttributeError(name)
        found = self.__dict__[name] = _Name(self, name)
        return found


class _Name:
    """One name of such a module."""

    def __init__(self, module: _Package, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(self._module._finder.load(self._module.__name__), self._name)

    def _loaded(self) -> bool:
        return self._module.__name__.partition(".")[0] not in self._module._finder.packages

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._real()(*given, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # typing asks every annotation for such
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __instancecheck__(self, one: object) -> bool:
        return self._loaded() and isinstance(one, self._real())

    def __subclasscheck__(self, one: type) -> bool:
        return self._loaded() and issubclass(one, self._real())

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007  # `|` between stand-ins is this very method

    __ror__ = __or__
