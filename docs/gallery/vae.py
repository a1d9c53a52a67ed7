"""No target: the model adds its own loss."""

import keras
from digits28 import pictures
from keras import layers, ops

from mlctl.recipes import Dataset, Recipe, Split, minimize


@keras.saving.register_keras_serializable("gallery")
class Sampling(layers.Layer):
    """Draws a code from its mean and logarithmic variance, and adds the divergence to the loss."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = keras.random.SeedGenerator(1337)

    def call(self, parts):
        mean, log_variance = parts
        self.add_loss(
            -0.5 * ops.mean(ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=1))
        )
        noise = keras.random.normal(ops.shape(mean), seed=self.generator)
        return mean + ops.exp(0.5 * log_variance) * noise


@keras.saving.register_keras_serializable("gallery")
class Reconstruction(layers.Layer):
    """Adds the cross-entropy between a picture and its reconstruction to the loss."""

    def call(self, parts):
        picture, answer = parts
        self.add_loss(ops.mean(ops.sum(keras.losses.binary_crossentropy(picture, answer), axis=(1, 2))))
        return answer


class Vae(Recipe):
    """Variational autoencoder of handwritten digits; the decoder is served"""

    objective = minimize("val_loss")
    epochs, batch_size = 3, 64

    def load(self, source):
        train, validation = pictures(source, 3000, 1000)
        return Dataset("digits", Split(train[0]), Split(validation[0]))

    def build(self, hp, data):
        pictures_in = keras.Input((28, 28, 1))
        x = layers.Conv2D(16, 3, 2, "same", activation="relu")(pictures_in)
        x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
        code = Sampling()([layers.Dense(2)(x), layers.Dense(2)(x)])
        decoder = keras.Sequential(
            [
                keras.Input((2,)),
                layers.Dense(7 * 7 * 16, activation="relu"),
                layers.Reshape((7, 7, 16)),
                layers.Conv2DTranspose(16, 3, 2, "same", activation="relu"),
                layers.Conv2DTranspose(1, 3, 2, "same", activation="sigmoid"),
            ],
            name="decoder",
        )
        model = keras.Model(pictures_in, Reconstruction()([pictures_in, decoder(code)]))
        model.compile(keras.optimizers.Adam(hp.rate))
        return model
