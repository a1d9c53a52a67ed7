"""Optional dependencies: whether one is installed, and the command that installs it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from packaging.requirements import Requirement

from mlctl.adapters.system.packaging import NAME
from mlctl.errors import ConfigurationError


def require_extra(module: str, extra: str, feature: str) -> None:
    """Raise ConfigurationError if a module that belongs to an extra is not installed.

    The hint names the packages, because pip can install an extra by name only from mlctl's checkout or wheel.
    """
    if not _is_installed(module):
        raise ConfigurationError(
            f"{feature} needs {module}, which is not installed",
            f"run: pip install {' '.join(_packages_of(extra))}",
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it is in
        return False


def _packages_of(extra: str) -> list[str]:
    try:
        requirements = [Requirement(text) for text in requires(NAME) or ()]
    except PackageNotFoundError:  # mlctl runs from a folder that was never installed
        return [f"'.[{extra}]'"]
    return [
        f"'{requirement.name}{'[' + ','.join(requirement.extras) + ']' if requirement.extras else ''}"
        f"{requirement.specifier}'"
        for requirement in requirements
        if requirement.marker
        and requirement.marker.evaluate({"extra": extra})
        and not requirement.marker.evaluate({"extra": ""})
        and requirement.name != NAME
    ]
