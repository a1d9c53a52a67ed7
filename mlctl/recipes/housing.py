"""California housing, 1990: the price of a house, from a table with gaps and categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.recipes import Recipe, Values, hyperparameter, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

LOS_ANGELES, SAN_FRANCISCO = (34.05, -118.24), (37.77, -122.42)


class Housing(Recipe):
    """Two hidden layers on 20,640 districts of California, predicting a house's price in dollars"""

    name = "housing"
    objective = minimize("val_mae")
    epochs, batch_size, learning_rate, schedule = 60, 128, 3e-3, "cosine"
    units = hyperparameter(128, low=2, high=512, step=2, help="width of the first hidden layer")
    units2 = hyperparameter(64, low=2, high=512, step=2, help="width of the second hidden layer")
    layers = hyperparameter(
        2,
        low=1,
        high=5,
        step=1,
        help="number of hidden layers; the third and later are as wide as the second",
    )
    split_seed = option(7, low=0, help="seed of the split into training, validation and test rows")

    def load(self, source: Source) -> Dataset:
        """Return the districts: 64 % for training, 16 % for validation, 20 % for the test."""
        from mlctl.data.builtin.housing import load_housing

        return load_housing(source)

    def encoder(self, data: Dataset) -> Any:
        """Compute ratios, logarithms and regions of the columns; fill gaps and scale."""
        from mlctl.recipes import encoders

        place = ("latitude", "longitude")
        steps = [
            *encoders.number("longitude", "latitude", "housing_median_age", "median_income"),
            *encoders.log("total_rooms", "total_bedrooms", "population", "households", "median_income"),
            *encoders.ratio("total_rooms", by="households"),
            *encoders.ratio("total_bedrooms", by="total_rooms"),
            *encoders.ratio("population", by="households"),
            *encoders.missing("total_bedrooms"),
            *encoders.category("ocean_proximity"),
            *encoders.distance(*place, LOS_ANGELES),
            *encoders.distance(*place, SAN_FRANCISCO),
            *encoders.waves(*place, directions=4, frequencies=(0.25, 0.5, 1.0, 2.0)),
        ]
        return encoders.table(data.train.inputs, steps)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network; its last layer answers in dollars."""
        import keras
        from keras import layers

        targets = data.train.targets
        model = keras.Sequential(
            [
                keras.Input(data.input_shape),
                layers.Dense(hp.units, activation="relu"),
                *(layers.Dense(hp.units2, activation="relu") for _ in range(hp.layers - 1)),
                layers.Dense(1),
                layers.Rescaling(float(targets.std()), float(targets.mean()), dtype="float32"),
            ]
        )
        model.compile(keras.optimizers.Adam(hp.rate), loss="mean_absolute_error", metrics=["mae"])
        return model
