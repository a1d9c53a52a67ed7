"""A vision transformer with layers of its own."""

import keras
from digits28 import pictures
from keras import layers, ops

from mlctl.recipes import Dataset, Recipe, Split, maximize


@keras.saving.register_keras_serializable("gallery")
class Patches(layers.Layer):
    """Cuts pictures into square patches."""

    def __init__(self, size, **options):
        super().__init__(**options)
        self.size = size

    def call(self, images):
        patches = ops.image.extract_patches(images, self.size)
        return ops.reshape(patches, (-1, patches.shape[1] * patches.shape[2], patches.shape[3]))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("gallery")
class PositionCodes(layers.Layer):
    """Projects patches and adds a learned code for each position."""

    def __init__(self, patches, width, **options):
        super().__init__(**options)
        self.patches, self.width = patches, width
        self.project, self.code = layers.Dense(width), layers.Embedding(patches, width)

    def call(self, patches):
        return self.project(patches) + self.code(ops.arange(self.patches))

    def get_config(self):
        return {**super().get_config(), "patches": self.patches, "width": self.width}


class Vit(Recipe):
    """Vision transformer on pictures of handwritten digits"""

    objective = maximize("val_accuracy")
    epochs, batch_size, learning_rate = 4, 64, 2e-3

    def load(self, source):
        train, validation = pictures(source, 3000, 1000)
        return Dataset("digits", Split(*train), Split(*validation), classes=tuple("0123456789"))

    def build(self, hp, data):
        inputs = keras.Input((28, 28, 1))
        x = PositionCodes(16, 32)(Patches(7)(inputs))
        for _ in range(2):
            normal = layers.LayerNormalization(epsilon=1e-6)(x)
            x = layers.Add()([x, layers.MultiHeadAttention(2, 16, dropout=0.1)(normal, normal)])
            normal = layers.LayerNormalization(epsilon=1e-6)(x)
            x = layers.Add()([x, layers.Dense(32)(layers.Dense(64, activation="gelu")(normal))])
        x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
        model = keras.Model(inputs, layers.Dense(10)(layers.Dropout(0.2)(x)))
        model.compile(
            keras.optimizers.AdamW(hp.rate, weight_decay=1e-4),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
        return model
