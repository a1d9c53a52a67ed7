"""`mlctl predict` with models of named inputs and of every kind of output."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl import settings as configuration
from mlctl.domain.outputs import Output, classes, labels, pixels, sequence, values
from mlctl.domain.serving import OutputPredictions, Prediction, Predictions
from mlctl.errors import BadDataError, RefusedError, UsageError
from mlctl.output.views import document, tables
from mlctl.output.views.predictions import sentence, summary
from mlctl.services.evaluation.answers import to_columns, to_predictions
from mlctl.services.evaluation.predict import predict, predict_to_file

from .conftest import StartEndpoint
from .named_models import DEPARTMENTS

FLAGS = np.array([[0.0, 1.5, -2.0], [1.0, 0.0, 0.5]], np.float32)
IDS = np.array([[3, 1, 4], [1, 5, 9]])


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> configuration.Settings:
    monkeypatch.chdir(tmp_path)
    return configuration.load()


def by_output(answer: Predictions) -> dict[str, tuple[Prediction, ...]]:
    return {each.output.name: each.predictions for each in answer.outputs}


def close(first: Any, second: Any) -> None:
    assert first.keys() == second.keys()
    for name in first:
        for one, other in zip(first[name], second[name], strict=True):
            assert one.label == other.label
            assert np.allclose(one.probability or 0, other.probability or 0, atol=1e-6)
            assert np.allclose(one.value or 0, other.value or 0, atol=1e-6)


@pytest.mark.live
def test_every_form_of_named_inputs(
    named: dict[str, Path], serve: StartEndpoint, settings: Any, tmp_path: Path
) -> None:
    """A local model and its endpoint predict the same, whatever the file."""
    np.savez(tmp_path / "rows.npz", ids=IDS, flags=FLAGS, answer=[0, 1])
    rows = [{"ids": row.tolist(), "flags": more.tolist()} for row, more in zip(IDS, FLAGS, strict=True)]
    documents = {
        "inputs": {"inputs": {"ids": IDS.tolist(), "flags": FLAGS.tolist()}},
        "instances": {"instances": rows},
        "by_name": {"ids": IDS.tolist(), "flags": FLAGS.tolist()},
        "rows": rows,
    }
    for name, content in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "one.json").write_text(json.dumps(rows[0]))
    endpoint = serve(named["tickets"])
    expected = by_output(predict(settings, str(named["tickets"]), ["rows.npz"]))
    assert list(expected) == ["priority", "department", "delay"]
    assert {prediction.label for prediction in expected["department"]} <= set(DEPARTMENTS)
    assert len(expected["delay"][0].value) == 2
    for model in (str(named["tickets"]), endpoint.url):
        for file in ("rows.npz", *(f"{name}.json" for name in documents)):
            close(by_output(predict(settings, model, [file])), expected)
        one = by_output(predict(settings, model, ["one.json"]))
        close(one, {name: predictions[:1] for name, predictions in expected.items()})
        (tmp_path / "any.json").write_text(
            json.dumps([{"ids": [3, 1, 4], "flags": FLAGS[0].tolist()}, {"ids": [7], "flags": [0, 0, 0]}])
        )
        uneven = by_output(predict(settings, model, ["any.json"]))
        assert len(uneven["priority"]) == 2
        close({"priority": uneven["priority"][:1]}, {"priority": expected["priority"][:1]})
    endpoint.stop()


def test_wrong_files_of_named_inputs(named: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    model = str(named["tickets"])
    np.save(tmp_path / "one.npy", FLAGS)
    np.savez(tmp_path / "typo.npz", idz=IDS, flags=FLAGS)
    np.savez(tmp_path / "uneven.npz", ids=IDS, flags=FLAGS[:1])
    np.savez(tmp_path / "texts.npz", ids=IDS.astype(str), flags=FLAGS)
    (tmp_path / "rows.csv").write_text("ids,flags\n1,2\n")
    (tmp_path / "one.png").write_bytes(b"")
    for file, words in (
        ("one.npy", "holds one array, and this model takes ids, flags"),
        ("typo.npz", "missing inputs: ids; unknown inputs: idz"),
        ("uneven.npz", '"ids" has 2 rows, "flags" has 1'),
        ("texts.npz", "not numbers"),
        ("rows.csv", "more than a table can hold"),
        ("one.png", "several inputs: ids, flags"),
    ):
        with pytest.raises(BadDataError, match=words):
            predict(settings, model, [file])


def test_a_table_for_a_model_of_named_values(named: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"city": ["Bern", "Oslo"], "age": [3.0, 4.0], "member": [True, False], "more": [1, 2]}
    )
    frame.to_csv(tmp_path / "people.csv", index=False)
    frame.to_parquet(tmp_path / "people.parquet")
    np.savez(
        tmp_path / "people.npz",
        city=["Bern", "Oslo"],
        age=np.array([3.0, 4.0]),
        member=np.array([True, False]),
    )
    model = str(named["people"])
    expected = [prediction.value for prediction in predict(settings, model, ["people.npz"]).predictions]
    assert all(isinstance(value, float) for value in expected)
    for file in ("people.csv", "people.parquet"):
        answer = predict(settings, model, [file])
        assert [prediction.value for prediction in answer.predictions] == expected
        assert answer.unit == "CHF"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_has_columns_for_each_output(
    named: dict[str, Path], settings: Any, tmp_path: Path, suffix: str
) -> None:
    np.savez(tmp_path / "rows.npz", ids=IDS, flags=FLAGS)
    out = tmp_path / f"answers.{suffix}"
    done = predict_to_file(settings, str(named["tickets"]), ["rows.npz"], out=out, batch_size=1)
    assert done.rows == 2
    rows = list(csv.DictReader(out.open())) if suffix == "csv" else pd.read_parquet(out).to_dict("records")
    assert list(rows[0]) == [
        "row",
        "priority_label",
        "priority_probability",
        "department_label",
        "department_probability",
        "delay_value_0",
        "delay_value_1",
    ]
    expected = by_output(predict(settings, str(named["tickets"]), ["rows.npz"]))
    assert [row["priority_label"] for row in rows] == [each.label for each in expected["priority"]]
    assert np.allclose(float(rows[1]["delay_value_1"]), expected["delay"][1].value[1])


def test_whole_answers_are_written_as_arrays(named: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", ids=IDS, flags=FLAGS)
    tickets, masks = str(named["tickets"]), str(named["masks"])
    predict_to_file(settings, tickets, ["rows.npz"], out=tmp_path / "answers.npz", batch_size=1)
    answers = np.load(tmp_path / "answers.npz")
    assert {name: answers[name].shape for name in answers} == {
        "priority": (2, 1),
        "department": (2, 4),
        "delay": (2, 2),
    }
    images = np.random.default_rng(1).uniform(size=(5, 6, 6, 1)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    predict_to_file(settings, masks, ["images.npy"], out=tmp_path / "masks.npy", batch_size=2)
    probabilities = np.load(tmp_path / "masks.npy")
    assert probabilities.shape == (5, 6, 6, 3)
    shown = predict(settings, masks, ["images.npy"]).predictions
    shares = [np.mean(row.argmax(axis=-1) == 1) for row in probabilities]
    assert np.allclose([(prediction.shares or {})["disc"] for prediction in shown], shares)
    with pytest.raises(RefusedError, match="exists"):
        predict_to_file(settings, masks, ["images.npy"], out=tmp_path / "masks.npy")
    with pytest.raises(UsageError, match=r"one array.*priority"):
        predict_to_file(settings, tickets, ["rows.npz"], out=tmp_path / "answers.npy")
    (tmp_path / "uneven.json").write_text("[[1, 2], [3]]")
    with pytest.raises(BadDataError, match="different shapes"):
        predict_to_file(settings, str(named["tags"]), ["uneven.json"], out=tmp_path / "tags.npz")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


KINDS: list[tuple[Output, Any, str]] = [
    (classes("no", "yes"), [0.8], "yes, 0.80"),
    (classes("a", "b", "c"), [0.1, 0.7, 0.2], "b, 0.70"),
    (classes(), [0.1, 0.9], "1, 0.90"),
    (labels("a", "b", "c"), [0.6, 0.1, 0.9], "c 0.90, a 0.60"),
    (labels("a", "b"), [0.5, 0.1], "no label applies"),
    (values("USD"), [1234.4], "$1,234"),
    (values("m"), [1.0, 2.5], "1, 2.5 m"),
    (values(), [float(number) for number in range(20)], "20 numbers from 0 to 19, mean 9.5"),
    (sequence("O", "PER"), [[0.9, 0.1], [0.2, 0.8]], "O 0.90, PER 0.80"),
    (pixels("sky", "sea"), [[[0.9, 0.1], [0.8, 0.2]], [[0.3, 0.7], [0.6, 0.4]]], "2x2: sky 75%, sea 25%"),
    (pixels("sky", "sea"), [[[0.9], [0.2]]], "1x2: sea 50%, sky 50%"),
    (Output(kind="none"), [[1.0, 2.0], [3.0, 4.0]], "2x2 numbers from 1 to 4, mean 2.5"),
]


@pytest.mark.unit
@pytest.mark.parametrize(("output", "row", "expected"), KINDS)
def test_each_kind_of_output_has_its_words(output: Output, row: Any, expected: str) -> None:
    (prediction,) = to_predictions(output, np.array([row], np.float64))
    shown = summary(prediction, output.unit)
    assert sorted(shown.replace(":", ",").split(", ")) == sorted(expected.replace(":", ",").split(", "))
    answer = Predictions(
        model="m",
        version="1",
        task=output.task,
        unit=output.unit,
        predictions=(prediction, prediction),
    )
    assert len(tables(answer)[0].rows) == 2
    json.dumps(document(answer))
    assert to_columns(output, [prediction], np.array([row]))


@pytest.mark.unit
def test_several_outputs_are_one_list_each() -> None:
    priority = to_predictions(
        classes("low", "high", name="priority"), np.array([[0.9], [0.2]]), np.array([1, 1])
    )
    delay = to_predictions(values("h", name="delay"), np.array([[2.0], [3.0]]), np.array([2.5, 3.5]))
    answer = Predictions(
        model="m",
        version="1",
        task="several",
        unit="",
        outputs=(
            OutputPredictions(classes("low", "high", name="priority"), tuple(priority)),
            OutputPredictions(values("h", name="delay"), tuple(delay)),
        ),
    )
    assert document(answer)["predictions"] == {
        "priority": [
            {"label": "high", "probability": 0.9, "true_label": "high"},
            {"label": "low", "probability": 0.8, "true_label": "high"},
        ],
        "delay": [{"value": 2.0, "true_label": "2.5"}, {"value": 3.0, "true_label": "3.5"}],
    }
    (table,) = tables(answer)
    assert [column.title for column in table.columns] == [
        "row",
        "priority label",
        "priority probability",
        "priority true label",
        "delay value (h)",
        "delay true value",
    ]
    (lines,) = tables(
        Predictions(
            model="m",
            version="1",
            task="several",
            unit="",
            outputs=tuple(OutputPredictions(each.output, each.predictions[:1]) for each in answer.outputs),
        )
    )
    assert [row[0] for row in lines.rows] == ["priority", "delay"]


@pytest.mark.unit
def test_a_single_prediction_names_the_truth() -> None:
    def sentence_of(output: Output, row: Any, target: Any) -> str:
        (prediction,) = to_predictions(output, np.array([row]), [target])
        answer = Predictions(model="m", version="1", task=output.task, unit=output.unit)
        return sentence(answer, prediction)

    assert sentence_of(labels("a", "b"), [0.9, 0.1], [1, 1]) == "a 0.90 (it is a, b)"
    assert sentence_of(values("m"), [1.0, 2.0], [1.5, 2.5]) == "1, 2 m (it is 1.5, 2.5)"
    assert sentence_of(values("m"), [1.0], 1.5) == "1 m (it is 1.5 m)"
    assert sentence_of(sequence("O", "PER"), [[0.9, 0.1]], [1]) == "O 0.90 (it is PER)"
    assert sentence_of(classes("a", "b", "c"), [0.1, 0.2, 0.7], 0) == "This is c, probability 0.70 (it is a)"
