"""The encoder of a table: what each step makes, and that its saved state encodes the same."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from mlctl.recipes import encoders as make
from mlctl.serving.scoring import encoder_from

FRAME = pd.DataFrame({
    "size": [1.0, 2.0, 3.0, 4.0, np.nan, 100.0],
    "member": ["yes", "no", "Yes", None, "no", "yes"],
    "said": ["good, very good", "bad", "good", None, "very bad", "fine"],
    "day": ["2024-01-01", "2024-07-01", "2023-12-31", None, "2024-01-01", "2024-02-29"],
    "town": ["a", "b", "a", "c", None, "a"],
})  # fmt: skip


def test_bins_fill_one_after_another() -> None:
    encoder = make.table(FRAME, make.bins("size", most=4))
    features = encoder._features(FRAME.iloc[[0, 5]])
    assert (features[0] == 0).all()
    assert (features[1] == 1).all()
    middle = encoder._features(FRAME.iloc[[2]])[0]
    assert (np.diff(middle) <= 0).all()


def test_yes_no_and_a_gap() -> None:
    features = make.table(FRAME, make.boolean("member"))._features(FRAME)
    assert features[:, 0].tolist() == [1, -1, 1, 0, -1, 1]


def test_only_words_that_occur_twice_count() -> None:
    encoder = make.table(FRAME, make.text("said", most=10))
    assert encoder.steps[0]["known"] == ["bad", "good", "very"]
    assert encoder._features(FRAME)[0].tolist() == [0, 1, 1]


def test_the_most_frequent_categories_count() -> None:
    encoder = make.table(FRAME, make.category("town", most=1))
    assert encoder.steps[0]["known"] == ["a"]


def test_dates_have_seasons_weekdays_and_gaps() -> None:
    features = make.table(FRAME, make.date("day", "ISO8601"))._features(FRAME)
    years, gap = features[:, 0], features[:, -1]
    assert gap.tolist() == [0, 0, 0, 1, 0, 0]
    assert 23.9 < years[0] < 24.1
    assert features[3, :-1].tolist() == [0] * (features.shape[1] - 1)
    weekday = features[:, 3:5]  # 2024-01-01 and 2024-07-01 are Mondays, 2023-12-31 a Sunday
    assert np.allclose(weekday[0], weekday[1])
    assert not np.allclose(weekday[0], weekday[2])


def test_a_saved_encoder_encodes_the_same_also_unseen_and_absent_columns() -> None:
    steps = [
        *make.number("size"), *make.bins("size", most=3), *make.missing("size"), *make.boolean("member"),
        *make.text("said", most=5), *make.date("day", "ISO8601"), *make.category("town"),
    ]  # fmt: skip
    encoder = make.table(FRAME, steps)
    again = encoder_from(json.loads(json.dumps({"kind": encoder.kind, **encoder.state()})))
    assert np.array_equal(encoder(FRAME), again(FRAME))
    strange = pd.DataFrame({"size": [np.nan], "town": ["nowhere"], "day": ["no day"]})
    assert np.isfinite(again(strange)).all()
    assert np.array_equal(again(FRAME)[2:3], again(FRAME.iloc[[2]]))
