"""Phases of a training: how many epochs they have, what their starts get, and how a run of them is resumed."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

from mlctl import settings  # noqa: E402 - after import_keras, TensorFlow is silent
from mlctl.data.dataset import Dataset, Split  # noqa: E402
from mlctl.domain.outputs import Output  # noqa: E402
from mlctl.domain.progress import Epoch  # noqa: E402
from mlctl.domain.run import Run  # noqa: E402
from mlctl.errors import Interrupted, RefusedError  # noqa: E402
from mlctl.recipes import Phase, Recipe, Values  # noqa: E402
from mlctl.services.training.phases import recipe_phases  # noqa: E402
from mlctl.services.tuning.finalists import _epochs_by_phase  # noqa: E402
from mlctl.services.workflows.resume import resume  # noqa: E402
from tests.recording_listener import RecordingListener  # noqa: E402
from tests.trained import TINY, train_here  # noqa: E402

DATA = Dataset("none", Split(np.zeros((10, 2), np.float32)))
IN_PHASES = TINY.replace(
    "    def build(",
    """    def callbacks(self, hp, data):
        import keras

        training = "first" if data.validation else "second"

        def stop(epoch, logs):
            if Path("stop").exists() and Path("stop").read_text() == f"{training} {epoch}":
                raise KeyboardInterrupt

        return [keras.callbacks.LambdaCallback(on_epoch_begin=stop)]

    def phases(self, hp, data):
        return [Phase(name="head", epochs=2), Phase(name="all", epochs=3, start=start)]

    def build(""",
).replace(
    "class Tiny",
    """def start(model, hp, data):
    import keras

    rate = keras.optimizers.Adam(hp.rate)
    model.compile(rate, loss="binary_crossentropy", metrics=["accuracy"])


class Tiny""",
)
IN_PHASES = "from pathlib import Path\n" + IN_PHASES.replace("import Recipe,", "import Phase, Recipe,")
IN_PHASES = IN_PHASES.replace("    def load(", "    refits = True\n\n    def load(")
# so few steps take less time than to compile them
IN_PHASES = IN_PHASES.replace('metrics=["accuracy"])', 'metrics=["accuracy"], run_eagerly=True)')


class Fixed(Recipe):
    """Phases of 2 and 3 epochs"""

    name = "fixed"
    epochs = 10
    started: ClassVar[list[Any]] = []

    def phases(self, hp: Values, data: Dataset) -> list[Phase]:
        return [
            Phase(name="head", epochs=2, start=self.record),
            Phase(name="all", epochs=3, start=self.record),
        ]

    def record(self, model: Any, hp: Values, data: Dataset) -> None:
        self.started.append((hp.epochs, hp.rate if hp.schedule == "constant" else hp.rate.decay_steps))


class Following(Fixed):
    """Phases that follow the number of epochs"""

    def phases(self, hp: Values, data: Dataset) -> list[Phase]:
        return [Phase(name="head", epochs=2), Phase(name="all", epochs=hp.epochs - 2)]


def epochs(recipe: Recipe, **overrides: Any) -> list[int]:
    return [phase.epochs for phase in recipe_phases(recipe, recipe.values(overrides).on(10), DATA)]


def test_phases_are_cut_or_the_last_one_is_longer_if_the_user_sets_epochs_that_they_do_not_read() -> None:
    assert epochs(Fixed()) == [2, 3]
    assert epochs(Fixed(), epochs=10) == [2, 8]  # also if it is the default
    assert epochs(Fixed(), epochs="4") == [2, 2]
    assert epochs(Fixed(), epochs=1) == [1]
    assert epochs(Following()) == [2, 8]
    assert epochs(Following(), epochs=6) == [2, 4]


def test_a_schedule_spans_the_epochs_from_the_start_of_a_phase() -> None:
    class Model:
        compiled = True
        distribute_strategy = type("Strategy", (), {"scope": staticmethod(contextlib.nullcontext)})

    recipe = Fixed()
    recipe.started = []
    values = recipe.values({"schedule": "cosine", "batch_size": 5}).on(10)
    for phase in recipe_phases(recipe, values, DATA):
        assert phase.start is not None
        phase.start(Model())
    assert recipe.started == [(5, 10), (5, 6)]  # two steps in each epoch


def test_a_final_model_trains_the_phases_as_far_as_its_finalist_did() -> None:
    def trained(*phases: int) -> list[Epoch]:
        return [
            Epoch(number, {"phase": phase} if phase else {}, 0.1) for number, phase in enumerate(phases, 1)
        ]

    assert _epochs_by_phase(trained(1, 1, 1, 2), 5) == (3, 2)
    assert _epochs_by_phase(trained(1, 1), 3) == (3,)
    assert _epochs_by_phase(trained(0, 0), 3) == ()


def test_a_run_is_resumed_in_its_second_phase_and_in_its_second_training(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(IN_PHASES)
    options = {"overrides": {"schedule": "cosine"}}
    whole = train_here(tmp_path, "./tiny.py", **options).answer
    (tmp_path / "stop").write_text("first 3")
    with pytest.raises(Interrupted):
        train_here(tmp_path, "./tiny.py", run_name="stopped", **options)
    (tmp_path / "stop").write_text("second 1")
    loaded = settings.load({"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    loaded = dataclasses.replace(loaded, state_dir=tmp_path / "state")
    with contextlib.chdir(tmp_path):
        with pytest.raises(RefusedError, match="the cosine schedule spans 5 epochs"):
            resume(loaded, "stopped", epochs=7, listener=RecordingListener())
        with pytest.raises(Interrupted):
            resume(loaded, "stopped", listener=RecordingListener())
        (tmp_path / "stop").unlink()
        run = resume(loaded, "stopped", listener=RecordingListener())
    assert isinstance(run, Run)
    assert run.params["phases"] == "head 2, all 3"
    assert run.metrics == whole["metrics"]


def test_answers_of_folds_keep_the_threshold_that_suits_them() -> None:
    """The logged model's threshold is that of its own answers, which are calibrated."""
    from mlctl.services.training.training import Training

    outputs, calibrated = (
        (Output(kind="classes", classes=("no", "yes"), threshold=threshold),) for threshold in (0.3, 0.4)
    )
    scores = SimpleNamespace(outputs=outputs, answers=np.zeros(3), targets=np.zeros(3), means={}, rows=[])
    training: Any = SimpleNamespace(fold_scores=scores)
    logged: Any = SimpleNamespace(outputs=calibrated)
    answers = Training._tested(training, "test", None, logged)
    assert answers is not None
    assert answers.outputs == outputs
