"""The arrows of the layers, read from the source: who may import whom, inside functions too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mlctl"
GROUND = {"credentials", "domain", "errors", "machine", "scores", "settings"}  # nothing stands below these
MAY_IMPORT = {
    "cli": {"services", "adapters", "output", "recipes"} | GROUND,
    "output": GROUND,
    "services": {"adapters", "recipes", "data", "serving", "tracking_server"} | GROUND,
    "adapters": {"recipes", "data", "serving"} | GROUND,
    "recipes": {"data", "serving"} | GROUND,  # one encoder code for training and for the logged model
    "data": GROUND,
    "serving": {"domain", "errors", "machine"},
    "domain": {"errors"},
    "settings": {"errors"},
    "errors": set(),
    "credentials": {"errors"},
    "machine": set(),
    "tracking_server": {"machine"},  # it runs alone
    "scores": set(),
    "__main__": {"cli", "errors"},
    "__init__": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def layer(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path, root: Path = PACKAGE) -> Iterator[tuple[int, str]]:
    """Yield (line, layer) of each import of mlctl's own; TYPE_CHECKING ones count too."""
    package = ["mlctl", *file.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"mlctl.{one.name}" for one in node.names] if module == "mlctl" else [module]
        for name in names:
            parts = name.split(".")
            if parts[0] == "mlctl" and len(parts) > 1 and parts[1] != "__version__":
                yield node.lineno, parts[1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(file: Path) -> None:
    own = layer(file)
    assert own in MAY_IMPORT, f"{file.name}: a layer that DESIGN does not know"
    wrong = [
        f"line {line}: {own} imports {other}"
        for line, other in imported(file)
        if other not in MAY_IMPORT[own] | {own}
    ]
    assert not wrong, "\n".join(wrong)


def test_the_command_line_reaches_adapters_for_a_tab_alone() -> None:
    """A command calls its service; only the answer to a TAB press, which has no time, looks itself."""
    reaching = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        if layer(file) == "cli" and "adapters" in {b for _, b in imported(file)}
    }
    assert reaching == {"cli/complete.py"}


def test_the_check_sees_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    bad = tmp_path / "services" / "bad.py"
    bad.write_text(
        "from mlctl import output\ndef f():\n    import mlctl.cli.app\n"
        "    from ..adapters import x\n    from . import y\n",
        encoding="utf-8",
    )
    assert list(imported(bad, tmp_path)) == [(1, "output"), (3, "cli"), (4, "adapters"), (5, "services")]
