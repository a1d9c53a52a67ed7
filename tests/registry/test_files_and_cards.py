"""Files that were trained elsewhere, as versions and endpoints; and model cards."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl import settings as configuration
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.exports import ExportProof, ProvenScore
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError, RefusedError, UsageError
from mlctl.services.registry.models import show_model
from mlctl.services.registry.register import register_model
from mlctl.services.reports.model_card import make_card, save_card
from mlctl.services.serving.model_source import find_model
from mlctl.settings import Settings
from tests.shared import make_once
from tests.trained import Trained

FILES = ("two.keras", "two.onnx", "two.tflite", "two_saved")
ROWS = {"left": np.full((2, 4), 0.5, np.float32), "right": np.full((2, 3), 2.0, np.float32)}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[float]]]:
    """A folder with a model of two inputs in each format, and its answers to ROWS."""

    def make(folder: Path) -> Any:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(3)
        left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
        both = keras.layers.Concatenate()([left, right])
        model = keras.Model(
            {"left": left, "right": right}, keras.layers.Dense(3, activation="softmax", name="kind")(both)
        )
        model.save(folder / "two.keras")
        model.export(folder / "two_saved", verbose=False)
        model.export(folder / "two.onnx", format="onnx", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "two_saved"))
        (folder / "two.tflite").write_bytes(converter.convert())
        return np.asarray(model(ROWS)).tolist()

    return make_once(tmp_path_factory, "model-files", make)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return configuration.load({"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"})


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_served_without_a_store(
    name: str, files: tuple[Path, list[list[float]]], settings: Settings, tmp_path: Path
) -> None:
    from mlctl.serving.model import ServedModel

    if name.endswith(".tflite"):
        pytest.importorskip("ai_edge_litert")
    folder, expected = files
    (tmp_path / "incoming").mkdir()
    source = find_model(settings, str(folder / name))
    model = ServedModel(Path(source.fetch(tmp_path / "incoming").folder))
    assert source.name == Path(name).stem
    assert {spec.name for spec in model.info.signature.tensors} == {"left", "right"}
    assert model.info.classes == ("0", "1", "2")
    np.testing.assert_allclose(model.predict_tensors(dict(ROWS)), expected, atol=1e-6)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_file_becomes_a_version(
    files: tuple[Path, list[list[float]]], settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "mine.onnx"
    shutil.copyfile(files[0] / "two.onnx", file)
    first = register_model(settings, str(file), "Two")
    assert (first.version, first.created) == ("1", True)
    again = register_model(settings, "mine.onnx", "Two", tags={"team": "vision"})
    assert (again.version, again.created) == ("1", False)
    version, lineage = (detail := show_model(settings, "Two", "1")).model.versions[0], detail.lineage
    assert lineage is not None
    assert lineage.origin["file"] == "mine.onnx"
    assert lineage.origin["file.sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "opset" in lineage.origin["file.libraries"]
    assert "mine.onnx" in version.description
    assert version.tags["team"] == "vision"
    file.write_bytes(b"no model")
    with pytest.raises(BadDataError, match=r"mine\.onnx cannot be read as a model"):
        register_model(settings, str(file), "Two")
    assert len(show_model(settings, "Two").model.versions) == 1


@pytest.mark.parametrize("with_dictionaries", [False, True])
def test_a_classifier_of_scikit_learn_answers_its_classes(
    with_dictionaries: bool, settings: Settings, tmp_path: Path
) -> None:
    """Its file answers a label, and probabilities as an array or as a dictionary for each row."""
    from mlctl.serving.model import ServedModel

    file = tmp_path / "other.onnx"
    write_classifier(file, with_dictionaries)
    (tmp_path / "incoming").mkdir()
    source = find_model(settings, str(file))
    model = ServedModel(Path(source.fetch(tmp_path / "incoming").folder))
    assert model.info.classes == ("cat", "dog", "owl")
    answers = model.predict_tensors(np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(answers, [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]], atol=0.1)


def write_classifier(file: Path, with_dictionaries: bool) -> None:
    """Write the graph that skl2onnx writes for a logistic regression of three classes."""
    import onnx
    from onnx import TensorProto, helper

    classes = {"classlabels_strings": ["cat", "dog", "owl"]}
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "shares"],
            domain="ai.onnx.ml",
            coefficients=np.eye(3).ravel().tolist(),
            intercepts=[0.0] * 3,
            multi_class=1,
            post_transform="SOFTMAX",
            **classes,
        )
    ]
    label = helper.make_tensor_value_info("label", TensorProto.STRING, [None])
    if with_dictionaries:
        nodes.append(helper.make_node("ZipMap", ["shares"], ["by_class"], domain="ai.onnx.ml", **classes))
        row = helper.make_map_type_proto(
            TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
        shares = helper.make_value_info("by_class", helper.make_sequence_type_proto(row))
    else:
        shares = helper.make_tensor_value_info("shares", TensorProto.FLOAT, [None, 3])
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(nodes, "classifier", [taken], [label, shares])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)


@pytest.fixture
def digits_store(digits: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for a copy of the store of `digits`, in which its model is a version."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(digits.folder / "mlflow.db", tmp_path / "mlflow.db")
    settings = configuration.load({"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"})
    register_model(settings, digits.answer["run_id"], "Digits")
    return settings


def test_a_card_says_what_the_version_is(
    digits: Trained, digits_store: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = ExportProof(
        format="litert", quantize="int8", model="Digits 1", compared_with="keras", encoder="beside", rows=359,
        split="test", max_difference=0.02, relative_difference=0.02, equal_labels=0.99, size_bytes=100_000,
        latency_ms=0.02, memory_bytes=1,
        score=ProvenScore(
            metric="accuracy", before=0.98, after=0.98, before_interval=(0.97, 0.99), after_interval=(0.97, 0.99),
            loss=-0.001, loss_interval=(-0.28, 0.3),
        ),
    )  # fmt: skip
    monkeypatch.setattr("mlctl.services.registry.models.read_proofs", lambda store, run: (proof,))
    card = make_card(digits_store, "Digits/1", html=tmp_path / "card.html", listener=NullProgress())
    text = card.markdown
    assert text.startswith("# Digits 1\n")
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "Model", "Data", "Scores", "Scores by class", "Limits", "Reproduce", "History", "Exports",
    ]  # fmt: skip
    assert digits.answer["data"]["sha256"] in text
    assert "| test accuracy |" in text
    assert f"mlctl reproduce {digits.answer['run_id'][:8]}" in text
    assert "| litert-int8 | 0.02 | 99.00% |" in text
    assert "| 0.98 | 0.98 | 0.00 points (-0.28 to 0.30) |" in text
    assert "Scores by class" in (tmp_path / "card.html").read_text()
    with pytest.raises(UsageError, match=r"card\.txt does not end in \.html"):
        make_card(digits_store, "Digits/1", html=tmp_path / "card.txt", listener=NullProgress())


def test_a_card_has_the_threshold_that_was_chosen(
    digits_store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlctl.services.registry.models.model_metrics", lambda run: {"best_threshold": 0.314})
    card = make_card(digits_store, "Digits/1", listener=NullProgress())
    assert "| threshold of the positive class | 0.314 |" in card.markdown


def test_a_card_is_written_to_the_registry_only_if_asked(digits_store: Settings) -> None:
    registry = Registry(TrackingStore(digits_store.tracking_uri))
    before = registry.get_version("Digits", "1").description
    card = make_card(digits_store, "Digits/1", listener=NullProgress())
    assert registry.get_version("Digits", "1").description == before
    save_card(digits_store, card)
    assert registry.get_version("Digits", "1").description.startswith("# Digits 1")
    registry.set_description("Digits", "1", "written by hand")
    with pytest.raises(RefusedError, match="a person has written"):
        save_card(digits_store, card)
    again = make_card(digits_store, "Digits/1", listener=NullProgress())
    assert "written by hand" in again.markdown
    save_card(digits_store, again, force=True)


def test_a_card_needs_a_version_and_known_columns(digits: Trained, digits_store: Settings) -> None:
    with pytest.raises(UsageError, match="is no registered version"):
        make_card(digits_store, digits.answer["run_id"], listener=NullProgress())
    with pytest.raises(UsageError, match="--slice: the model does not take a table"):
        make_card(digits_store, "Digits/1", slices=["region"], listener=NullProgress())


def test_slices_are_values_or_ranges() -> None:
    from mlctl.services.reports.model_card import _groups

    texts: Mapping[str, Any] = dict(_groups(np.array(["b", "a", "b", None], object)))
    assert {name: rows.tolist() for name, rows in texts.items()} == {"b": [0, 2], "a": [1], "missing": [3]}
    ranges = list(_groups(np.arange(100.0)))
    assert [len(rows) for _, rows in ranges] == [25, 25, 25, 25]
    assert json.dumps([name for name, _ in ranges[:1]]) == '["0 to 24.75"]'
    many = dict(_groups(np.array([f"v{number % 30}" for number in range(90)], object)))
    assert len(many) == 21
    assert len(many["10 other values"]) == 30
