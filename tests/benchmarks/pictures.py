"""Train the images recipe on folders of 200 to 5,000 pictures, and compare it with its earlier network.

    python tests/benchmarks/pictures.py [--seeds 3] [--folder DIR] [--augment KIND,…] [NAME:COUNT …]

NAME is a folder of tests/benchmarks/picture_folders.py, COUNT the number of its training pictures. Prints the accuracy
on the test pictures with the recipe's defaults, or with each `augment` that is given; then that of the earlier network
(convolutions with GroupNormalization on pictures of 128x128), which trains for as long: as many epochs as take the same
CPU time, one at least. Medians of all seeds; the CPU time is that of the training alone. --no-earlier leaves the
earlier network out.

digits needs mnist.npz in MLCTL_DATA_DIR; photographs and faces need scikit-image.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from picture_folders import write_folder

from mlctl import settings
from mlctl.adapters.keras import runtime
from mlctl.adapters.keras.fit import make_training_loop
from mlctl.adapters.keras.outputs import infer_outputs
from mlctl.adapters.keras.training_loop import TrainingProgress
from mlctl.domain.progress import NullProgress
from mlctl.recipes import ResolvedRecipe, Values
from mlctl.recipes.images import Images
from mlctl.services.recipes.prepare import prepare

FOLDERS = (
    "digits:200",
    "digits:1000",
    "digits:5000",
    "letters:1000",
    "figures:2000",
    "photographs:500",
    "faces:100",
)
SIDE_BEFORE, EPOCHS_BEFORE = "128x128", 20


class ImagesBefore(Images):
    """The recipe with its earlier network."""

    def build(self, hp: Values, data: Any) -> Any:
        """Return the compiled CNN."""
        import keras
        from keras import layers

        x = inputs = keras.Input(data.input_shape)
        for index, factor in enumerate((1, 2, 4, 4)):
            x = layers.Conv2D(hp.filters * factor, 3, 2 if index == 0 else 1, "same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.GroupNormalization(8)(x))
            x = layers.MaxPooling2D(2, padding="same")(x)
        x = layers.Dense(hp.units, activation="relu")(layers.GlobalAveragePooling2D()(x))
        answer = layers.Dense(len(data.classes), "softmax", dtype="float32")(layers.Dropout(hp.dropout)(x))
        model = keras.Model(inputs, answer)
        model.compile(keras.optimizers.Adam(hp.rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a training reached: test accuracy, epochs, and CPU seconds."""

    accuracy: float
    epochs: int
    cpu_s: float


def train(recipe: Images, folder: Path, options: dict[str, str], *, seed: int, cpu_s: float = 0.0) -> Result:
    """Train on a folder as `mlctl train` does, and score the kept epoch on the test pictures.

    Args:
        recipe: the recipe.
        folder: the folder of pictures.
        options: values that are set.
        seed: seed of weights and order.
        cpu_s: CPU seconds of the training; 0: all epochs.
    """
    resolved = ResolvedRecipe(recipe, str(folder))
    prepared = prepare(settings.load(), resolved, recipe.values(options), listener=NullProgress())
    if cpu_s:  # a first training measures an epoch
        found = _fit(prepared, seed=seed, epochs=1)
        epochs = max(1, min(EPOCHS_BEFORE, round(cpu_s / found.cpu_s)))
        values = recipe.values({**options, "epochs": str(epochs)}).on(len(prepared.data.train))
        return _fit(dataclasses.replace(prepared, values=values), seed=seed, epochs=epochs)
    return _fit(prepared, seed=seed, epochs=prepared.values.epochs)


def _fit(prepared: Any, *, seed: int, epochs: int) -> Result:
    data, values = prepared.data, prepared.values
    precision = runtime.choose_precision("auto", prefer_bfloat16=True, hardware=runtime.detect_hardware())
    runtime.start_session(seed, precision)
    model = prepared.recipe.build(values, data)
    loop = make_training_loop(
        model,
        data.train,
        validation=data.validation,
        outputs=infer_outputs(model, data, data.train.inputs),
        batch_size=values.batch_size,
        seed=seed,
        listener=NullProgress(),
    )
    loop.predictor.evaluate(data.validation)  # compiles the graph
    progress = TrainingProgress(prepared.objective)
    started = time.process_time()
    loop.run(progress, epochs=epochs, patience=None, on_epoch_end=lambda epoch: None)
    cpu_s = time.process_time() - started
    model.set_weights(progress.best_weights)
    answers = np.asarray(loop.predictor.predict(data.test.inputs))
    labels = (answers.ravel() > 0.5) if answers.shape[-1] == 1 else answers.argmax(axis=-1)
    return Result(accuracy=float((labels == data.test.targets).mean()), epochs=epochs, cpu_s=cpu_s)


def describe(results: Sequence[Result]) -> str:
    """Return the medians of several trainings in a line."""
    accuracy, cpu_s = (
        statistics.median(getattr(result, name) for result in results) for name in ("accuracy", "cpu_s")
    )
    return f"accuracy {accuracy:.3f}  {results[0].epochs:>3} epochs  {cpu_s:6.1f} CPU s"


def main() -> None:
    """Print a line for each folder and network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", default=FOLDERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the folders are written, and found again")
    parser.add_argument("--augment", default="auto")
    parser.add_argument("--no-earlier", action="store_true", help="leave the earlier network out")
    options = parser.parse_args()
    runtime.import_keras()
    with tempfile.TemporaryDirectory() as temporary:
        for text in options.folders:
            name, _, count = text.partition(":")
            folder = (options.folder or Path(temporary)) / text.replace(":", "-")
            if not folder.is_dir():
                write_folder(name, int(count), folder)
            kept = []
            for augment in options.augment.split(","):
                kept = [
                    train(Images(), folder, {"augment": augment}, seed=seed) for seed in range(options.seeds)
                ]
                print(f"{text:<16} augment={augment:<6} {describe(kept)}", flush=True)
            if not options.no_earlier:
                cpu_s = statistics.median(result.cpu_s for result in kept)
                sizes = {"image_size": SIDE_BEFORE, "augment": "false"}
                before = [
                    train(ImagesBefore(), folder, sizes, seed=seed, cpu_s=cpu_s)
                    for seed in range(options.seeds)
                ]
                print(f"{text:<16} {'earlier':<14} {describe(before)}", flush=True)


if __name__ == "__main__":
    main()
