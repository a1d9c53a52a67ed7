"""A small model learns from a large one, and is the one that is served."""

import keras
from digits28 import pictures
from keras import layers, ops

from mlctl.recipes import Dataset, Recipe, Split, maximize


class Distiller(keras.Model):
    """Trains a student on labels and on a teacher's answers."""

    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        soft = ops.softmax(self.teacher(x, training=False) / 10)
        return 0.1 * loss + 0.9 * ops.mean(keras.losses.kl_divergence(soft, ops.softmax(y_pred / 10))) * 100

    def call(self, x, training=False):
        return self.student(x, training=training)


def network(filters):
    """Return a network of two convolutions that answers ten logits."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(filters, 3, 2, "same", activation="relu"),
            layers.Conv2D(2 * filters, 3, 2, "same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


class Distillation(Recipe):
    """A student network that learns from a teacher"""

    objective = maximize("val_accuracy")
    epochs, batch_size = 3, 64

    def load(self, source):
        train, validation = pictures(source, 4000, 1000)
        return Dataset("digits", Split(*train), Split(*validation), classes=tuple("0123456789"))

    def build(self, hp, data):
        teacher = network(32)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        teacher.compile("adam", loss)
        teacher.fit(data.train.inputs, data.train.targets, batch_size=64, epochs=2, verbose=0)
        teacher.trainable = False
        model = Distiller(network(8), teacher)
        model.compile(keras.optimizers.Adam(hp.rate), loss, metrics=["accuracy"])
        return model

    def serving(self, model, data):
        return model.student
