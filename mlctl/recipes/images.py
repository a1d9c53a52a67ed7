"""Pictures of your own: a folder a class, or a table of paths and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, choice, hyperparameter, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

RANGES = {"0..1": (1.0, 0.0), "-1..1": (2.0, -1.0), "0..255": (255.0, 0.0)}


class Images(Recipe):
    """CNN on pictures of your own, read from disk as they are needed: a folder a class, or a table of paths"""

    name = "images"
    objective = minimize("val_loss")
    epochs, batch_size, learning_rate, schedule = 20, 32, 1e-3, "cosine"
    bfloat16 = True
    filters = hyperparameter(32, low=8, high=128, step=8, help="filters of the first convolution")
    units = hyperparameter(128, low=16, high=1024, step=16, help="width of the hidden layer")
    dropout = hyperparameter(0.3, low=0.0, high=0.8, help="share of values left out while training")
    image_size = option("128x128", help="HEIGHTxWIDTH that every picture is brought to")
    augment = option(False, help="flip, shift and zoom the training pictures at random")
    target = option("", help="a table's column of labels (--target)")
    backbone = option(
        "", help="a trained network below new layers: a .keras file, or Keras's own: MobileNetV2 …"
    )
    backbone_range = choice(*RANGES, help="the range of pixels that the backbone's file was trained on")
    split_seed = option(7, low=0, help="deals the pictures out to training, validation and test")

    def load(self, source: Source) -> Dataset:
        """Return the pictures by split; none is kept in memory."""
        from mlctl.data.files import images
        from mlctl.data.sources.locate import given_path

        if not source.given:
            raise UsageError("there are no pictures", "give them: mlctl train FOLDER")
        size = images.size_of(source.options.image_size)
        path = given_path(source)
        of = source.options
        return images.read(path, size, of.split_seed, source.progress, source.given, of.target)

    def encoder(self, data: Dataset) -> Any:
        """Scale pixels of 0 to 255."""
        from mlctl.data.files.images import FULLY_LIT
        from mlctl.recipes.encoders import pixels

        return pixels(data.train.inputs.shape[1:], high=FULLY_LIT)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled CNN, or new layers on a backbone that stays as it is."""
        import keras
        from keras import layers

        classes = len(data.classes)
        found = inputs = keras.Input(data.input_shape)
        if hp.augment:
            for layer in (
                layers.RandomFlip("horizontal"),
                layers.RandomTranslation(0.1, 0.1),
                layers.RandomZoom(0.15),
            ):
                found = layer(found)
        if hp.backbone:
            from mlctl.recipes.backbone import backbone, range_for

            found = layers.Rescaling(*RANGES[range_for(hp.backbone, hp.backbone_range)])(found)
            found = backbone(hp.backbone, data.input_shape)(found, training=False)
            if len(found.shape) == 4:
                found = layers.GlobalAveragePooling2D()(found)
        else:
            for place, times in enumerate((1, 2, 4, 4)):
                found = layers.Conv2D(hp.filters * times, 3, 2 if place == 0 else 1, "same", use_bias=False)(
                    found
                )
                found = layers.GroupNormalization(8)(found)
                found = layers.MaxPooling2D(2, padding="same")(layers.Activation("relu")(found))
            found = layers.GlobalAveragePooling2D()(found)
        found = layers.Dropout(hp.dropout)(layers.Dense(hp.units, activation="relu")(found))
        last = (
            layers.Dense(1, "sigmoid", dtype="float32")
            if classes == 2
            else layers.Dense(classes, "softmax", dtype="float32")
        )
        model = keras.Model(inputs, last(found))
        loss = "binary_crossentropy" if classes == 2 else "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(hp.rate), loss=loss, metrics=["accuracy"])
        return model
