"""Tell a recipe file from a user's script, without executing it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mlctl.recipes.local_modules import static_sources

RECIPE_MODULES = ("mlctl.recipes", "mlctl.data")


def is_script(source: str, *, module: bool = False, script: bool | None = None) -> bool:
    """Return whether SOURCE is run as a script: a module, or a Python file that declares no recipe.

    `script` decides, if it is not None.
    """
    if module or script is not None:
        return module or bool(script)
    path = Path(source)
    return path.suffix == ".py" and path.is_file() and not declares_recipe(path)


def declares_recipe(path: Path) -> bool:
    """Return whether a Python file declares a recipe: it has a class, and it or a module beside it imports mlctl.recipes."""
    text = path.read_bytes()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return re.search(rb"^\s*(from|import)\s+mlctl\.recipes", text, re.MULTILINE) is not None
    if not any(isinstance(node, ast.ClassDef) for node in tree.body):
        return False
    return any(map(_imports_recipes, static_sources(path)))


def _imports_recipes(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        if any(
            module == name or module.startswith(f"{name}.") for module in modules for name in RECIPE_MODULES
        ):
            return True
    return False
