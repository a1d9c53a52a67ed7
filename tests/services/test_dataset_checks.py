"""What mlctl train and mlctl recipes check refuse of a recipe's data, before TensorFlow is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlctl import settings
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError
from mlctl.recipes import resolve
from mlctl.services.recipes.notes import uses_tf_random
from mlctl.services.recipes.prepare import PreparedData, check_values, prepare
from tests.trained import TINY

pytestmark = pytest.mark.unit

RETURNED = 'Dataset("tiny", *splits, classes=("no", "yes"), source="generated")'
ENCODER = """
    def encoder(self, data):
        return {}
"""


def prepared(folder: Path, *changes: tuple[str, str], extra: str = "") -> PreparedData:
    text = TINY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "tiny.py").write_text(text + extra)
    resolved = resolve(str(folder / "tiny.py"))
    return prepare(settings.load({}), resolved, check_values(resolved, {}), listener=NullProgress())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("y[rows])", "y[rows][:3])"), "train targets for 3 rows, but 80 inputs"),
        (("y[rows])", "np.where(y[rows], np.nan, 0))"), "train targets that are NaN or infinite"),
        (("y[rows])", "y[rows], np.full(len(y[rows]), np.inf))"), "train weights that are NaN"),
        (("y[rows])", "y[rows] * 7)"), "train targets"),
        (("(slice(80)", "(slice(0)"), "there are no train rows"),
        ((RETURNED, "(1, 2)"), "must return a Dataset, found tuple"),
        ((RETURNED, 'Dataset("tiny", 3)'), "returns an int as its train split"),
        (("x[rows],", "{'a': {'b': x[rows]}},"), "the model's input 'a' is a dict of inputs"),
        (("x[rows],", "(x[rows], (x[rows],)),"), "the model's input 1 is a tuple of inputs"),
        (("x[rows],", "x[rows] * np.nan,"), "encoded inputs hold NaN or infinity"),
        (("x[rows],", "{'a': x[rows], 'b': x[:1]},"), "train inputs 'b' for 1 rows, but 80 inputs"),
    ],
)
def test_data_that_does_not_fit_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(BadDataError) as raised:
        prepared(tmp_path, change)
    assert message in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (("y[rows])", "y[rows][:, None])"), (6,)),
        (("y[rows])", "np.where(y[rows], 'yes', 'no'))"), (6,)),
        (("y[rows])", "y[rows] + 1)"), (6,)),
        (("y[rows])", "np.eye(2)[y[rows]])"), (6,)),
        (("x[rows],", "{'a': x[rows], 'b': x[rows][:, :2]},"), {"a": (6,), "b": (2,)}),
        (("x[rows],", "(x[rows], x[rows][:, 0]),"), ((6,), ())),
        (("x[rows],", "x[rows].astype(str)[:, 0],"), ()),
    ],
)
def test_data_that_means_one_thing_is_taken(tmp_path: Path, change: tuple[str, str], shape: Any) -> None:
    assert prepared(tmp_path, change).data.input_shape == shape


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("lambda x: x.tolist()", "found a list"),
        ("lambda x: x - x.mean(axis=0)", "encoded differently alone than among others"),
        ("lambda x: {'a': x, 'b': x - x.mean()}", "than among others for the input 'b'"),
        ("lambda x: 1 / 0", "encoding failed: ZeroDivisionError"),
        ("1 / 0", "making its encoder failed: ZeroDivisionError"),
    ],
)
def test_an_encoder_that_cannot_serve_is_refused(tmp_path: Path, returned: str, message: str) -> None:
    with pytest.raises(BadDataError) as raised:
        prepared(tmp_path, extra=ENCODER.format(returned))
    assert message in raised.value.message


def test_a_table_of_mixed_columns_feeds_inputs_of_their_names(tmp_path: Path) -> None:
    table = "pd.DataFrame({'n': x[rows][:, 0], 'word': ['a'] * len(x[rows])}),"
    found = prepared(
        tmp_path, ("x[rows],", table), ("import numpy as np\n", "import numpy as np\nimport pandas as pd\n")
    )
    assert set(found.data.input_shape) == {"n", "word"}
    assert set(found.encoded(found.data.train)) == {"n", "word"}


def test_rows_padded_to_their_own_length_are_the_same_row(tmp_path: Path) -> None:
    encoder = "lambda rows: np.stack([np.pad(r, (0, int(abs(rows).max() > 2))) for r in rows])"
    assert prepared(tmp_path, extra=ENCODER.format(encoder)).encoder


@pytest.mark.parametrize(
    ("of_class", "of_load", "overrides", "expected"),
    [
        ("", "", {}, None),
        ("", ', class_weight={"yes": 3}', {}, {0: 1.0, 1: 3.0}),
        ("    class_weight = {1: 5.0}\n", "", {}, {0: 1.0, 1: 5.0}),
        ("    class_weight = [2.0, 5.0]\n", ', class_weight={"yes": 3}', {}, {0: 2.0, 1: 5.0}),
        ('    class_weight = option("none")\n', ', class_weight={"yes": 3}', {}, {0: 1.0, 1: 3.0}),
        ('    class_weight = option("none")\n', "", {"class_weight": "balanced"}, "balanced"),
    ],
)
def test_class_weight_reaches_the_data(
    tmp_path: Path, of_class: str, of_load: str, overrides: dict[str, Any], expected: Any
) -> None:
    text = TINY.replace(RETURNED, RETURNED[:-1] + of_load + ")")
    text = text.replace("import Recipe, hyper", "import Recipe, option, hyper")
    text = text.replace("    epochs, batch", of_class + "    epochs, batch")
    (tmp_path / "tiny.py").write_text(text)
    resolved = resolve(str(tmp_path / "tiny.py"))
    data = prepare(
        settings.load({}), resolved, check_values(resolved, overrides), listener=NullProgress()
    ).data
    if expected == "balanced":
        rows = [int((data.train.targets == label).sum()) for label in (0, 1)]
        expected = {label: 80 / (2 * count) for label, count in enumerate(rows)}
    assert data.class_weight == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("call", "uses"), [("tf.random.normal([2])", True), ("keras.random.normal([2])", False)]
)
def test_a_recipe_that_draws_with_tf_random_is_known(tmp_path: Path, call: str, uses: bool) -> None:
    (tmp_path / "tiny.py").write_text(TINY + f"\n    def draw(self):\n        return {call}\n")
    assert uses_tf_random(resolve(str(tmp_path / "tiny.py")).recipe) is uses
