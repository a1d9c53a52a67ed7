"""What makes a file a script, its arguments as they are typed, and the project files of a script."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlctl.adapters.scripts.execution import find_program
from mlctl.cli.app import run
from mlctl.domain.script import ScriptRequest, parse_arguments
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UsageError
from mlctl.recipes.declares import declares_recipe, is_script
from mlctl.services.project.init import create_project
from mlctl.services.scripts.fit_record import FitRecord
from mlctl.services.training.resume_point import ResumePoint

pytestmark = pytest.mark.unit

RECIPE = "from mlctl.recipes import Recipe\nclass Mine(Recipe): ...\n"
SCRIPT = "import keras\nclass Net(keras.Model): ...\nNet().fit()\n"


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("--epoch 10 --batchsize=500", {"epoch": "10", "batchsize": "500"}),
        ("-n 3 --verbose --lr 1e-3", {"n": "3", "verbose": "true", "lr": "1e-3"}),
        ("--shift -0.5 --name=", {"shift": "-0.5", "name": ""}),
        ("--hidden 64 32 --lr 1", {"hidden": "64,32", "lr": "1"}),
        ("--tag a --tag b", {"tag": "a,b"}),
        ("500 data.csv --out x", {"argument_1": "500", "argument_2": "data.csv", "out": "x"}),
        ("train lr=0.1 -- --odd", {"argument_1": "train", "argument_2": "lr=0.1", "odd": "true"}),
        ("", {}),
    ],
)
def test_arguments_are_read_without_their_parser(typed: str, values: dict[str, str]) -> None:
    assert parse_arguments(shlex.split(typed)) == values


@pytest.mark.parametrize(
    ("text", "declares"),
    [
        (RECIPE, True),
        ("import mlctl.recipes\nclass Mine(mlctl.recipes.Recipe): ...\n", True),
        ("from base import Base\nclass Mine(Base): ...\n", True),
        (SCRIPT, False),
        ("import mlctl.keras\nclass Net: ...\n", False),
        ("from mlctl.recipes import Dataset\nprint(Dataset)\n", False),
        ("from mlctl.recipes import Recipe\nclass Mine(Recipe:\n", True),
        ("print('class Mine(Recipe)')\n", False),
    ],
)
def test_a_file_with_a_recipe_is_no_script(tmp_path: Path, text: str, declares: bool) -> None:
    (tmp_path / "base.py").write_text(RECIPE)
    file = tmp_path / "mine.py"
    file.write_text(text)
    assert declares_recipe(file) is declares
    assert is_script(str(file)) is not declares
    assert is_script(str(file), script=True)
    assert not is_script(str(file), script=False)
    assert is_script("package.module", module=True)
    assert not is_script("digits")
    assert not is_script(str(tmp_path))


def test_programs_are_found_as_python_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "houses"
    package.mkdir()
    for name in ("__init__.py", "__main__.py", "train.py"):
        (package / name).write_text("")
    file = find_program("houses/train.py", "")
    assert (file.file, file.import_folder) == (Path("houses/train.py"), package)
    module = find_program("", "houses.train")
    assert (module.file, module.import_folder) == (package / "train.py", tmp_path)
    assert find_program("", "houses").file == package / "__main__.py"
    for script, name in (("absent.py", ""), ("", "houses.absent"), ("", "absent")):
        with pytest.raises(NotFoundError, match="absent"):
            find_program(script, name)
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(BadDataError, match=r"broken\.py, line 1"):
        find_program("broken.py", "").code()


def test_a_request_survives_its_tag() -> None:
    request = ScriptRequest(script="train.py", arguments=("--lr", "1"), folder="/work", epochs=3, seed=1)
    assert ScriptRequest.from_tag(request.to_tag()) == request
    assert (request.name, ScriptRequest(module="houses.train").name) == ("train", "train")


def test_init_writes_the_project_of_a_script(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text(SCRIPT)
    create_project(tmp_path, Path("src/train.py"))
    assert 'command: "mlctl train src/train.py --"' in (tmp_path / "MLproject").read_text()
    with pytest.raises(NotFoundError, match=r"absent\.py"):
        create_project(tmp_path, Path("absent.py"))


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        ("train train.py --precision float32", "--precision is not for a script"),
        ("train train.py --set units=3", "--set is not for a script"),
        ("tune train.py --space lr=1|2 --finalists 3", "--finalists is not for a script"),
        ("train digits --keep last", "--keep is not for a recipe"),
        ("train digits --model teacher", "--model is not for a recipe"),
        ("train digits -- --lr 1", "--lr 1 is not for a recipe"),
        ("tune digits --flag-style equals", "--flag-style is not for a recipe"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    refused: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    assert run(shlex.split(command)) == UsageError.exit_code
    assert refused in capsys.readouterr().err


def test_a_resumed_script_refuses_other_data() -> None:
    point = ResumePoint(folder=Path(), header={}, data_sha256="a" * 64)
    for sha256, resume_point in (
        ("a" * 64, point),
        ("b" * 64, None),
        ("b" * 64, replace(point, data_sha256="")),
    ):
        FitRecord(SimpleNamespace(resume_point=resume_point))._check_unchanged(sha256)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="aaaaaaaaaaaa then, bbbbbbbbbbbb now"):
        FitRecord(SimpleNamespace(resume_point=point))._check_unchanged("b" * 64)  # type: ignore[arg-type]
