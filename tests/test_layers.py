"""The import graph, read from the source: layers, rooms, and no circles.

A layer is a folder or module directly below mlctl/. A room is a folder below services, adapters or data, such as
services/tuning; the modules that lie directly in one of these layers are a room of their own. Imports inside
functions, imports for type checking and imports of a module by its name all count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from mlctl.adapters.system.packaging import SERVING_PARTS

pytestmark = pytest.mark.unit

PACKAGE = Path(__file__).parents[1] / "mlctl"
GROUND = {
    "credentials",
    "domain",
    "errors",
    "files",
    "machine",
    "mysql",
    "notifications",
    "pictures",
    "s3",
    "scores",
    "settings",
    "units",
}
MAY_IMPORT = {
    "cli": {"services", "adapters", "output", "recipes"} | GROUND,
    "output": GROUND,
    "services": {"adapters", "recipes", "data", "serving", "tracking_server"} | GROUND,
    "adapters": {"recipes", "data", "serving"} | GROUND,
    "recipes": {"data", "serving"} | GROUND,  # one encoder code for training and for the logged model
    "data": (GROUND | {"serving"}) - {"scores"},  # one parser of dates for training and for the logged model
    "serving": {"domain", "errors", "files", "machine", "notifications", "pictures", "units"},
    "tracking_server": {
        "files",
        "machine",
        "mysql",
        "notifications",
        "s3",
        "domain",
        "errors",
    },  # it runs alone
    "__main__": {"cli", "errors"},
    "__init__": set(),
    "keras": {"services", "run_recorder"},  # what scripts and notebooks import
    "run_recorder": {"services", "adapters", "domain"},
    "credentials": {"errors", "files"},
    "domain": {"errors", "units"},
    "errors": set(),
    "files": {"errors"},
    "machine": set(),
    "mysql": set(),
    "notifications": {"errors"},
    "pictures": set(),
    "s3": {"domain", "errors"},
    "scores": {"data", "domain", "errors"},
    "settings": {"errors", "files", "mysql", "notifications", "units", "credentials"},
    "units": {"errors"},
}
# the rooms of services, from the top down: a room imports only rooms of lower groups
SERVICE_ROOMS = [
    {"project", ""},  # the doctor trains a model
    {"workflows"},
    {"reports"},
    {"automl", "tuning"},
    {"scripts"},
    {"training", "registry", "serving", "server"},
    {"evaluation"},
    {"models"},
    {"recipes", "runs"},
]
HEAVY = {  # only adapters, recipes, data and served processes import these
    "boto3", "botocore", "keras", "keras_tuner", "lightgbm", "matplotlib", "mlflow", "onnx", "onnxruntime",
    "optuna", "ray", "requests", "sklearn", "sqlalchemy", "tensorflow", "urllib",
}  # fmt: skip


ENTRY_POINTS = "mlctl.recipes"  # name of an entry-point group, and of a package
TAGS = "mlctl.domain.tags"  # its strings are names of tags, some of which are also names of modules
WITH_ROOMS = {"services", "adapters", "data"}


def module_names(package: Path) -> dict[str, Path]:
    """Return the dotted name of each module below a package, such as mlctl.cli.app, with its file."""
    names = {}
    for file in sorted(package.rglob("*.py")):
        parts = [package.name, *file.relative_to(package).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return names


def imports(name: str, file: Path, modules: Mapping[str, Path]) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for each import in a file; a module outside the package has its own name."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{module}.{alias.name}"
                yield node.lineno, full if full in modules else module
        elif name == TAGS or not isinstance(node, ast.Constant):
            continue
        elif node.value in modules and node.value != ENTRY_POINTS:
            yield node.lineno, node.value  # import_module("mlctl.x.y"), python -m mlctl.x.y


def room(module: str) -> str:
    """Return the room of a module: its layer, and the folder below it if the layer has rooms."""
    parts = module.split(".")[1:]
    if not parts or parts[0] not in WITH_ROOMS:
        return "".join(parts[:1])
    path = PACKAGE.joinpath(*parts[:2])
    return "/".join(parts[:2] if len(parts) > 1 and path.is_dir() else parts[:1])


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (strongly connected, more than one node)."""
    order: list[str] = []
    visited: set[str] = set()

    def visit(node: str, edges: Mapping[str, Iterable[str]], into: list[str]) -> None:
        stack = [(node, iter(edges.get(node, ())))]
        visited.add(node)
        while stack:
            current, following = stack[-1]
            for target in following:
                if target not in visited:
                    visited.add(target)
                    stack.append((target, iter(edges.get(target, ()))))
                    break
            else:
                into.append(current)
                stack.pop()

    for node in graph:
        if node not in visited:
            visit(node, graph, order)
    reverse: dict[str, list[str]] = {}
    for node, targets in graph.items():
        for target in targets:
            reverse.setdefault(target, []).append(node)
    visited.clear()
    groups: list[list[str]] = []
    for node in reversed(order):
        if node not in visited:
            group: list[str] = []
            visit(node, reverse, group)
            groups.append(sorted(group))
    return [group for group in groups if len(group) > 1]


MODULES = module_names(PACKAGE)
IMPORTS = {name: list(imports(name, file, MODULES)) for name, file in MODULES.items()}
OWN_IMPORTS = {
    name: [(line, target) for line, target in imported if target in MODULES and target != name]
    for name, imported in IMPORTS.items()
}


def layer(module: str) -> str:
    return [*module.split("."), "__init__"][1]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_between_layers(module: str) -> None:
    own = layer(module)
    assert own in MAY_IMPORT, f"{own} is a new layer: add it to MAY_IMPORT"
    wrong = [
        f"line {line}: {own} imports {target}"
        for line, target in OWN_IMPORTS[module]
        if layer(target) not in MAY_IMPORT[own] | {own, "__init__"}
    ]
    assert not wrong, "\n".join(wrong)


def test_exported_models_have_what_serving_imports() -> None:
    parts = {part.removesuffix(".py") for part in SERVING_PARTS}
    assert MAY_IMPORT["serving"] | {"serving", "__init__"} == parts


def test_services_import_down_between_rooms() -> None:
    height = {name: level for level, names in enumerate(SERVICE_ROOMS) for name in names}
    wrong = []
    for module, imported in OWN_IMPORTS.items():
        if layer(module) != "services":
            continue
        own = room(module).removeprefix("services").lstrip("/")
        for line, target in imported:
            if layer(target) == "services":
                other = room(target).removeprefix("services").lstrip("/")
                if other not in {own, ""} and height[other] <= height[own]:
                    wrong.append(f"{MODULES[module]}:{line}: {own} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_no_circle_between_files() -> None:
    assert circles({name: [target for _, target in imported] for name, imported in OWN_IMPORTS.items()}) == []


def test_no_circle_between_rooms() -> None:
    graph: dict[str, set[str]] = {}
    for module, imported in OWN_IMPORTS.items():
        targets = graph.setdefault(room(module), set())
        targets |= {room(target) for _, target in imported if target != "mlctl"} - {room(module)}
    graph.pop("", None)
    assert circles(graph) == []


def test_heavy_libraries_are_used_below_services_only() -> None:
    wrong = [
        f"{MODULES[module]}:{line}: {target}"
        for module, imported in IMPORTS.items()
        if layer(module) in {"cli", "output", "services", "domain", "settings", "errors"}
        for line, target in imported
        if target.partition(".")[0] in HEAVY and target != "urllib.parse"
    ]
    assert not wrong, "\n".join(wrong)


def test_commands_call_services_and_not_adapters() -> None:
    """Only completion, which must be fast, reads the store itself."""
    callers = {
        module
        for module, imported in OWN_IMPORTS.items()
        if layer(module) == "cli" and "adapters" in {layer(target) for _, target in imported}
    }
    assert callers == {"mlctl.cli.completion_values"}


def test_imports_of_every_kind_are_read(tmp_path: Path) -> None:
    package = tmp_path / "mlctl"
    for path, text in {
        "__init__.py": "",
        "output.py": "",
        "cli/__init__.py": "",
        "cli/app.py": "",
        "services/__init__.py": "",
        "services/b.py": "START = ['-m', 'mlctl.cli.app']\n",
        "services/a.py": "from mlctl import output\ndef f():\n    import mlctl.cli.app\n    from . import b\n",
    }.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text, encoding="utf-8")
    modules = module_names(package)
    assert list(imports("mlctl.services.a", modules["mlctl.services.a"], modules)) == [
        (1, "mlctl.output"),
        (3, "mlctl.cli.app"),
        (4, "mlctl.services.b"),
    ]
    assert list(imports("mlctl.services.b", modules["mlctl.services.b"], modules)) == [(1, "mlctl.cli.app")]


def test_circles_are_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": []}) == [["a", "b", "c"]]
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == []
