"""Your own images: a folder per class, or a table of paths and labels."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.domain.threshold import HELP as THRESHOLD_HELP
from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, choice, hyperparameter, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

SIZE_OF_PUBLISHED_WEIGHTS = (224, 224)  # of most of Keras's networks
AUTO = "auto"
SHIFT = 0.1  # of height and width
SMALL_SIDE = 64  # pixels up to which the first convolution keeps the size
FEW_CELLS = 8  # of height and width, which end the convolutions
MOMENTUM = 0.9  # of the statistics that normalize predictions
UNSETTLED = 0.02  # largest weight that their initial values may have after half of all steps
EPOCHS = ((500, 60), (2_000, 40), (10_000, 25))  # for up to so many training images; 20 for more
RATE_AFTER_BACKBONE = 1e-3  # of layers that are not normalized
RANGES = {"0..1": (1.0, 0.0), "-1..1": (2.0, -1.0), "0..255": (255.0, 0.0)}


class Images(Recipe):
    """CNN on your own images, read from disk as needed: a folder per class, or a table of paths"""

    name = "images"
    objective = minimize("val_loss")
    epochs, batch_size, learning_rate, schedule = 20, 32, 3e-3, "cosine"
    bfloat16 = True
    filters = hyperparameter(32, low=8, high=128, step=8, help="filters of the first convolution")
    units = hyperparameter(128, low=16, high=1024, step=16, help="width of the hidden layer")
    dropout = hyperparameter(0.3, low=0.0, high=0.8, help="share of values dropped in training")
    image_size = option(
        AUTO,
        help="HEIGHTxWIDTH that every image is scaled to; auto: the images' own size, at most as many pixels as 128x128",
    )
    augment = option(
        AUTO,
        choices=(AUTO, "shift", "flip", True, False),
        help="change training images at random: shift them; flip: also mirror them; true: also zoom; auto: mirror"
        " them if mirrored images look like their class",
    )
    class_weight = option(
        "none",
        choices=("none", "balanced"),
        help="balanced: all classes weigh the same, however rare they are",
    )
    threshold = option("", help=THRESHOLD_HELP)
    target = option("", help="for a table: the column of labels (--target)")
    backbone = option(
        "", help="a pretrained network under new layers: a .keras file, or one of Keras's: MobileNetV2 …"
    )
    backbone_range = choice(*RANGES, help="the pixel range that the backbone file was trained on")
    split_seed = option(7, low=0, help="seed of the split into training, validation and test rows")

    def load(self, source: Source) -> Dataset:
        """Return the images by split; many of them stay on disk."""
        from mlctl.data.files import images
        from mlctl.data.sources.locate import local_path

        if not source.location:
            raise UsageError("no images were given", "name their folder or table instead of images")
        options = source.options
        size = images.parse_size(options.image_size)
        if size is None and options.backbone:
            size = size_of_backbone(options.backbone)
        path = local_path(source)
        if path.suffix.lower() == ".npz":
            from mlctl.data.files.image_arrays import load_image_arrays

            data = load_image_arrays(
                path, size, seed=options.split_seed, source=source.location, target=options.target
            )
        else:
            data = images.load_images(
                path,
                size,
                seed=options.split_seed,
                progress=source.progress,
                source=source.location,
                target=options.target,
            )
        rows = len(data.train)
        epochs = next((epochs for limit, epochs in EPOCHS if rows <= limit), self.epochs)
        defaults: dict[str, Any] = {"epochs": epochs}
        if options.backbone:
            defaults["learning_rate"] = RATE_AFTER_BACKBONE
        data = dataclasses.replace(data, defaults=defaults)
        return data if options.augment != AUTO or options.backbone else with_augmentation(data)

    def encoder(self, data: Dataset) -> Any:
        """Scale pixels from 0..255."""
        from mlctl.pictures import MAX_PIXEL
        from mlctl.recipes.encoders import pixels

        return pixels(data.train.inputs.shape[1:], high=MAX_PIXEL)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled CNN, or new layers on a frozen backbone."""
        import keras
        from keras import layers

        classes = len(data.classes)
        x = inputs = keras.Input(data.input_shape)
        for layer in augmentation(hp.augment, has_backbone=bool(hp.backbone)):
            x = layer(x)
        if hp.backbone:
            from mlctl.recipes.backbone import backbone, pixel_range

            x = layers.Rescaling(*RANGES[pixel_range(hp.backbone, hp.backbone_range)])(x)
            x = backbone(hp.backbone, data.input_shape)(x, training=False)
            if len(x.shape) == 4:
                x = layers.GlobalAveragePooling2D()(x)
        else:
            x = convolutions(x, hp.filters, choose_momentum(hp.steps_per_epoch * hp.epochs))
        x = layers.Dropout(hp.dropout)(layers.Dense(hp.units, activation="relu")(x))
        last = (
            layers.Dense(1, "sigmoid", dtype="float32")
            if classes == 2
            else layers.Dense(classes, "softmax", dtype="float32")
        )
        model = keras.Model(inputs, last(x))
        loss = "binary_crossentropy" if classes == 2 else "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(hp.rate), loss=loss, metrics=["accuracy"])
        return model


def choose_momentum(steps: int) -> float:
    """Return the momentum of the statistics that normalize predictions: in few steps it must forget sooner."""
    return float(min(MOMENTUM, UNSETTLED ** (2 / steps)))


def convolutions(x: Any, filters: int, momentum: float) -> Any:
    """Return features (n, 8 * filters) of images (n, height, width, 3) with values in 0..1.

    There are as many convolutions as it takes to get to cells of which an image has few. They are normalized after the
    pooling, where that takes a quarter of the time.
    """
    from keras import layers

    def convolution(x: Any, filters: int, stride: int = 1) -> Any:
        layer = layers.Conv2D(filters, 3, stride, "same", use_bias=False, kernel_initializer="he_normal")
        return layer(x)

    def activation(x: Any) -> Any:
        return layers.Activation("relu")(layers.BatchNormalization(momentum=momentum)(x))

    x = layers.Rescaling(4.0, -2.0)(x)  # about mean 0 and deviation 1
    x = convolution(x, filters, 1 if max(x.shape[1:3]) <= SMALL_SIDE else 2)
    for factor in (2, 4, 4, 4, 4, 4, 4):
        x = convolution(activation(layers.MaxPooling2D(2, padding="same")(x)), filters * factor)
        if factor == 4 and max(x.shape[1:3]) <= FEW_CELLS:
            break
    x = activation(x)
    return layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])


def with_augmentation(data: Dataset) -> Dataset:
    """Return the data with the default of `augment` that fits its images, and a note if they are mirrored."""
    from mlctl.data.files.mirrored import look_alike_mirrored

    inputs = data.train.inputs
    if not look_alike_mirrored(inputs, data.train.targets, getattr(inputs, "files", ())):
        return dataclasses.replace(data, defaults={**data.defaults, "augment": "shift"})
    note = (
        "training images are shifted and mirrored, as mirrored ones look like their class;"
        " --set augment=shift only shifts them"
    )
    return dataclasses.replace(data, defaults={**data.defaults, "augment": "flip"}, notes=(*data.notes, note))


def augmentation(kind: Any, *, has_backbone: bool) -> list[Any]:
    """Return the layers that change training images at random.

    By default images are shifted, except in front of a backbone, whose features are then computed once.
    """
    from keras import layers

    if kind is False or (kind == AUTO and has_backbone):
        return []
    if kind is True:
        return [
            layers.RandomFlip("horizontal"),
            layers.RandomTranslation(SHIFT, SHIFT),
            layers.RandomZoom(0.15),
        ]
    shift = layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest", interpolation="nearest")
    return [layers.RandomFlip("horizontal"), shift] if kind == "flip" else [shift]


def size_of_backbone(name: str) -> tuple[int, int] | None:
    """Return the (height, width) that a backbone takes; None if it takes any, or its file cannot be read."""
    path = Path(name).expanduser()
    if not path.exists():
        return SIZE_OF_PUBLISHED_WEIGHTS
    try:
        with zipfile.ZipFile(path) as parts:
            shape = _input_shape(json.loads(parts.read("config.json")))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None  # `build` says what is wrong
    height, width = (*shape[1:3], None, None)[:2]
    return (int(height), int(width)) if height and width else None


def _input_shape(config: Any) -> list[Any]:
    """Return the first shape of inputs in the configuration of a Keras model; [] if there is none."""
    parts = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    if isinstance(config, dict) and isinstance(config.get("batch_shape"), list):
        return list(config["batch_shape"])
    return next((shape for part in parts if (shape := _input_shape(part))), [])
