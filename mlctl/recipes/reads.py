"""Which hyperparameters a recipe's code reads, found in its source: an unread one has no effect."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlctl.recipes import local_modules
from mlctl.recipes.declare import COMMON, conditions_of

READ_BY_MLCTL = {"epochs", "batch_size", "class_weight"}
METHODS_WITH_VALUES = ("build", "callbacks", "phases")
WHOLE = {"items", "keys", "values"}  # methods that read everything

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def unread_names(recipe: type[Any]) -> frozenset[str]:
    """Return the declared names that no code of the recipe reads; none, if the code is too dynamic to be sure."""
    key: Any = recipe
    return _unread_names(key)


@functools.lru_cache(maxsize=64)
def _unread_names(recipe: Any) -> frozenset[str]:
    declared = recipe.declared()
    try:
        usage = _Usage(recipe)
    except (OSError, SyntaxError, TypeError):  # there is no source
        return frozenset()
    if usage.is_unsure:
        return frozenset()
    controls = {comparison.name for condition in conditions_of(declared).values() for comparison in condition}
    read = {name for name in declared if usage.reads(name)} | controls | READ_BY_MLCTL
    read |= {
        name
        for name, parameter in declared.items()
        if name not in COMMON and (usage.passes_source or (usage.shares_source and parameter.data))
    }
    if "rate" in usage.names and "rate" not in declared:
        read |= {"learning_rate", "schedule"}
    return frozenset(name for name, parameter in declared.items() if name not in read and not parameter.each)


@dataclass
class _Scope:
    """One function of the source, and the names in it that stand for the hyperparameters."""

    function: Function
    names: set[str] = field(default_factory=set)


class _Usage:
    """What the methods of a recipe, and the functions of its own files that they call, do with the hyperparameters."""

    def __init__(self, recipe: type[Any]) -> None:
        classes = [owner for owner in recipe.__mro__ if _is_own(owner)]
        files = _source_files(classes)
        trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
        self._foreign = {name for tree in trees for name in _imported_names(tree, files)}
        self.names: set[str] = set()
        self.patterns: list[re.Pattern[str]] = []
        self.is_unsure = False
        self.shares_source = False  # load() passes its source to a function, which may read options from it
        self.passes_source = False  # to a function of the recipe's own files
        self._attributes: set[str] = set()  # of self, that hold the hyperparameters
        self._functions: dict[str, list[Function]] = {}
        self._methods: dict[str, list[Function]] = {}  # of the recipe's own classes
        self._scopes: dict[Function, _Scope] = {}
        own = {owner.__name__ for owner in classes}
        for tree in trees:
            self._collect(tree, own)
        self._start(trees)
        size = -1
        while size != (size := self._size()) and not self.is_unsure:
            for scope in list(self._scopes.values()):
                self._visit_body(scope)

    def reads(self, name: str) -> bool:
        """Return whether a name is read."""
        return name in self.names or any(pattern.fullmatch(name) for pattern in self.patterns)

    def _size(self) -> int:
        return (
            len(self._attributes)
            + len(self._scopes)
            + sum(len(scope.names) for scope in self._scopes.values())
        )

    def _collect(self, tree: ast.Module, own: set[str]) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._functions.setdefault(node.name, []).append(node)
            if isinstance(node, ast.ClassDef):
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                for method in methods:
                    if method.name == "__init__":
                        self._functions.setdefault(node.name, []).append(method)
                    if node.name in own:
                        self._methods.setdefault(method.name, []).append(method)

    def _start(self, trees: Iterable[ast.Module]) -> None:
        """Find the functions that mlctl calls with the hyperparameters."""
        if "build" not in self._methods:
            self.is_unsure = True
        for method_name in METHODS_WITH_VALUES:
            for method in self._methods.get(method_name, ()):
                parameters = _parameters(method)
                if len(parameters) < 2:
                    self.is_unsure = True
                    return
                self._add(method, {parameters[1]})
        for method in self._methods.get("load", ()):
            self._scopes.setdefault(method, _Scope(method))  # it reads source.options
            self._find_source(method)
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and _called_name(node.func) == "Phase":
                    for keyword in node.keywords:
                        if keyword.arg == "start":
                            self._add_phase(keyword.value)

    def _find_source(self, load: Function) -> None:
        """Note the functions to which load() passes its source."""
        source = _parameters(load)[1:2]
        for node in ast.walk(load):
            if isinstance(node, ast.Call):
                arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
                if any(isinstance(argument, ast.Name) and argument.id in source for argument in arguments):
                    self.shares_source = True
                    self.passes_source = self.passes_source or _called_name(node.func) in self._functions

    def _add_phase(self, start: ast.expr) -> None:
        """Add the function that starts a phase: it is called with the model, the hyperparameters and the data."""
        functions = [start] if isinstance(start, ast.Lambda) else self._functions.get(_called_name(start), [])
        for function in functions:
            parameters = [name for name in _parameters(function) if name != "self"]
            if len(parameters) > 1:
                self._add(function, {parameters[1]})
        if not functions and not isinstance(start, ast.Constant):
            self.is_unsure = True

    def _add(self, function: Function, names: set[str]) -> None:
        self._scopes.setdefault(function, _Scope(function)).names.update(names)

    # -- one function -------------------------------------------------------------------------------------

    def _visit_body(self, scope: _Scope) -> None:
        body = scope.function.body
        for node in body if isinstance(body, list) else [body]:
            self._visit(node, scope.names)

    def _visit(self, node: ast.AST, names: set[str]) -> None:
        if isinstance(node, Function):
            inner = names.difference(_parameters(node))  # those of its own are in its own scope
            for part in node.body if isinstance(node.body, list) else [node.body]:
                self._visit(part, inner)
            return
        if isinstance(node, ast.Call):
            self._visit_call(node, names)
            return
        if isinstance(node, ast.Attribute) and self._is_values(node.value, names):
            self.is_unsure = self.is_unsure or node.attr in WHOLE
            self.names.add(node.attr)
            return
        if isinstance(node, ast.Subscript) and self._is_values(node.value, names):
            self._read_key(node.slice)
            self._visit(node.slice, names)
            return
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and self._visit_assignment(
            node, names
        ):
            return
        if isinstance(node, ast.expr) and self._is_values(node, names):
            self.is_unsure = True  # it goes somewhere that is not followed
            return
        for child in ast.iter_child_nodes(node):
            self._visit(child, names)

    def _visit_assignment(self, node: Any, names: set[str]) -> bool:
        """Note a further name of the hyperparameters; return whether the assignment is one."""
        if node.value is None or not self._is_values(node.value, names):
            return False
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                names.add(target.id)
            elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                self._attributes.add(target.attr)
            else:
                self.is_unsure = True
        return True

    def _visit_call(self, node: ast.Call, names: set[str]) -> None:
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and function.attr == "get"
            and self._is_values(function.value, names)
        ):
            self._read_key(node.args[0] if node.args else None)
            rest = node.args
        elif (
            _called_name(function) in {"getattr", "hasattr"}
            and node.args
            and self._is_values(node.args[0], names)
        ):
            self._read_key(node.args[1] if len(node.args) > 1 else None)
            rest = node.args[1:]
        else:
            self._visit(function, names)
            rest = []
            for position, argument in enumerate(node.args):
                if self._is_values(argument, names):
                    self._pass(function, position)
                else:
                    rest.append(argument)
        for keyword in node.keywords:
            if self._is_values(keyword.value, names):
                self._pass(function, keyword.arg)
            else:
                rest.append(keyword.value)
        for argument in rest:
            self._visit(argument, names)

    def _pass(self, function: ast.expr, argument: int | str | None) -> None:
        """Follow the hyperparameters into a function of the recipe's own files; `argument` is what they are passed as."""
        is_own_method = isinstance(function, ast.Attribute) and (
            _called_name(function.value) == "super"
            or (isinstance(function.value, ast.Name) and function.value.id == "self")
        )
        found = (self._methods if is_own_method else self._functions).get(_called_name(function), [])
        first = function.value if isinstance(function, ast.Attribute) else function
        if isinstance(first, ast.Name) and first.id in self._foreign:
            found = []
        if not found or argument is None:
            self.is_unsure = True
            return
        for callee in found:
            parameters = [name for name in _parameters(callee) if name not in {"self", "cls"}]
            if isinstance(argument, int):
                name = parameters[argument] if argument < len(parameters) else ""
            else:
                name = argument if argument in parameters else ""
            if name:
                self._add(callee, {name})
            else:
                self.is_unsure = True

    def _is_values(self, node: ast.expr, names: set[str]) -> bool:
        """Return whether an expression is the hyperparameters."""
        if isinstance(node, ast.Name):
            return node.id in names
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return node.attr == "options" or (node.value.id == "self" and node.attr in self._attributes)
        return False

    def _read_key(self, key: ast.expr | None) -> None:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            self.names.add(key.value)
        elif isinstance(key, ast.JoinedStr):
            parts = (
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in key.values
            )
            self.patterns.append(re.compile("".join(parts)))
        else:
            self.is_unsure = True


def _is_own(owner: type) -> bool:
    is_base = owner.__name__ == "Recipe" and owner.__module__.startswith("mlctl.")
    return owner is not object and not is_base


def _source_files(classes: Iterable[type]) -> list[Path]:
    """Return the files of the classes, and the files beside them that they import."""
    files = [local_modules.static_sources(Path(inspect.getfile(owner))) for owner in classes]
    return sorted({file for found in files for file in found})


def _imported_names(tree: ast.Module, files: Iterable[Path]) -> set[str]:
    """Return the names that a file imports from elsewhere than the recipe's own files."""
    own = {part for file in files for part in (file.stem, file.parent.name)}
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                alias.asname or alias.name.partition(".")[0]
                for alias in node.names
                if alias.name.partition(".")[0] not in own
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in {*own, ""}:
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _called_name(function: ast.expr) -> str:
    if isinstance(function, ast.Call):
        return _called_name(function.func)
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
