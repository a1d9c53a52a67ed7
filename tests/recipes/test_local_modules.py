"""Modules beside a recipe file: imported as a script would, and never shared between recipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mlctl.errors import BadDataError
from mlctl.recipes import Recipe, find
from mlctl.recipes.lookup import error_location, local_sources

RECIPE = """
from mlctl.recipes import Recipe
{imports}


class Own(Recipe):
    def load(self, source):
        return {value}
"""

pytestmark = pytest.mark.unit


def write(folder: Path, **files: str) -> Path:
    """Write files, `a__b` as a/b.py and `a__init` as a/__init__.py; return the recipe's."""
    for name, text in files.items():
        package, _, module = name.rpartition("__")
        path = folder / package / f"{'__init__' if module == 'init' else module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "mine.py"


def load(recipe: Recipe) -> Any:
    return recipe.load(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("imports", "value"),
    [
        ("import mynet", "mynet.VALUE"),
        ("import mynet as net", "net.VALUE"),
        ("from mynet import VALUE", "VALUE"),
        ("from mynet import *", "VALUE"),
        ("import parts.inner", "parts.inner.VALUE"),
        ("import parts.inner as inner", "inner.VALUE"),
        ("from parts import inner", "inner.VALUE"),
        ("from parts.inner import VALUE as found", "found"),
        ("import parts", "parts.VALUE"),
        ("from .mynet import VALUE", "VALUE"),
        ("import bare.leaf", "bare.leaf.VALUE"),
    ],
)
def test_a_module_or_package_beside_the_recipe_is_imported(tmp_path: Path, imports: str, value: str) -> None:
    path = write(
        tmp_path,
        mine=RECIPE.format(imports=imports, value=value),
        mynet="VALUE = 3",
        parts__init="",
        parts__inner="from mynet import VALUE",
        bare__leaf="VALUE = 3",  # a folder without __init__.py
    )
    (tmp_path / "parts" / "__init__.py").write_text("from .inner import VALUE")
    assert load(find(str(path))) == 3
    assert "mynet" not in sys.modules
    assert str(tmp_path) not in sys.path
    assert not list(tmp_path.rglob("__pycache__"))


def test_an_import_inside_a_method_works_after_loading(tmp_path: Path) -> None:
    text = RECIPE.format(imports="", value="self.late()")
    text += "\n    def late(self):\n        import mynet\n        return mynet.VALUE\n"
    assert load(find(str(write(tmp_path, mine=text, mynet="VALUE = 4")))) == 4


def test_recipes_with_modules_of_the_same_name_do_not_mix(tmp_path: Path) -> None:
    text = RECIPE.format(imports="from mynet import value", value="value()")
    late = "def value():\n    import leaf\n    return leaf.VALUE"
    first, second = (
        find(str(write(tmp_path / name, mine=text, mynet=late, leaf=f"VALUE = {name!r}"))) for name in "ab"
    )
    assert (load(first), load(second), load(first)) == ("a", "b", "a")


def test_a_changed_module_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, mine=RECIPE.format(imports="import mynet", value="mynet.VALUE"), mynet="VALUE = 1")
    assert load(find(str(path))) == 1
    (tmp_path / "mynet.py").write_text("VALUE = 2")
    assert load(find(str(path))) == 2


def test_installed_packages_and_mlctl_are_not_hidden(tmp_path: Path) -> None:
    """A folder of data that is named as a package, and a checkout of mlctl, may lie beside a recipe."""
    path = write(
        tmp_path,
        mine=RECIPE.format(imports="import yaml", value="yaml.safe_load('3')"),
        yaml__notes="x = 1",
        mlctl__init="raise RuntimeError",
    )
    assert load(find(str(path))) == 3


def test_local_sources_are_the_files_that_a_recipe_uses(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        mine=RECIPE.format(imports="import parts.inner", value="0")
        + "\n    def late(self):\n        from leaf import x\n",
        parts__init="",
        parts__inner="from .deep import x",
        parts__deep="import numpy\nx = 1",
        leaf="import leaf",
        unused="",
    )
    names = [file.relative_to(tmp_path).as_posix() for file in local_sources(find(str(path)))]
    assert names == ["leaf.py", "mine.py", "parts/__init__.py", "parts/deep.py", "parts/inner.py"]
    assert [file.name for file in local_sources(find("digits"))] == ["digits.py"]


def test_local_sources_include_what_an_entry_in_sys_path_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    imports = (
        "import sys, pathlib\nsys.path.append(str(pathlib.Path(__file__).parent / 'lib'))\nimport elsewhere_b"
    )
    path = write(
        tmp_path, mine=RECIPE.format(imports=imports, value="elsewhere_b.VALUE"), lib__elsewhere_b="VALUE = 5"
    )
    for _ in range(2):  # the second time, the module is in memory already
        recipe = find(str(path))
        assert load(recipe) == 5
        assert [file.name for file in local_sources(recipe)] == ["elsewhere_b.py", "mine.py"]
    monkeypatch.delitem(sys.modules, "elsewhere_b")


def test_an_error_names_the_innermost_line_of_the_users_folder(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        mine=RECIPE.format(imports="from mynet import fail", value="fail()"),
        mynet="import json\n\ndef fail():\n    return json.loads('{')\n",
    )
    with pytest.raises(ValueError, match="Expecting") as raised:
        load(find(str(path)))
    assert error_location(path, raised.value) == f"{tmp_path / 'mynet.py'}, line 4"


@pytest.mark.parametrize(
    ("mynet", "line", "cause"),
    [
        ("x = 1 / 0", 1, "ZeroDivisionError"),
        ("\n\nx = (", 3, "was never closed"),
        ("import nowhere_b", 1, "nowhere_b"),
        ("from leaf import y", 1, "'y' from 'leaf'"),
    ],
)
def test_an_error_in_a_module_beside_the_recipe_names_its_line(
    tmp_path: Path, mynet: str, line: int, cause: str
) -> None:
    path = write(tmp_path, mine=RECIPE.format(imports="import mynet", value="0"), mynet=mynet, leaf="")
    with pytest.raises(BadDataError, match=cause) as raised:
        find(str(path))
    assert raised.value.message.startswith(f"{tmp_path / 'mynet.py'}, line {line}: ")
