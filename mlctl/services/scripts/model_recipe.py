"""A recipe that stands for a script where its model is logged, and what a script's model or data may raise there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlctl.errors import MlctlError
from mlctl.recipes import Recipe

FAILURES = (
    MlctlError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def script_recipe(name: str, file: Path, served: Any = None) -> type[Recipe]:
    """Return a recipe class that stands for a script: it gives its name and its file to what records models.

    `served` is logged in place of the trained model, of which it is a part.
    """
    source_file: Callable[[type[Recipe]], Path] = lambda cls: file  # noqa: E731
    members: dict[str, Any] = {"name": name, "source_file": classmethod(source_file)}
    if served is not None:
        members["serving"] = lambda self, model, data: served
    return type("Script", (Recipe,), members)
