"""The encoder of a table: the features of each step, and its saved state."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mlctl.data.dataset import Dataset, Split
from mlctl.recipes import encoders, tabular
from mlctl.serving import scoring
from mlctl.serving.scoring import TableEncoder, encoder_from_state

pytestmark = pytest.mark.unit

FRAME = pd.DataFrame({
    "size": [1.0, 2.0, 3.0, 4.0, np.nan, 100.0],
    "member": ["yes", "no", "Yes", None, "no", "yes"],
    "remark": ["good, very good", "bad", "good", None, "very bad", "fine"],
    "day": ["2024-01-01", "2024-07-01", "2023-12-31", None, "2024-01-01", "2024-02-29"],
    "town": ["a", "b", "a", "c", None, "a"],
})  # fmt: skip


def unscaled_features(encoder: TableEncoder, rows: pd.DataFrame) -> np.ndarray:
    ((_, _, features),) = encoder.feature_blocks(rows)
    return features


def test_bins_are_cumulative() -> None:
    encoder = encoders.table(FRAME, encoders.bins("size", most=4))
    features = unscaled_features(encoder, FRAME.iloc[[0, 5]])
    assert (features[0] == 0).all()
    assert (features[1] == 1).all()
    middle = unscaled_features(encoder, FRAME.iloc[[2]])[0]
    assert (np.diff(middle) <= 0).all()


def test_booleans_and_missing_values() -> None:
    features = unscaled_features(encoders.table(FRAME, encoders.boolean("member")), FRAME)
    assert features[:, 0].tolist() == [1, -1, 1, 0, -1, 1]


def test_only_words_in_two_rows_are_features() -> None:
    encoder = encoders.table(FRAME, encoders.text("remark", most=10))
    assert encoder.steps[0]["known"] == ["bad", "good", "very"]
    assert unscaled_features(encoder, FRAME)[0].tolist() == [0, 1, 1]


def test_only_the_most_frequent_categories_are_features() -> None:
    encoder = encoders.table(FRAME, encoders.category("town", most=1))
    assert encoder.steps[0]["known"] == ["a"]


def test_dates_have_seasons_weekdays_and_missing_values() -> None:
    features = unscaled_features(encoders.table(FRAME, encoders.date("day", "ISO8601")), FRAME)
    years, missing = features[:, 0], features[:, -1]
    assert missing.tolist() == [0, 0, 0, 1, 0, 0]
    assert 23.9 < years[0] < 24.1
    assert features[3, :-1].tolist() == [0] * (features.shape[1] - 1)
    weekday = features[:, 3:5]  # 2024-01-01 and 2024-07-01 are Mondays, 2023-12-31 a Sunday
    assert np.allclose(weekday[0], weekday[1])
    assert not np.allclose(weekday[0], weekday[2])


def test_a_saved_encoder_encodes_the_same_also_unknown_values_and_missing_columns() -> None:
    steps = [
        *encoders.number("size"), *encoders.bins("size", most=3), *encoders.missing("size"), *encoders.boolean("member"),
        *encoders.text("remark", most=5), *encoders.date("day", "ISO8601"), *encoders.category("town"),
    ]  # fmt: skip
    encoder = encoders.table(FRAME, steps)
    restored = encoder_from_state(json.loads(json.dumps({"kind": encoder.kind, **encoder.state()})))
    assert np.array_equal(encoder(FRAME), restored(FRAME))
    unknown = pd.DataFrame({"size": [np.nan], "town": ["nowhere"], "day": ["no day"]})
    assert np.isfinite(restored(unknown)).all()
    assert np.array_equal(restored(FRAME)[2:3], restored(FRAME.iloc[[2]]))


def test_an_invalid_date_is_missing_only_if_training_had_invalid_dates() -> None:
    rows = FRAME.assign(odd=["2024-01-01", "x", "2024-01-01", None, "2024-01-03", "2024-01-04"])
    kinds = {"extra": {"formats": {"day": "ISO8601", "odd": "ISO8601"}}}
    one_row = Split(rows.iloc[:1], np.zeros(1))
    split = Split(rows, np.zeros(6))
    for data in (Dataset("rows", split, one_row, **kinds), Dataset("rows", one_row, one_row, split, **kinds)):
        assert [tabular.date_step(data, name)[0]["sure"] for name in ("day", "odd")] == [True, False]
    invalid = rows.assign(day="31.12.2021", odd="31.12.2021").iloc[2:]
    assert (
        unscaled_features(encoders.table(rows, encoders.date("odd", "ISO8601")), invalid)[:, -1].tolist()
        == [1] * 4
    )
    sure = encoders.table(rows, encoders.date("day", "ISO8601", sure=True))
    assert unscaled_features(sure, rows)[:, -1].tolist() == [0, 0, 0, 1, 0, 0]
    with pytest.raises(
        scoring.BadCell, match=r'"31.12.2021" in row 2, column "day" is not a date such as 2021-12-31'
    ):
        sure(invalid)
    slashes = rows.assign(day="05/06/2024")
    with_slashes = encoders.table(slashes, encoders.date("day", "%d/%m/%Y", sure=True))
    with pytest.raises(scoring.BadCell, match="such as 31/12/2021"):
        with_slashes(rows)


def test_encoding_in_blocks_gives_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(1e3, 1, (700, 6)), columns=list("abcdef")).assign(day="2024-02-29")
    rows.loc[::5, "a"] = np.nan
    steps = [
        *encoders.number("a", "b"),
        *encoders.bins("c", "d", most=24),
        *encoders.missing("a"),
        *encoders.date("day", "ISO8601"),
    ]
    encoder = encoders.table(rows, steps)
    encoded, features = encoder(rows), unscaled_features(encoder, rows)
    assert np.array_equal(encoder.mean, features.mean(axis=0))
    deviation = features.std(axis=0)
    assert np.array_equal(encoder.scale, np.where(deviation > 1e-12, deviation, 1.0))
    monkeypatch.setattr(scoring, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(scoring, "_BLOCK_CELLS", 500)
    assert max(features.size for _, _, features in encoder.feature_blocks(rows)) < 64 * 32
    in_blocks = encoders.table(rows, steps)
    assert np.array_equal(in_blocks.mean, encoder.mean)
    assert np.array_equal(in_blocks.scale, encoder.scale)
    assert np.array_equal(in_blocks(rows), encoded)
    assert in_blocks.widths() == [1, 1, 24, 24, 1, 8]


@pytest.mark.parametrize(
    ("columns", "rows", "bins"),
    [(12, 3000, 48), (24, 3000, 12), (40, 3000, 4), (40, 20_000, 48), (300, 20_000, 8), (700, 20_000, 4)],
)
def test_more_numeric_columns_have_fewer_bins_each(columns: int, rows: int, bins: int) -> None:
    assert tabular._bins_of(columns, rows) == bins


def table_of_numbers(columns: int, rows: int) -> Dataset:
    """Return a table whose first column determines the target, and whose others are chance."""
    inputs = pd.DataFrame(np.random.default_rng(0).normal(size=(rows, columns))).add_prefix("x")
    split = Split(inputs, inputs["x0"].to_numpy() ** 3)
    return Dataset("rows", split, split, extra={"columns": dict.fromkeys(inputs, "number")})


def test_many_numbers_are_weighted_by_what_they_tell_about_the_target() -> None:
    data = table_of_numbers(24, 300)
    encoded = tabular.Tabular().encoder(data)(data.train.inputs)
    spread = np.abs(encoded.reshape(300, 24, 1 + 12)).max(axis=(0, 2))
    assert spread[0] >= 1
    assert spread[1:].max() < 0.5
    assert spread[1:].min() >= 0.1  # no column is drowned


@pytest.mark.parametrize(("columns", "rows"), [(12, 300), (30, 200)])
def test_numbers_are_not_weighted_if_they_are_few_or_have_few_rows(columns: int, rows: int) -> None:
    data = table_of_numbers(columns, rows)
    assert all("weight" not in step for step in tabular.Tabular().encoder(data).steps)


def test_weights_multiply_scaled_features() -> None:
    plain, weighted = encoders.number("size"), encoders.weighted(encoders.number("size"), 0.25)
    np.testing.assert_allclose(
        encoders.table(FRAME, weighted)(FRAME), 0.25 * encoders.table(FRAME, plain)(FRAME)
    )


@pytest.mark.parametrize(
    ("targets", "is_log"),
    [
        (1e3 * np.exp(np.random.default_rng(0).normal(size=500) * 1.5), True),  # orders of magnitude
        (
            1e6 * np.exp(np.random.default_rng(0).normal(size=500) * 0.9),
            True,
        ),  # a few far larger than the others
        (np.random.default_rng(0).exponential(size=500) * 1e4, True),
        (np.random.default_rng(0).normal(100, 10, 500), False),
        (np.random.default_rng(0).normal(size=500), False),  # negative numbers
        (np.full(500, 3.0), False),
    ],
)
def test_the_logarithm_of_a_skewed_target_is_learned(targets: np.ndarray, is_log: bool) -> None:
    assert tabular.learns_logarithm(targets) is is_log


def test_robust_numbers_are_scaled_by_quartiles_and_pressed_together() -> None:
    rows = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0, 4.0, np.nan]})
    encoder = encoders.table(rows, encoders.robust("x"))
    cells = pd.DataFrame({"x": [2.0, 4.0, 1e12, -1e12, np.nan]})
    distance = 1.0 / np.sqrt(1 + (1 / 3) ** 2)
    np.testing.assert_allclose(encoder(cells)[:, 0], [0, distance, 3, -3, 0], atol=1e-6)


def test_a_number_that_is_mostly_the_same_has_a_range() -> None:
    rows = pd.DataFrame({"x": [0.0] * 20 + [10.0]})
    assert encoders.table(rows, encoders.robust("x"))(rows).max() < 3


def test_unscaled_features_stay_as_they_are() -> None:
    rows = pd.DataFrame({"plan": ["a"] * 9 + ["b"], "x": np.arange(10.0)})
    steps = [*encoders.unscaled(encoders.category("plan")), *encoders.number("x")]
    encoded = encoders.table(rows, steps)(rows)
    assert np.unique(encoded[:, :2]).tolist() == [0, 1]
    assert encoded[:, 2].std() == pytest.approx(1, rel=1e-6)


def test_a_date_has_flags_of_its_month_weekday_and_hour() -> None:
    rows = pd.DataFrame({"day": ["2019-02-20T05:00:00", None, "2020-12-31T23:10:00"]})
    flags = encoders.table(rows, encoders.calendar_flags("day", "ISO8601"))(rows)
    found = [np.flatnonzero(row).tolist() for row in flags]
    assert found == [[1, 12 + 2, 19 + 5], [], [11, 12 + 3, 19 + 23]]  # a Wednesday and a Thursday


def as_columns(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the columns of a frame as an endpoint passes them: NaN in numbers, None in all else."""
    columns = {}
    for name in rows:
        is_number = rows[name].dtype.kind in "iufb"
        cells = rows[name].to_numpy() if is_number else rows[name].astype(object)
        columns[name] = cells if is_number else np.array([None if cell != cell else cell for cell in cells])
    return columns


def make_rows(count: int) -> pd.DataFrame:
    """Return rows with a column of every kind, and gaps."""
    rng = np.random.default_rng(0)
    moments = pd.Timestamp("1985-01-01") + pd.to_timedelta(rng.integers(0, 20_000 * 1440, count), unit="m")
    rows = pd.DataFrame({
        **{name: rng.normal(100, 30, count) for name in "abcd"},
        "whole": rng.integers(0, 9, count),
        "flag": rng.random(count) < 0.5,
        "town": rng.choice(["x", "y", "z"], count),
        "member": rng.choice([True, False], count).astype(object),
        "remark": rng.choice(["good, very good", "bad", "very bad"], count),
        "iso": moments.strftime("%Y-%m-%dT%H:%M:%S"),
        "day": moments.strftime("%d/%m/%Y %H:%M"),
        "month": moments.strftime("%b %d, %Y"),
    })  # fmt: skip
    for name in ("a", "town", "member", "remark", "iso"):
        rows[name] = rows[name].where(rng.random(count) < 0.9)
    return rows


STEPS = [
    *encoders.waves("a", "b", directions=3, frequencies=(0.25, 2.0)), *encoders.number("a", "whole"),
    *encoders.category("town"), *encoders.log("b"), *encoders.bins("a", "whole", most=9), *encoders.ratio("a", by="c"),
    *encoders.missing("a", "flag"), *encoders.boolean("member", "flag"), *encoders.text("remark", most=4),
    *encoders.category("whole", most=4), *encoders.date("iso", "ISO8601", sure=True), *encoders.distance("c", "d", (3.0, 4.0)),
    *encoders.date("day", "%d/%m/%Y %H:%M"), *encoders.date("month", "%b %d, %Y"), *encoders.distance("a", "d", (30.0, 4.0)),
]  # fmt: skip


def test_columns_of_an_endpoint_have_the_features_of_a_frame_to_the_last_bit() -> None:
    rows = make_rows(500)
    encoder = encoders.table(rows, STEPS)
    encoded, columns = encoder(rows), as_columns(rows)
    assert np.array_equal(encoder(columns), encoded)
    for start, stop in [*((row, row + 1) for row in range(40)), (3, 20), (7, 300)]:
        part = {name: values[start:stop] for name, values in columns.items()}
        assert np.array_equal(encoder(part), encoded[start:stop])
    gone = {name: values for name, values in columns.items() if name not in ("a", "town")}
    assert np.array_equal(encoder(gone), encoder(rows.drop(columns=["a", "town"])))


def test_an_invalid_date_of_a_request_is_named_by_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BLOCK_ROWS", 100)
    rows = make_rows(300)
    columns = as_columns(rows)
    columns["iso"][250] = "soon"
    with pytest.raises(
        scoring.BadCell, match='"soon" in row 250, column "iso" is not a date such as 2021-12-31'
    ):
        encoders.table(rows, STEPS)(columns)


@pytest.mark.parametrize(
    "format", ["%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y %H:%M:%S", "%Y%m%d", "%d-%b-%Y", "%d.%m.%y"]
)
def test_dates_are_read_as_pandas_reads_them(format: str) -> None:
    cells = [
        "2024-02-29", "1999-12-31T23:59:59", "20240601", "31.12.1999", "1.2.2003", "12/31/1999", "31/12/2024 10:20:30",
        "29.02.24", "01-Jun-2024", "30.02.2024", "", "1066-10-14", "2024-06-01T24:00", "\u0663\u0661.12.1999",
    ]  # fmt: skip
    parser = scoring.DateParser(format)
    parsed = pd.to_datetime(pd.Series(cells[:-1]), format=format, errors="coerce", utc=True)
    for cell, expected in zip(cells, [*parsed, pd.NaT], strict=True):
        moment = parser(cell)
        assert (moment is None) == pd.isna(expected), cell
        if moment is not None:
            days = (expected.normalize() - pd.Timestamp("2000-01-01", tz="UTC")).days
            assert moment == (days, expected.hour + expected.minute / 60)


DAY = 6990  # 2019-02-20


@pytest.mark.parametrize(
    ("format", "cell", "moment"),
    [
        ("ISO8601", "2019-02-20T10:00:00+02:00", (DAY, 8)),
        ("ISO8601", "2019-02-20 23:30:00.123-05:00", (DAY + 1, 4.5)),
        ("ISO8601", "20190220T1030", (DAY, 10.5)),
        ("ISO8601", "2019-02", (DAY - 19, 0)),
        ("ISO8601", "2019-2-20", (DAY, 0)),
        ("ISO8601", "2019-W08-3", (DAY, 0)),
        ("ISO8601", "2019-051", (DAY, 0)),
        ("ISO8601", "2019-02-30", None),
        ("%d-%b-%y", "20-FEB-19", (DAY, 0)),
        ("%d-%b-%y", "20-Feb-69", (DAY - 50 * 365 - 12, 0)),
        ("%B %d, %Y", "February 20th, 2019", (DAY, 0)),
        ("%B %d, %Y", "Feb. 20, 2019", (DAY, 0)),
        ("%d. %B %Y", "20. Februar 2019", (DAY, 0)),
        ("%d %b %Y", "20 f\u00e9vr. 2019", (DAY, 0)),
        ("%a, %d %b %Y %H:%M:%S %z", "Wed, 20 Feb 2019 22:00:00 GMT", (DAY, 22)),
        ("%a, %d %b %Y %H:%M:%S %z", "20 Feb 2019 22:00:00 +0100", (DAY, 21)),
        ("%a %b %d %Y %H:%M:%S %z", "Wed Feb 20 2019 10:00:00 GMT+0100 (CET)", (DAY, 9)),
        ("%m/%d/%Y %I:%M %p", "2/20/2019 12:15 AM", (DAY, 0.25)),
        ("%m/%d/%Y %I:%M %p", "2/20/2019 1:15pm", (DAY, 13.25)),
        ("%m/%d/%Y %I:%M %p", "2/20/2019 13:15 PM", None),
        ("%Y-Q%q", "2019-Q3", (DAY + 131, 0)),
        ("%b %Y", "Feb 2019", (DAY - 19, 0)),
        ("%H:%M", "14:30", (0, 14.5)),
        ("%m/%d/%Y %H:%M|%m/%d/%Y", "2/20/2019", (DAY, 0)),
        ("%Y%m%d", 20190220, (DAY, 0)),
        ("%Y%m%d", 20190220.5, None),
        ("epoch", 1550656800, (DAY, 10)),
        ("epoch_ms", "1550656800000", (DAY, 10)),
        ("epoch", "soon", None),
    ],
)
def test_dates_of_other_forms(format: str, cell: object, moment: tuple[float, float] | None) -> None:
    assert scoring.DateParser(format)(cell) == moment


def test_columns_are_encoded_as_a_frame_is() -> None:
    rows = make_rows(50)
    encoder = encoders.columns(rows, vocabularies=["town"])
    expected, encoded = encoder(rows), encoder(as_columns(rows))
    for name, array in expected.items():
        assert array.dtype == encoded[name].dtype
        assert np.array_equal(array, encoded[name]), name


def test_numbers_of_categories_survive_json() -> None:
    rows = pd.DataFrame({"age": [18.0, 20.5, np.nan]})
    steps = encoders.lookup("age", {18.0: [1.0], 20.5: [2.0], "": [3.0]}, [9.0])  # type: ignore[dict-item]
    encoder = encoders.table(rows, steps)
    restored = encoder_from_state(json.loads(json.dumps({"kind": encoder.kind, **encoder.state()})))
    assert unscaled_features(encoder, rows)[:, 0].tolist() == [1, 2, 3]
    assert np.array_equal(restored(rows), encoder(rows))
