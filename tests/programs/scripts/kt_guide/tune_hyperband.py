"""KerasTuner's guide: a hypermodel class with its own fit, searched by Hyperband."""

import os

import keras
import keras_tuner
from keras import layers

PICTURES = int(os.environ.get("PICTURES", 60000))
MAX_EPOCHS = int(os.environ.get("MAX_EPOCHS", 10))


class MyHyperModel(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential()
        model.add(layers.Flatten())
        for i in range(hp.Int("num_layers", 1, 3)):
            model.add(
                layers.Dense(
                    units=hp.Int(f"units_{i}", min_value=32, max_value=128, step=32),
                    activation=hp.Choice("activation", ["relu", "tanh"]),
                )
            )
        if hp.Boolean("dropout"):
            model.add(layers.Dropout(rate=0.25))
        model.add(layers.Dense(10, activation="softmax"))
        learning_rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
            loss="categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, shuffle=hp.Boolean("shuffle"), **kwargs)


(x, y), (x_test, y_test) = keras.datasets.mnist.load_data()
x, y = x[:PICTURES], y[:PICTURES]
x_test, y_test = x_test[: PICTURES // 6], y_test[: PICTURES // 6]
x_train, x_val = x[: -PICTURES // 6], x[-PICTURES // 6 :]
y_train, y_val = y[: -PICTURES // 6], y[-PICTURES // 6 :]
x_train = x_train[..., None].astype("float32") / 255.0
x_val = x_val[..., None].astype("float32") / 255.0
x_test = x_test[..., None].astype("float32") / 255.0
y_train, y_val, y_test = (keras.utils.to_categorical(labels, 10) for labels in (y_train, y_val, y_test))

tuner = keras_tuner.Hyperband(
    MyHyperModel(),
    objective="val_accuracy",
    max_epochs=MAX_EPOCHS,
    factor=3,
    seed=1,
    directory="my_dir",
    project_name="digits",
)
tuner.search_space_summary()
tuner.search(x_train, y_train, epochs=MAX_EPOCHS, validation_data=(x_val, y_val))
tuner.results_summary()

best_model = tuner.get_best_models(num_models=1)[0]
best_model.summary()
print(best_model.evaluate(x_test, y_test))
