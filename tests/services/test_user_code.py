"""Errors of a recipe's own code: the user's line, and the cause without what TensorFlow puts around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import Recipe, find
from mlctl.services.recipes.user_code import MAX_CAUSE, describe, recipe_errors
from tests.trained import TINY

pytestmark = pytest.mark.unit

IN_USER_CODE = """in user code:

    File "/home/me/mine.py", line 12, in call  *
        return helper(x)
    File "/home/me/helper.py", line 3, in helper  *
        raise ValueError("no")

    ValueError: the widths differ
"""
CALLING = (
    "Exception encountered when calling Net.call().\n\n\x1b[1mIn0: [4,8], In1: [3,3] [Op:MatMul] name: \x1b[0m"
    "\n\nArguments received by Net.call():\n  • x=tf.Tensor(shape=(4, 8), dtype=float32)"
)
IN_GRAPH = """Graph execution error:

Detected at node Check defined at (most recent call last):
  File "/home/me/mine.py", line 7, in call

  File "/usr/lib/keras/src/ops.py", line 99, in check

labels out of range: 5
\t [[{{node Check}}]] [Op:__inference_step_12]"""
FUNCTION_NODE = (
    "{{function_node __wrapped__Mul_device_/job:localhost}} Incompatible shapes: [2] vs. [3] [Op:Mul] name: "
)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("plain", "plain"),
        ("two\n  lines", "two lines"),
        (IN_USER_CODE, "the widths differ"),
        (CALLING, "In0: [4,8], In1: [3,3] (in Net.call())"),
        (IN_GRAPH, "labels out of range: 5"),
        (FUNCTION_NODE, "Incompatible shapes: [2] vs. [3]"),
    ],
)
def test_the_cause_is_what_is_wrong(message: str, cause: str) -> None:
    assert describe(ValueError(message)) == f"ValueError: {cause}"


def test_a_missing_key_is_quoted_and_an_empty_message_left_out() -> None:
    assert describe(KeyError("a")) == "KeyError: 'a'"
    assert describe(ValueError()) == "ValueError"


def test_a_long_cause_keeps_its_beginning_and_its_end() -> None:
    text = describe(ValueError("start " + "x" * 10_000 + " end"))
    assert len(text) < MAX_CAUSE + 50
    assert text.startswith("ValueError: start")
    assert text.endswith("end")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "helper.py").write_text("def fail():\n    raise ValueError('too few')\n")
    text = TINY.replace("import numpy as np\n", "import numpy as np\nfrom helper import fail\n", 1)
    text += (
        "\n    def call(self, error):\n        raise error\n\n    def call_helper(self):\n        fail()\n"
    )
    (tmp_path / "tiny.py").write_text(text)
    return find(str(tmp_path / "tiny.py"))


def test_the_line_of_the_recipe_is_named(recipe: Recipe, tmp_path: Path) -> None:
    number = (tmp_path / "tiny.py").read_text().splitlines().index("        raise error") + 1
    with pytest.raises(BadDataError) as raised, recipe_errors(recipe, "testing"):
        recipe.call(ValueError("no"))  # type: ignore[attr-defined]
    assert raised.value.message == f"{tmp_path}/tiny.py, line {number}: testing failed: ValueError: no"


def test_the_line_of_a_module_beside_the_recipe_is_named(recipe: Recipe, tmp_path: Path) -> None:
    message = r"helper\.py, line 2: testing failed: ValueError: too few"
    with pytest.raises(BadDataError, match=message), recipe_errors(recipe, "testing"):
        recipe.call_helper()  # type: ignore[attr-defined]


def test_other_ends_stay_what_they_are(recipe: Recipe) -> None:
    for error in (KeyboardInterrupt(), UsageError("wrong", "")):
        with pytest.raises(type(error)), recipe_errors(recipe, "testing"):
            recipe.call(error)  # type: ignore[attr-defined]


def test_sys_exit_and_too_little_memory_are_errors(recipe: Recipe) -> None:
    with pytest.raises(BadDataError, match=r"it called sys\.exit\(3\)"), recipe_errors(recipe, "testing"):
        recipe.call(SystemExit(3))  # type: ignore[attr-defined]
    with pytest.raises(BadDataError) as raised, recipe_errors(recipe, "testing"):
        recipe.call(MemoryError("7 PiB"))  # type: ignore[attr-defined]
    assert "smaller batches" in raised.value.hint
