"""Pickling the user's own code by value, so that it runs in a process that has never seen its files.

code.pkl has custom objects under the names that Keras saves, and an encoder of the user's own. Modules beside the recipe
travel as source text, for code that imports them when it runs. scoring.py reads the file; see `TravellingCode` there.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import io
import pickle
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import cloudpickle

from mlctl.data.dataset import Dataset
from mlctl.domain.short_texts import describe_error
from mlctl.errors import BadDataError
from mlctl.recipes import Recipe, local_modules
from mlctl.serving import scoring

CODE_FILE = "code.pkl"  # scoring.py reads it
LARGE_BYTES = 10_000_000
_STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"]).resolve()


@dataclass(frozen=True, kw_only=True)
class PackedCode:
    """The content of code.pkl, and what it needs.

    Attributes:
        content: Bytes of the file; empty if no code travels.
        requirements: Packages that the code imports, pinned to the installed versions.
        names: Names of the travelling objects.
        notes: Lines for the user.
    """

    content: bytes = b""
    requirements: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def pack(objects: Mapping[str, Any], encoder: Any = None) -> PackedCode:
    """Return custom objects and an encoder of the user's own as the content of code.pkl.

    Raises BadDataError that names the first object that cannot be pickled.
    """
    if not objects and encoder is None:
        return PackedCode()
    writer = _Writer()
    content = {
        "python": list(sys.version_info[:2]),
        "objects": writer.dump_each(objects) if objects else None,
        "encoder": None if encoder is None else writer.dump("the encoder", encoder),
        "sources": {root: _sources(root) for root in sorted(writer.roots)},
    }
    packed = pickle.dumps(content, protocol=4)
    notes = []
    if len(packed) > LARGE_BYTES:
        notes.append(
            f"the model's own code takes {len(packed) / 1e6:.0f} MB: a class or function refers to an array, such as"
            " the training data"
        )
    return PackedCode(
        content=packed,
        requirements=tuple(_requirements(writer.imported)),
        names=tuple(objects),
        notes=tuple(notes),
    )


def is_own_encoder(encoder: Any) -> bool:
    """Whether an encoder is the user's own, so that its code must travel with the model."""
    return encoder is not None and type(encoder) not in scoring.ENCODERS.values()


def user_modules() -> list[str]:
    """Return the imported modules of the user's own: neither installed packages nor the standard library nor mlctl."""
    names = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith(local_modules.PREFIX) or (isinstance(file, str) and is_user_file(Path(file))):
            names.append(name)
    return names


class _Writer:
    """Pickles objects, and collects what they import."""

    def __init__(self) -> None:
        self.imported: set[str] = set()  # modules, by their full names
        self.roots: set[str] = set()  # packages of recipe files

    def dump_each(self, objects: Mapping[str, Any]) -> bytes:
        try:
            return self.dump("", dict(objects))
        except BadDataError:
            for name, value in objects.items():  # find the one that fails
                self.dump(name, value)
            raise

    def dump(self, name: str, value: Any) -> bytes:
        """Return the pickled value; raises BadDataError that names it."""
        stream = io.BytesIO()
        try:
            with _pickled_by_value(), _scoring_by_name():
                _Pickler(stream, self).dump(value)
        except Exception as exc:
            raise BadDataError(
                f"{name} cannot travel with the model: {describe_error(exc)}",
                "let it refer only to values that can be pickled: numbers, texts, arrays and functions",
            ) from exc
        return stream.getvalue()


@contextmanager
def _scoring_by_name() -> Iterator[None]:
    """Let scoring.py be found by its name: a served model in this process runs its own copy under that name."""
    current = sys.modules.get(scoring.__name__)
    sys.modules[scoring.__name__] = scoring
    try:
        yield
    finally:
        sys.modules[scoring.__name__] = current or scoring


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """Pickles the user's classes and functions by value, and those of scoring.py by their names."""

    def __init__(self, stream: io.BytesIO, writer: _Writer) -> None:
        super().__init__(stream, protocol=4)
        self._writer = writer

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Dataset):  # a class in build() refers to the data for its shape, not for its rows
            empty = {
                **vars(obj),
                "train": None,
                "validation": None,
                "test": None,
                "as_raw": None,
                "extra": {},
            }
            return types.SimpleNamespace, (), empty
        if obj is Recipe:  # the base of a class whose method is an encoder
            return scoring.absent, ()
        if isinstance(obj, types.CodeType):
            return self._reduce_code(obj)
        if isinstance(obj, types.ModuleType):
            return self._reduce_module(obj)
        if isinstance(obj, (type, types.FunctionType)):
            if obj.__module__ == scoring.__name__:
                return NotImplemented
            self._note_module(obj.__module__ or "")
        return super().reducer_override(obj)

    def _function_getnewargs(self, func: Any) -> Any:
        arguments = super()._function_getnewargs(func)
        module_globals = arguments[1]
        if isinstance(module_globals.get("__file__"), str):
            module_globals["__file__"] = Path(module_globals["__file__"]).name
        module_globals.pop("__path__", None)
        return arguments

    def _reduce_code(self, code: types.CodeType) -> Any:
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                self._note_module(str(instruction.argval))
        function, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
        name = Path(code.co_filename).name  # cloudpickle drops it, and with it the line in a traceback
        return function, tuple(name if value == "<dynamic-code>" else value for value in arguments)

    def _reduce_module(self, module: types.ModuleType) -> Any:
        self._note_module(module.__name__)
        if module is scoring:
            return scoring.this_module, ()
        if module.__name__.startswith(local_modules.PREFIX):
            return cloudpickle.cloudpickle.subimport, (module.__name__,)
        return cloudpickle.Pickler.dispatch_table[types.ModuleType](module)

    def _note_module(self, name: str) -> None:
        self._writer.imported.add(name)
        root = name.partition(".")[0]
        if root.startswith(local_modules.PREFIX):
            self._writer.roots.add(root)


@contextlib.contextmanager
def _pickled_by_value() -> Iterator[None]:
    """Let cloudpickle pickle the user's own modules and mlctl by value."""
    known = cloudpickle.list_registry_pickle_by_value()
    modules = {sys.modules[name].__name__: sys.modules[name] for name in [*user_modules(), "mlctl"]}
    # a module may be in sys.modules under another name, where cloudpickle does not find it
    registered = [
        module for name, module in modules.items() if name not in known and sys.modules.get(name) is module
    ]
    for module in registered:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def is_user_file(path: Path) -> bool:
    """Return whether a file is the user's own: not of an installed package, the standard library or mlctl."""
    if not path.is_absolute():
        return False
    resolved = path.resolve()
    if local_modules.is_installed(resolved) or local_modules.is_builtin(resolved):
        return False
    return not resolved.is_relative_to(_STANDARD_LIBRARY)


def _sources(root: str) -> dict[str, str]:
    """Return the text of a recipe's file and of the modules beside it that it imports, by their paths in its folder."""
    folder = Path(sys.modules[root].__path__[0])
    sources = {}
    for file in local_modules.static_sources_of(root):
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:  # nobody imported it so far
            continue
        tree = local_modules.rewrite_imports(tree, root, lambda name: local_modules.is_local(name, folder))
        tree = ast.fix_missing_locations(_WithoutMlctl().visit(tree))
        sources[file.relative_to(folder).as_posix()] = ast.unparse(tree)
    return sources


class _WithoutMlctl(ast.NodeTransformer):
    """Lets a module be imported where mlctl is absent: what it imports from mlctl is a placeholder there."""

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        if not any(alias.name.partition(".")[0] == "mlctl" for alias in node.names):
            return node
        return self._guarded(node, [alias.asname or alias.name.partition(".")[0] for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if node.level or (node.module or "").partition(".")[0] != "mlctl":
            return node
        return self._guarded(node, [alias.asname or alias.name for alias in node.names])

    @staticmethod
    def _guarded(node: ast.stmt, names: list[str]) -> ast.stmt:
        absent = ast.Name(scoring.ABSENT, ast.Load())
        placeholders: list[ast.stmt] = [ast.Assign([ast.Name(name, ast.Store())], absent) for name in names]
        handler = ast.ExceptHandler(ast.Name("ModuleNotFoundError", ast.Load()), None, placeholders)
        return ast.Try([node], [handler], [], [])


def _requirements(modules: set[str]) -> Iterator[str]:
    """Yield the installed packages that have these modules, pinned to their versions."""
    installed = packages_distributions()
    yield f"cloudpickle=={version('cloudpickle')}"
    packages = {package for module in modules for package in installed.get(module.partition(".")[0], ())}
    for package in sorted(packages - {"cloudpickle", "mlctl-keras", "mlctl"}):
        yield f"{package}=={version(package)}"
