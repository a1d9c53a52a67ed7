"""A table of your own: column kinds, task and split are found, and a network is trained on all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, hyperparameter, maximize, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

BINS, FEWEST_BINS, MOST_BINS = 24, 4, 2400  # of a column, of one among very many, and of all columns together
MOST_CATEGORIES, MOST_WORDS = 64, 200
SURE = 1e-6
WAVES = (0.25, 0.5, 1.0, 2.0)  # turns a standard deviation
PLACES = (("latitude", "lat"), ("longitude", "lon", "lng", "long"))


def date(data: Dataset, name: str) -> list[Any]:
    """Return the step of a date column: sure where each of its filled cells is a date."""
    from mlctl.data.tables import column_types
    from mlctl.recipes import encoders as make

    format = data.extra["formats"][name]
    splits = (split.inputs[name].dropna() for split in (data.train, data.validation, data.test) if split)
    return list(
        make.date(name, format, all(column_types.dates(cells, format).notna().all() for cells in splits))
    )


class Tabular(Recipe):
    """Network on a table of your own (.csv, .parquet): classes or numbers, whatever its columns hold"""

    name = "tabular"
    objective = minimize("val_loss")  # load names the task's own
    epochs, batch_size, learning_rate, schedule = 60, 64, 2e-3, "cosine"
    units = hyperparameter(128, low=16, high=512, step=16, help="width of each hidden layer")
    layers = hyperparameter(2, low=1, high=5, help="how many hidden layers")
    dropout = hyperparameter(0.2, low=0.0, high=0.6, help="share of values left out while training")
    weight_decay = hyperparameter(1e-3, low=1e-6, high=0.1, log=True, help="how strongly weights shrink")
    target = option("", help="the column to predict (--target)")
    task = option(
        "auto", choices=("auto", "regression", "binary", "multiclass"), help="what kind of target it is"
    )
    column = option("", each=True, help="a column's kind: column.NAME=number|category|boolean|date|text|drop")
    balance = option(False, help="let every class count as much as another, however rare it is")
    group = option("", help="a column whose rows of one value stay together in one split")
    time = option("", help="a column by which the newest rows become the test")
    header = option("auto", choices=("auto", "true", "false"), help="whether the first row names the columns")
    split_seed = option(7, low=0, help="deals the rows out to training, validation and test")

    def load(self, source: Source) -> Dataset:
        """Return the table's rows by split; see mlctl.data.tables.user_table for what is found in it."""
        from mlctl.data.sources.locate import given_file
        from mlctl.data.tables import findings, user_table

        if not source.given:
            raise UsageError("there is no table", "give it: mlctl train FILE.csv --target COLUMN")
        if not source.options.target:
            raise UsageError(
                "what is to be predicted?", f"name the column: mlctl train {source.given} --target COLUMN"
            )
        path = given_file(source)
        data = user_table.read(path, source.options.target, source.options, source.given)
        share = data.extra["share"]
        if not data.classes:
            self.objective = minimize("val_rmse")
        elif min(share) < findings.IMBALANCED / len(share):
            self.objective = maximize("val_f1")
        else:
            self.objective = minimize("val_loss")
        return data

    def encoder(self, data: Dataset) -> Any:
        """Turn every column into features by its kind."""
        from mlctl.recipes import encoders as make

        kinds, rows = data.extra["columns"], data.train.inputs
        numbers = list(kinds.values()).count("number")
        bins = max(FEWEST_BINS, min(BINS, MOST_BINS // max(numbers, 1)))  # a wide table learns noise by more
        steps: list[Any] = []
        for name, kind in kinds.items():
            if kind == "number":
                steps += make.number(name) + make.bins(name, most=bins)
                steps += make.missing(name) if rows[name].isna().any() else []
            elif kind == "category":
                steps += make.category(name, most=MOST_CATEGORIES)
            elif kind == "boolean":
                steps += make.boolean(name)
            elif kind == "text":
                steps += make.text(name, most=MOST_WORDS)
            elif kind == "date":
                steps += date(data, name)
        north, east = (next((one for one in kinds if one.lower() in names), "") for names in PLACES)
        if kinds.get(north) == kinds.get(east) == "number":
            spread = max(float(rows[north].std()), float(rows[east].std())) or 1.0
            steps += make.waves(north, east, 4, [round(turns / spread, 4) for turns in WAVES])
        return make.table(rows, steps)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network; of a regression, its last layer speaks the target's unit."""
        import keras
        from keras import layers

        model = keras.Sequential([keras.Input(data.input_shape)])
        for _ in range(hp.layers):
            model.add(layers.Dense(hp.units, activation="relu"))
            model.add(layers.Dropout(hp.dropout))
        optimizer = keras.optimizers.AdamW(hp.rate, weight_decay=hp.weight_decay)
        classes = len(data.classes)
        if not classes:
            targets = data.train.targets
            model.add(layers.Dense(1))
            scale = float(targets.std()) or 1.0
            model.add(layers.Rescaling(scale, float(targets.mean()), dtype="float32"))
            model.compile(optimizer, loss="mean_absolute_error", metrics=["mae"])
            return model
        share = data.extra["share"]
        if classes == 2:
            model.add(layers.Dense(1, activation="sigmoid", dtype="float32"))
            loss: Any = "binary_crossentropy"
            if hp.balance:  # gamma 0: cross-entropy in which alpha weighs the classes
                # certainty itself, 0 or 1, has no gradient there
                model.add(layers.Rescaling(1 - 2 * SURE, SURE, dtype="float32"))
                loss = keras.losses.BinaryFocalCrossentropy(True, alpha=share[0], gamma=0.0)
        else:
            model.add(layers.Dense(classes, activation="softmax", dtype="float32"))
            loss = "sparse_categorical_crossentropy"
            if hp.balance:
                even = [1 / (classes * max(one, 1e-6)) for one in share]
                loss = keras.losses.CategoricalFocalCrossentropy(alpha=even, gamma=0.0)
        model.compile(optimizer, loss=loss, metrics=["accuracy"])
        return model
