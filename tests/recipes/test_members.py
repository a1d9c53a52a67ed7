"""The network of the tabular recipe: its members are trained each on its own, and answer together."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

import keras  # noqa: E402 - after import_keras, TensorFlow is silent

from mlctl.recipes.members import MemberNetwork, member_values, smoothed  # noqa: E402
from mlctl.recipes.tabular import TargetScale  # noqa: E402

ROWS, WIDTH, BAGS, MEMBERS = 40, 5, 3, 2


@pytest.fixture
def rows() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype("float32")


def network(
    *,
    bags: int = BAGS,
    outputs: int = 1,
    smoothing: float = 0.0,
    loss_scale: float = 1.0,
) -> MemberNetwork:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((WIDTH,))
    values = member_values(inputs, units=8, depth=2, dropout=0.0, members=MEMBERS, bags=bags, outputs=outputs)
    answers = keras.layers.Activation("sigmoid" if outputs == 1 else "softmax")(values)
    model = MemberNetwork(
        inputs,
        answers,
        answers,
        encode=partial(smoothed, classes=max(2, outputs), smoothing=smoothing),
        loss=keras.losses.binary_crossentropy if outputs == 1 else keras.losses.categorical_crossentropy,
        bags=bags,
        loss_scale=loss_scale,
        metrics=["accuracy"],
    )
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", metrics=["accuracy"])
    return model


def answers_of_members(model: MemberNetwork, rows: Any) -> Any:
    return np.asarray(model._members(rows)[1])


def test_the_answer_is_the_average_of_all_members(rows: Any) -> None:
    model = network()
    each = answers_of_members(model, rows)
    assert each.shape == (ROWS, BAGS * MEMBERS, 1)
    assert each.std(axis=1).min() > 0  # no two are alike
    np.testing.assert_allclose(model(rows), each.mean(axis=1), atol=1e-6)


def test_a_row_is_answered_by_the_bag_that_leaves_it_out(rows: Any) -> None:
    model = network()
    bags = model.deal_rows(ROWS, None, seed=0)
    each = answers_of_members(model, rows).reshape(ROWS, BAGS, MEMBERS)
    np.testing.assert_allclose(model((rows, bags))[:, 0], each[np.arange(ROWS), bags].mean(axis=1), atol=1e-6)


def test_a_bag_learns_nothing_from_rows_that_it_leaves_out(rows: Any) -> None:
    model = network()
    before = answers_of_members(model, rows).reshape(ROWS, BAGS, MEMBERS)
    model.train_on_batch((rows, np.full(ROWS, 1, np.int32)), np.ones(ROWS))
    after = answers_of_members(model, rows).reshape(ROWS, BAGS, MEMBERS)
    changes = np.abs(after - before).max(axis=(0, 2))
    assert changes[1] == 0
    assert changes[[0, 2]].min() > 0


def test_each_member_is_trained_by_its_own_loss(rows: Any) -> None:
    """The loss is the mean of the members' losses, and not that of their mean answer."""
    model, targets = network(bags=1), (np.arange(ROWS) % 2).astype("float32")
    each = answers_of_members(model, rows)
    own = np.mean([
        np.mean(keras.losses.binary_crossentropy(targets[:, None], each[:, member])) for member in range(MEMBERS)
    ])  # fmt: skip
    assert model.train_on_batch(rows, targets)[0] == pytest.approx(own, rel=1e-5)


def test_weights_count_in_the_loss(rows: Any) -> None:
    targets = (np.arange(ROWS) % 2).astype("float32")
    half = network(bags=1)
    loss = half.train_on_batch(rows, targets, sample_weight=np.full(ROWS, 0.5))[0]
    assert loss == pytest.approx(0.5 * network(bags=1).train_on_batch(rows, targets)[0], rel=1e-5)


def test_the_loss_of_training_is_in_the_unit_of_the_answers(rows: Any) -> None:
    targets, models = (np.arange(ROWS) % 2).astype("float32"), (network(), network(loss_scale=2.0))
    plain, doubled = (model.train_on_batch(rows, targets, return_dict=True) for model in models)
    assert doubled["loss"] == pytest.approx(2 * plain["loss"])
    assert doubled["accuracy"] == plain["accuracy"]
    np.testing.assert_array_equal(models[0].get_weights()[0], models[1].get_weights()[0])


def test_rows_are_dealt_evenly_within_each_class() -> None:
    classes = np.array([0] * 30 + [1] * 9)
    bags = network().deal_rows(39, classes, seed=0)
    assert np.bincount(bags[:30]).tolist() == [10, 10, 10]
    assert np.bincount(bags[30:]).tolist() == [3, 3, 3]


def test_the_averaged_network_is_a_plain_keras_model(rows: Any, tmp_path: Path) -> None:
    model = network(outputs=3)
    plain = model.averaged()
    plain.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={})
    assert type(loaded).__module__.startswith("keras.")
    assert {type(layer).__module__.partition(".")[0] for layer in loaded.layers} == {"keras"}
    np.testing.assert_allclose(loaded(rows), model(rows), atol=1e-6)


def test_smoothed_classes_are_probabilities() -> None:
    np.testing.assert_allclose(
        smoothed(np.array([0, 1]), classes=2, smoothing=0.2), [[0.1], [0.9]], atol=1e-6
    )
    three = smoothed(np.array([2]), classes=3, smoothing=0.3)
    np.testing.assert_allclose(three, [[0.1, 0.1, 0.8]], atol=1e-6)


@pytest.mark.parametrize("is_log", [False, True])
def test_values_are_learned_on_a_scale_and_answered_in_their_unit(is_log: bool) -> None:
    targets = np.array([0.0, 10.0, 1000.0])
    scale = TargetScale.fitted(targets, is_log=is_log)
    encoded = np.asarray(scale.encode(targets))
    assert encoded.mean() == pytest.approx(0, abs=1e-6)
    assert encoded.std() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(np.asarray(scale.answers(encoded))[:, 0], targets, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("outputs", [1, 3])
def test_calibrating_keeps_labels_and_lowers_the_log_loss(rows: Any, outputs: int) -> None:
    model = network(outputs=outputs)
    before = np.asarray(model(rows))
    labels = np.argmax(before, axis=1) if outputs > 1 else (before[:, 0] > 0.5).astype(int)
    answers = model.calibrate(labels, before)
    assert model.sharpness > 1  # the labels are surer than the probabilities
    averaged = model.averaged()
    np.testing.assert_allclose(averaged(rows), answers, atol=1e-5)
    after = np.argmax(answers, axis=1) if outputs > 1 else (answers[:, 0] > 0.5).astype(int)
    np.testing.assert_array_equal(after, labels)
    copied = keras.Model.from_config(averaged.get_config())
    copied.set_weights(averaged.get_weights())
    np.testing.assert_allclose(copied(rows), answers, atol=1e-5)


def test_an_overconfident_network_becomes_less_sharp(rows: Any) -> None:
    model = network()
    answers = np.where(rows[:, :1] > 0, 0.999, 0.001).astype("float32")
    labels = (rows[:, 0] > 0).astype(int)
    labels[::5] = 1 - labels[::5]
    assert np.abs(model.calibrate(labels, answers) - 0.5).max() < 0.49
    assert model.sharpness < 1
