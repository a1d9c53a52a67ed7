"""Train the images recipe on folders of 200 to 5,000 pictures, and beside it the network of Keras's tutorial.

    python tests/benchmarks/pictures.py [--seeds 3] [--folder DIR] [--augment KIND,…] [NAME:COUNT | FOLDER …]

NAME is a folder of tests/benchmarks/picture_folders.py, COUNT the number of its training pictures. FOLDER is a folder of
your own with `train` and `test`. Prints the accuracy on the test pictures with the recipe's defaults, or with each
`augment` that is given. The peer is the network of Keras's tutorial on image classification, without and with the
tutorial's augmentation (mirrored, turned, zoomed). It trains on pictures of the same size for as many epochs as take the
same CPU time, with the tutorial's constant learning rate; of both, the epoch with the lowest validation loss counts.
Medians of all seeds; the CPU time is that of the training alone. --no-peer leaves the tutorial out.

digits needs mnist.npz in MLCTL_DATA_DIR; photographs and faces need scikit-image.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
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
    "digits:2000",
    "digits:5000",
    "letters:200",
    "letters:2000",
    "letters:5000",
    "figures:200",
    "figures:2000",
    "figures:5000",
    "photographs:200",
    "photographs:2000",
    "photographs:5000",
    "faces:100",
)
MANY_EPOCHS = {"epochs": "1000", "augment": "false"}  # the peer's CPU time ends before


class Tutorial(Images):
    """The recipe with the network of Keras's tutorial."""

    augments = False

    def build(self, hp: Values, data: Any) -> Any:
        """Return the compiled CNN."""
        import keras
        from keras import layers

        x = inputs = keras.Input(data.input_shape)
        if self.augments:
            x = layers.RandomFlip("horizontal")(x)
            x = layers.RandomZoom(0.1)(layers.RandomRotation(0.1)(x))
        for filters in (16, 32, 64):
            x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
        x = layers.Flatten()(layers.Dropout(0.2)(x) if self.augments else x)
        x = layers.Dense(128, activation="relu")(x)
        model = keras.Model(inputs, layers.Dense(len(data.classes), "softmax", dtype="float32")(x))
        model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


class AugmentedTutorial(Tutorial):
    """The same with the tutorial's augmentation."""

    augments = True


PEERS = {"tutorial": Tutorial, "tutorial, augmented": AugmentedTutorial}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a training reached: test accuracy, epochs, and CPU seconds."""

    accuracy: float
    epochs: int
    cpu_s: float


def train(
    recipe: Images, folder: Path, options: dict[str, str], *, seed: int, cpu_s: float = math.inf
) -> Result:
    """Train on a folder as `mlctl train` does, and score the kept epoch on the test pictures.

    Args:
        recipe: the recipe.
        folder: the folder of pictures.
        options: values that are set.
        seed: seed of weights and order.
        cpu_s: CPU seconds after which the training ends.
    """
    resolved = ResolvedRecipe(recipe, str(folder))
    prepared = prepare(settings.load(), resolved, recipe.values(options), listener=NullProgress())
    data, values = prepared.data, prepared.values
    precision = runtime.choose_precision("auto", prefer_bfloat16=True, hardware=runtime.detect_hardware())
    runtime.start_session(seed, precision)
    model = recipe.build(values, data)
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

    def end_in_time(_: Any) -> None:
        progress.over = time.process_time() - started >= cpu_s

    loop.run(progress, epochs=values.epochs, patience=None, on_epoch_end=end_in_time)
    found_cpu_s = time.process_time() - started
    model.set_weights(progress.best_weights)
    answers = np.asarray(loop.predictor.predict(data.test.inputs))
    labels = (answers.ravel() > 0.5) if answers.shape[-1] == 1 else answers.argmax(axis=-1)
    return Result(
        accuracy=float((labels == data.test.targets).mean()), epochs=len(progress.epochs), cpu_s=found_cpu_s
    )


def describe(results: Sequence[Result]) -> str:
    """Return the medians of several trainings in a line."""
    accuracy, cpu_s = (
        statistics.median(getattr(result, name) for result in results) for name in ("accuracy", "cpu_s")
    )
    spread = "/".join(f"{result.accuracy:.3f}" for result in results)
    return f"accuracy {accuracy:.3f} ({spread})  {results[0].epochs:>3} epochs  {cpu_s:6.1f} CPU s"


def main() -> None:
    """Print a line for each folder and network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", default=FOLDERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the folders are written, and found again")
    parser.add_argument("--augment", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--no-peer", action="store_true", help="leave the tutorial out")
    options = parser.parse_args()
    runtime.import_keras()
    values = dict(text.split("=", 1) for text in options.set)
    with tempfile.TemporaryDirectory() as temporary:
        for text in options.folders:
            folder = find_or_write(text, options.folder or Path(temporary))
            kept = []
            for augment in options.augment.split(","):
                overrides = {"augment": augment, **values}
                kept = [train(Images(), folder, overrides, seed=seed) for seed in range(options.seeds)]
                print(f"{folder.name:<18} augment={augment:<12} {describe(kept)}", flush=True)
            cpu_s = statistics.median(result.cpu_s for result in kept)
            for name, peer in {} if options.no_peer else PEERS.items():
                results = [
                    train(peer(), folder, MANY_EPOCHS, seed=seed, cpu_s=cpu_s)
                    for seed in range(options.seeds)
                ]
                print(f"{folder.name:<18} {name:<20} {describe(results)}", flush=True)


def find_or_write(text: str, parent: Path) -> Path:
    """Return a folder of the user's own, or that of NAME:COUNT in `parent`, which is written if it is missing."""
    if Path(text).is_dir():
        return Path(text)
    name, _, count = text.partition(":")
    folder = parent / f"{name}-{count}"
    return folder if folder.is_dir() else write_folder(name, int(count), folder)


if __name__ == "__main__":
    main()
