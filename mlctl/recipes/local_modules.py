"""A recipe file and the modules beside it, imported under names of their own.

`from mynet import net` in a recipe file means the mynet.py beside it, as in a script. Two recipes can have modules of
the same name, so each folder's modules belong to a package of their own: imports of neighbours are rewritten to
`mlctl_recipe_<digest>.mynet` when a file is compiled. The digest is that of the files' content and folder.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.abc
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from mlctl.recipes.keras_import import import_keras

PREFIX = "mlctl_recipe_"  # of the package of a recipe file and its neighbours
_INSTALLED = ("site-packages", "dist-packages")
_MLCTL = Path(__file__).resolve().parents[1]
_recipe_files: dict[str, Path] = {}  # by the name of its package
_imported_by_path: dict[Path, set[Path]] = {}


def import_recipe(path: Path) -> ModuleType:
    """Execute a recipe file and return its module; what an earlier call imported for this file is imported anew."""
    file = path.resolve()
    digest = hashlib.sha256(str(file).encode())
    for source in static_sources(path):
        digest.update(source.read_bytes())
    root = PREFIX + digest.hexdigest()[:12]
    for name in [name for name in sys.modules if name.partition(".")[0] == root]:
        del sys.modules[name]
    importlib.invalidate_caches()
    _recipe_files[root] = file
    package = ModuleType(root)
    package.__path__ = [str(file.parent)]
    sys.modules[root] = package
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    name = f"{root}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes can be pickled and inspected
    if any(map(_imports_keras, static_sources(path))):
        import_keras()  # silently: TensorFlow writes to stderr when it is imported
    before = set(sys.modules)
    spec.loader.exec_module(module)
    imported = (sys.modules[name] for name in set(sys.modules) - before if not name.startswith(PREFIX))
    files = [Path(str(module.__file__)).resolve() for module in imported if getattr(module, "__file__", None)]
    known = _imported_by_path.setdefault(file, set())  # the next time, they are in memory already
    known |= {source for source in files if source.suffix == ".py" and is_in_folder(source, file.parent)}
    return module


def _imports_keras(source: Path) -> bool:
    """Return whether executing a file imports Keras; an import inside a function does not count."""
    try:
        body = ast.parse(source.read_bytes()).body
    except (SyntaxError, ValueError):
        return False
    names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in body if isinstance(node, ast.ImportFrom) and not node.level]
    return any(name.partition(".")[0] in {"keras", "tensorflow"} for name in names)


def rewrite_imports(tree: ast.Module, root: str, is_local: Callable[[str], bool]) -> ast.Module:
    """Return a module's code with imports of neighbours changed to imports of modules of the package `root`."""
    rewritten: ast.Module = ast.fix_missing_locations(_Rewriter(root, is_local).visit(tree))
    return rewritten


def static_sources(path: Path) -> list[Path]:
    """Return a recipe file and the neighbours that it imports, directly or not, in the order of their names.

    Files that cannot be parsed import nothing. Nothing is executed.
    """
    file = path.resolve()
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        source = waiting.pop()
        if source not in found and source.is_file():
            found.add(source)
            waiting += _imported_files(source, file.parent)
    return sorted(found)


def static_sources_of(root: str) -> list[Path]:
    """Return the file of the recipe of a package `mlctl_recipe_…`, and the neighbours that it imports."""
    return static_sources(_recipe_files[root])


def other_sources(path: Path) -> set[Path]:
    """Return files of the recipe's folder that its file imported by another way, such as an entry in sys.path."""
    return _imported_by_path.get(path.resolve(), set())


def is_builtin(path: Path) -> bool:
    """Whether this is a file of mlctl."""
    return path.resolve().is_relative_to(_MLCTL)


def is_in_folder(path: Path, folder: Path) -> bool:
    """Whether a resolved path is the user's own file in a folder or below: not an installed package, not mlctl."""
    if not path.is_relative_to(folder):
        return False
    return not is_installed(path) and not path.is_relative_to(_MLCTL)


def is_installed(path: Path) -> bool:
    """Whether a file belongs to an installed package."""
    return any(part in _INSTALLED for part in path.parts)


def is_local(name: str, folder: Path) -> bool:
    """Whether `name` is a module or package beside a recipe in this folder.

    A folder without __init__.py counts only if no module of this name is installed.
    """
    if name == "mlctl":
        return False
    if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
        return True
    if not (folder / name).is_dir() or not any((folder / name).rglob("*.py")):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return True
    return spec is None or spec.origin is None


def without_package(text: str) -> str:
    """Return a message with the names of modules beside a recipe as the user wrote them."""
    return re.sub(rf"\b{PREFIX}[0-9a-f]{{12}}\.", "", text)


class _Loader(SourceFileLoader):
    """Compiles a file with its imports of neighbours rewritten; byte code is neither read nor written."""

    def get_code(self, fullname: str) -> CodeType:
        root = fullname.partition(".")[0]
        folder = Path(sys.modules[root].__path__[0])
        tree = ast.parse(self.get_data(self.path), self.path)
        tree = rewrite_imports(tree, root, lambda name: is_local(name, folder))
        code: CodeType = compile(tree, self.path, "exec", dont_inherit=True)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules beside recipe files, for `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            assert spec.origin is not None
            spec.loader, spec.cached = _Loader(fullname, spec.origin), None
        return spec


class _Rewriter(ast.NodeTransformer):
    """Changes `import mynet` to `import ROOT.mynet as mynet`, and `from mynet import …` likewise."""

    def __init__(self, root: str, is_local: Callable[[str], bool]) -> None:
        self._root = root
        self._is_local = is_local

    def visit_Import(self, node: ast.Import) -> ast.Import:
        names = []
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if not self._is_local(top):
                names.append(alias)
            elif alias.asname or alias.name == top:
                names.append(ast.alias(f"{self._root}.{alias.name}", alias.asname or top))
            else:  # `import package.part` binds `package`
                names += [ast.alias(f"{self._root}.{alias.name}"), ast.alias(f"{self._root}.{top}", top)]
        return ast.copy_location(ast.Import(names), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.level == 0 and node.module and self._is_local(node.module.partition(".")[0]):
            return ast.copy_location(ast.ImportFrom(f"{self._root}.{node.module}", node.names, 0), node)
        return node


def _imported_files(source: Path, folder: Path) -> list[Path]:
    """Return the files in `folder` and below that a file's imports execute."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):
        return []
    return [
        file for start, parts in _imports(tree, source, folder) for file in _files_of(start, parts.split("."))
    ]


def _imports(tree: ast.Module, source: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each import of a neighbour: the folder that its dotted name starts from, and the name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_local(alias.name.partition(".")[0], folder):
                    yield folder, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = folder if node.level == 0 else source.parents[node.level - 1]
            module = node.module or ""
            if node.level == 0 and not is_local(module.partition(".")[0], folder):
                continue
            for alias in node.names:  # each may be a module of the package
                yield start, f"{module}.{alias.name}".strip(".")


def _files_of(start: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files that importing a dotted name executes: each package's __init__.py, and the module."""
    for part in parts:
        if (start / f"{part}.py").is_file():
            yield start / f"{part}.py"
        start = start / part
        if (start / "__init__.py").is_file():
            yield start / "__init__.py"
