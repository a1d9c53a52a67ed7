"""The encoder of a table: what each step makes, and that its saved state encodes the same."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mlctl.data.dataset import Dataset, Split
from mlctl.recipes import encoders as make
from mlctl.recipes import tabular
from mlctl.serving import scoring
from mlctl.serving.scoring import Table, encoder_from

FRAME = pd.DataFrame({
    "size": [1.0, 2.0, 3.0, 4.0, np.nan, 100.0],
    "member": ["yes", "no", "Yes", None, "no", "yes"],
    "said": ["good, very good", "bad", "good", None, "very bad", "fine"],
    "day": ["2024-01-01", "2024-07-01", "2023-12-31", None, "2024-01-01", "2024-02-29"],
    "town": ["a", "b", "a", "c", None, "a"],
})  # fmt: skip


def unscaled(encoder: Table, rows: pd.DataFrame) -> np.ndarray:
    ((_, _, features),) = encoder._features(rows)
    return features


def test_bins_fill_one_after_another() -> None:
    encoder = make.table(FRAME, make.bins("size", most=4))
    features = unscaled(encoder, FRAME.iloc[[0, 5]])
    assert (features[0] == 0).all()
    assert (features[1] == 1).all()
    middle = unscaled(encoder, FRAME.iloc[[2]])[0]
    assert (np.diff(middle) <= 0).all()


def test_yes_no_and_a_gap() -> None:
    features = unscaled(make.table(FRAME, make.boolean("member")), FRAME)
    assert features[:, 0].tolist() == [1, -1, 1, 0, -1, 1]


def test_only_words_that_occur_twice_count() -> None:
    encoder = make.table(FRAME, make.text("said", most=10))
    assert encoder.steps[0]["known"] == ["bad", "good", "very"]
    assert unscaled(encoder, FRAME)[0].tolist() == [0, 1, 1]


def test_the_most_frequent_categories_count() -> None:
    encoder = make.table(FRAME, make.category("town", most=1))
    assert encoder.steps[0]["known"] == ["a"]


def test_dates_have_seasons_weekdays_and_gaps() -> None:
    features = unscaled(make.table(FRAME, make.date("day", "ISO8601")), FRAME)
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


def test_what_is_no_date_is_a_gap_only_where_training_had_such() -> None:
    rows = FRAME.assign(odd=["2024-01-01", "x", "2024-01-01", None, "2024-01-03", "2024-01-04"])
    kinds = {"extra": {"formats": {"day": "ISO8601", "odd": "ISO8601"}}}
    few = Split(rows.iloc[:1], np.zeros(1))
    split = Split(rows, np.zeros(6))
    for data in (Dataset("rows", split, few, **kinds), Dataset("rows", few, few, split, **kinds)):
        assert [tabular.date(data, name)[0]["sure"] for name in ("day", "odd")] == [True, False]
    wrong = rows.assign(day="31.12.2021", odd="31.12.2021").iloc[2:]
    assert unscaled(make.table(rows, make.date("odd", "ISO8601")), wrong)[:, -1].tolist() == [1] * 4
    sure = make.table(rows, make.date("day", "ISO8601", sure=True))
    assert unscaled(sure, rows)[:, -1].tolist() == [0, 0, 0, 1, 0, 0]
    with pytest.raises(
        scoring.BadCell, match=r'"31.12.2021" in row 2, column "day" is not a date such as 2021-12-31'
    ):
        sure(wrong)
    slashes = rows.assign(day="05/06/2024")
    other = make.table(slashes, make.date("day", "%d/%m/%Y", sure=True))
    with pytest.raises(scoring.BadCell, match="such as 31/12/2021"):
        other(rows)


def test_a_table_is_encoded_a_piece_at_a_time_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(1e3, 1, (700, 6)), columns=list("abcdef")).assign(day="2024-02-29")
    rows.loc[::5, "a"] = np.nan
    steps = [
        *make.number("a", "b"),
        *make.bins("c", "d", most=24),
        *make.missing("a"),
        *make.date("day", "ISO8601"),
    ]
    whole = make.table(rows, steps)
    encoded, features = whole(rows), unscaled(whole, rows)
    assert np.array_equal(whole.mean, features.mean(axis=0))
    deviation = features.std(axis=0)
    assert np.array_equal(whole.scale, np.where(deviation > 1e-12, deviation, 1.0))
    monkeypatch.setattr(scoring, "_TABLE_ROWS", 64)
    monkeypatch.setattr(scoring, "_TABLE_CELLS", 500)
    assert max(features.size for _, _, features in whole._features(rows)) < 64 * 32
    pieces = make.table(rows, steps)
    assert np.array_equal(pieces.mean, whole.mean)
    assert np.array_equal(pieces.scale, whole.scale)
    assert np.array_equal(pieces(rows), encoded)
    assert pieces.widths(rows) == [1, 1, 24, 24, 1, 8]


@pytest.mark.parametrize(("columns", "bins"), [(100, 24), (300, 8), (700, 4)])
def test_a_wide_table_has_fewer_bins_a_column(columns: int, bins: int) -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, columns))).add_prefix("x")
    split = Split(rows, np.zeros(60))
    data = Dataset("rows", split, split, extra={"columns": dict.fromkeys(rows, "number")})
    assert tabular.Tabular().encoder(data)(rows).shape == (60, columns * (1 + bins))
