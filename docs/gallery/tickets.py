"""Three inputs and two outputs."""

import keras
import numpy as np
from keras import layers

from mlctl.recipes import Dataset, Recipe, Split, minimize, outputs


class Tickets(Recipe):
    """Priority and department of a ticket, from its title, its text and its flags"""

    objective = minimize("val_loss")
    epochs = 4

    def load(self, source):
        rng = np.random.default_rng(0)
        title, body = rng.integers(1, 100, (800, 10)), rng.integers(1, 100, (800, 40))
        flags = rng.integers(0, 2, (800, 12)).astype("float32")
        priority = ((title < 20).sum(axis=1, keepdims=True) + flags[:, :1] * 2 > 3).astype("float32")
        department = np.minimum((body < 25).sum(axis=1) // 4, 3)
        inputs = {"title": title, "body": body, "flags": flags}
        targets = {"priority": priority, "department": department}
        rows = Split(inputs, targets)
        return Dataset(
            "tickets",
            rows.take(np.arange(600)),
            rows.take(np.arange(600, 800)),
            outputs=(
                outputs.classes("low", "high", name="priority"),
                outputs.classes("sales", "support", "law", "press", name="department"),
            ),
        )

    def build(self, hp, data):
        title, body = keras.Input((None,), name="title"), keras.Input((None,), name="body")
        flags = keras.Input((12,), name="flags")
        x = layers.Concatenate()(
            [
                layers.LSTM(32)(layers.Embedding(100, 16)(title)),
                layers.LSTM(16)(layers.Embedding(100, 16)(body)),
                flags,
            ]
        )
        model = keras.Model(
            {"title": title, "body": body, "flags": flags},
            {
                "priority": layers.Dense(1, name="priority")(x),
                "department": layers.Dense(4, name="department")(x),
            },
        )
        model.compile(
            keras.optimizers.RMSprop(hp.rate),
            {
                "priority": keras.losses.BinaryCrossentropy(from_logits=True),
                "department": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            },
            loss_weights={"priority": 1.0, "department": 0.2},
        )
        return model
