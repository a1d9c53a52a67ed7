"""What a trial of a search sees of a script's models, and how the search stops it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

import keras  # noqa: E402 - after import_keras, TensorFlow is silent

from mlctl.adapters.scripts import keras_hooks  # noqa: E402
from mlctl.adapters.scripts.execution import Program  # noqa: E402
from mlctl.domain.progress import Epoch  # noqa: E402
from mlctl.domain.script import ScriptRequest  # noqa: E402
from mlctl.services.scripts.trial_observer import TrialObserver  # noqa: E402
from mlctl.services.scripts.trial_record import TrialRecord  # noqa: E402

X = np.ones((8, 2), "float32")


class Ended(BaseException):
    """The process of the trial would have ended."""


def observer_of(folder: Path, stop_after: int = 99, execution: int = 1, **options: Any) -> Any:
    """Return an observer, and the epochs that it reports; the search stops the trial after some of them."""
    epochs: list[Epoch] = []

    def report(epoch: Epoch) -> bool:
        epochs.append(epoch)
        return len(epochs) < stop_after

    def end() -> None:
        raise Ended

    script = ScriptRequest(script="train.py", **options)
    record = TrialRecord(
        script, Program(file=folder / "train.py", import_folder=folder), folder, lambda: None
    )
    observer = TrialObserver(
        script=script, epochs=None, execution=execution, record=record, report=report, end=end
    )
    return observer, epochs


def model_of(name: str = "one") -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name=name)
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def test_a_stopped_trial_ends_its_fit_at_that_epoch_and_no_other_fit_begins(tmp_path: Path) -> None:
    observer, epochs = observer_of(tmp_path, stop_after=2)
    with keras_hooks.observed(observer):
        model = model_of()
        history = model.fit(X, X[:, :1], epochs=5, verbose=0)
        assert history.epoch == [0, 1]
        assert model.evaluate(X, X[:, :1], verbose=0, return_dict=True)["mae"] == pytest.approx(
            observer.results["test_mae"]
        )
        with pytest.raises(Ended):
            model_of().fit(X, X[:, :1], verbose=0)
    assert [epoch.number for epoch in epochs] == [1, 2]


def test_epochs_of_one_model_count_on_and_a_second_model_has_its_name_before_its_metrics(
    tmp_path: Path,
) -> None:
    observer, epochs = observer_of(tmp_path, epochs=1)
    with keras_hooks.observed(observer):
        first, second = model_of(), model_of("two")
        for model in (first, first, second):
            model.fit(X, X[:, :1], epochs=4, verbose=0)
    assert [(epoch.number, "loss" in epoch.metrics) for epoch in epochs] == [(1, True), (2, True), (1, False)]
    assert "two_loss" in epochs[-1].metrics


def test_each_execution_has_another_seed(tmp_path: Path) -> None:
    assert observer_of(tmp_path)[0].set_random_seed(5) == 5
    assert observer_of(tmp_path, execution=3)[0].set_random_seed(5) == 7
    assert observer_of(tmp_path, execution=2, seed=1)[0].set_random_seed(5) == 2
