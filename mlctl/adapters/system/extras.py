"""Optional parts: whether one is installed, and what installs it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from packaging.requirements import Requirement

from mlctl.adapters.system.packaging import NAME
from mlctl.errors import ConfigurationError


def demand(module: str, extra: str, wanted_for: str) -> None:
    """Raise ConfigurationError where this module, which the extra brings, is not installed.

    The hint names the packages themselves: an extra can be named only where mlctl's checkout or wheel is at hand.
    """
    if find_spec(module) is None:
        raise ConfigurationError(
            f"{wanted_for} needs {module}, which is not installed", f"pip install {' '.join(_wanted(extra))}"
        )


def _wanted(extra: str) -> list[str]:
    try:
        declared = [Requirement(text) for text in requires(NAME) or ()]
    except PackageNotFoundError:  # it runs from a folder that was never installed
        return [f"'.[{extra}]'"]
    return [
        f"'{one.name}{'[' + ','.join(one.extras) + ']' if one.extras else ''}{one.specifier}'"
        for one in declared
        if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
        and one.name != NAME
    ]  # fmt: skip
