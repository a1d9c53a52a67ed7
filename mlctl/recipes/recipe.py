"""The base of every recipe, and how a recipe is found by name, by file or by entry point."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from mlctl.domain.objective import Objective
from mlctl.domain.recipes import RecipeInfo
from mlctl.errors import BadDataError, NotFoundError, UsageError, did_you_mean
from mlctl.recipes import own
from mlctl.recipes.declare import COMMON, Hyperparameter, Values

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

GROUP = "mlctl.recipes"


class Recipe:
    """What a recipe file declares: a name, an objective, hyperparameters, and three methods.

    `load` reads the data, `encoder` says how raw client input becomes model input, `build` returns a
    compiled Keras model on encoded input. Keras is imported inside the methods, so that a list of recipes
    costs nothing.
    """

    name: ClassVar[str] = ""
    objective: Objective = Objective("val_loss", maximize=False)
    epochs: Any = COMMON["epochs"].default
    batch_size: Any = COMMON["batch_size"].default
    learning_rate: Any = COMMON["learning_rate"].default
    schedule: Any = COMMON["schedule"].default
    # --precision auto takes bfloat16 where the hardware has it and the recipe says that it pays
    bfloat16: ClassVar[bool] = False
    # a user's own file or folder that this recipe was found for; --data goes before it
    own_data: str | None = None

    def load(self, source: Source) -> Dataset:
        """Return the data by split: raw inputs, as a client would send them, and targets."""
        raise NotImplementedError(f"recipe {self.name!r} has no load()")

    def encoder(self, data: Dataset) -> Any:
        """Return what turns raw inputs into model input; None where they are the same."""
        return None

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return a compiled model that takes encoded input."""
        raise NotImplementedError(f"recipe {self.name!r} has no build()")

    @classmethod
    def declared(cls) -> dict[str, Hyperparameter]:
        """Every hyperparameter and option by name: the common ones first, then the recipe's own in order."""
        found: dict[str, Hyperparameter] = {}
        for name, common in COMMON.items():
            own = getattr(cls, name)
            found[name] = own if isinstance(own, Hyperparameter) else _with_default(common, own)
        for owner in reversed(cls.__mro__):
            for name, value in vars(owner).items():
                if isinstance(value, Hyperparameter):
                    found[name] = value
        return found

    @classmethod
    def values(cls, given: Mapping[str, Any]) -> Values:
        """Return all values, the given ones checked; raises UsageError that names a bound or a near name."""
        declared = cls.declared()
        each = {name: one for name, one in declared.items() if one.each}
        found = {
            name: one.parse(name, given.get(name, one.default))
            for name, one in declared.items()
            if name not in each
        }
        for name, value in given.items():
            one = each.get(name.partition(".")[0]) if "." in name else None
            if one is not None:
                found[name] = one.parse(name, value)
            elif name not in found:
                hint = did_you_mean(name, declared) or f"it declares: {', '.join(declared)}"
                raise UsageError(f"recipe {cls.name} declares no {name!r}", hint)
        return Values(found)

    @classmethod
    def source_file(cls) -> Path:
        """Return the file that declares this recipe."""
        return Path(inspect.getfile(cls))


def _with_default(common: Hyperparameter, default: Any) -> Hyperparameter:
    kind = type(common.default)
    return Hyperparameter(
        kind(default), common.low, common.high, common.step, common.log, common.choices, common.help
    )


def listed() -> list[RecipeInfo]:
    """Return every recipe that is installed, without importing one: its summary is read from its source."""
    return sorted((_info(point) for point in entry_points(group=GROUP)), key=lambda one: one.name)


def names() -> list[str]:
    """Return the name of every recipe that is installed."""
    return sorted(point.name for point in entry_points(group=GROUP))


def find(source: str) -> Recipe:
    """Return the recipe of this name, of this file (`wine.py`, `wine.py:Wine`), or for a user's own data.

    Raises NotFoundError with the nearest name, BadDataError that names the file's own line where it breaks.
    """
    path, _, wanted = source.rpartition(":") if ".py:" in source else (source, "", "")
    if path.endswith(".py"):
        return _from_file(Path(path), wanted)
    points = {point.name: point for point in entry_points(group=GROUP)}
    kind = own.recipe_for(source) if source not in points else None
    if kind is not None:
        recipe = find(kind)
        recipe.own_data = source
        return recipe
    if source not in points:
        near = did_you_mean(source, points)
        hint = near or f"there are: {', '.join(sorted(points))}; or give a recipe's file, or your own data"
        raise NotFoundError(f"there is no recipe {source!r}", hint)
    return _made(points[source].load(), points[source].value)


def _info(point: EntryPoint) -> RecipeInfo:
    origin = point.dist.metadata["Name"] if point.dist else ""
    return RecipeInfo(point.name, _summary(point), "built in" if origin == "mlctl-keras" else origin)


def _summary(point: EntryPoint) -> str:
    """Return the first line of the class's docstring, from the text of its file."""
    package = importlib.util.find_spec(point.module.partition(".")[0])
    if package is None or package.origin is None:
        return ""
    file = Path(package.origin).parent.joinpath(*point.module.split(".")[1:]).with_suffix(".py")
    if not file.is_file():
        return ""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == point.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _from_file(path: Path, wanted: str) -> Recipe:
    if not path.is_file():
        raise NotFoundError(f"there is no recipe file {path}", "mlctl recipes copy mnist ./mine.py makes one")
    found = {one.__name__: one for one in _recipes_of(_imported(path))}
    if wanted and wanted not in found:
        hint = did_you_mean(wanted, found) or f"it has: {', '.join(found) or 'none'}"
        raise NotFoundError(f"{path} has no recipe {wanted!r}", hint)
    if not found:
        raise BadDataError(
            f"{path} declares no recipe", "write a class that derives from mlctl.recipes.Recipe"
        )
    if not wanted and len(found) > 1:
        raise UsageError(
            f"{path} declares several recipes: {', '.join(found)}", f"say which: {path}:{next(iter(found))}"
        )
    return _made(found[wanted] if wanted else next(iter(found.values())), str(path))


def _imported(path: Path) -> ModuleType:
    name = f"mlctl_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadDataError(f"{path} is no Python file", "a recipe's file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that classes in it can be pickled and inspected
    try:
        spec.loader.exec_module(module)
    except SyntaxError as exc:
        raise BadDataError(f"{path}, line {exc.lineno}: {exc.msg}", "mend the recipe") from exc
    except Exception as exc:
        raise BadDataError(f"{where_in(path, exc)}: {type(exc).__name__}: {exc}", "mend the recipe") from exc
    return module


def where_in(path: Path, exc: BaseException) -> str:
    """Return "FILE, line N" of the innermost frame of `exc` that is in this file."""
    line, trace = 0, exc.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}, line {line}" if line else str(path)


def _recipes_of(module: ModuleType) -> Iterator[type[Recipe]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Recipe) and value.__module__ == module.__name__:
            yield value


def _made(declared: Any, where: str) -> Recipe:
    if not (isinstance(declared, type) and issubclass(declared, Recipe)):
        raise BadDataError(f"{where} is no recipe", "it must derive from mlctl.recipes.Recipe")
    if not declared.name:
        declared.name = declared.__name__.lower()
    return declared()
