"""Your own table: mlctl detects column types, task and split, and trains a network on all columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, hyperparameter, maximize, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

SHOWN_COLUMNS = 20  # in a hint
BINS, FEWEST_BINS = 24, 4  # of a column; of a column of a wide table
MOST_BINS = 2400  # of all columns together: with more, a network learns noise
MOST_CATEGORIES, MOST_WORDS = 64, 200
WAVES = (0.25, 0.5, 1.0, 2.0)  # turns per standard deviation
PLACES = (("latitude", "lat"), ("longitude", "lon", "lng", "long"))


def date_step(data: Dataset, name: str) -> list[Any]:
    """Return the step of a date column; it is sure if each of its filled cells is a date."""
    from mlctl.data.tables import column_types
    from mlctl.recipes import encoders

    format = data.extra["formats"][name]
    splits = (split.inputs[name].dropna() for split in (data.train, data.validation, data.test) if split)
    return list(
        encoders.date(
            name, format, all(column_types.parse_dates(cells, format).notna().all() for cells in splits)
        )
    )


class Tabular(Recipe):
    """Network on your own table (.csv, .parquet): predicts classes or numbers from columns of any type"""

    name = "tabular"
    objective = minimize("val_loss")  # `load` returns the one of the task
    epochs, batch_size, learning_rate, schedule = 60, 64, 2e-3, "cosine"
    units = hyperparameter(128, low=16, high=512, step=16, help="width of each hidden layer")
    layers = hyperparameter(2, low=1, high=5, help="number of hidden layers")
    dropout = hyperparameter(0.2, low=0.0, high=0.6, help="share of values dropped in training")
    weight_decay = hyperparameter(1e-3, low=1e-6, high=0.1, log=True, help="strength of the weight decay")
    target = option("", help="the column to predict (--target)")
    task = option(
        "auto", choices=("auto", "regression", "binary", "multiclass"), help="the type of the target"
    )
    column = option("", each=True, help="a column's type: column.NAME=number|category|boolean|date|text|drop")
    class_weight = option(
        "none",
        choices=("none", "balanced"),
        help="balanced: all classes weigh the same, however rare they are",
    )
    balance = option(False, help="an earlier name of class_weight=balanced")
    weight = option("", help="a column of weights: how much each row counts in the loss; it is no input")
    group = option("", help="a column: rows with the same value stay in the same split")
    time = option("", help="a column of times: the newest rows become the test split")
    header = option(
        "auto", choices=("auto", "true", "false"), help="whether the first row holds the column names"
    )
    split_seed = option(7, low=0, help="seed of the split into training, validation and test rows")

    def load(self, source: Source) -> Dataset:
        """Return the table's rows by split; see mlctl.data.tables.user_table for what mlctl detects."""
        from mlctl.data.sources.locate import local_file
        from mlctl.data.tables import findings, reader, user_table

        if not source.location:
            raise UsageError("no table was given", "name it instead of tabular: FILE.csv --target COLUMN")
        path = local_file(source)
        if not source.options.target:
            names = ", ".join(str(name) for name in reader.read_head(path).columns[:SHOWN_COLUMNS])
            raise UsageError(
                "the column to predict was not given", f"add --target COLUMN; the columns are: {names}"
            )
        data = user_table.load_table(path, source.options.target, source.options, source=source.location)
        share = data.extra["share"]
        if not data.classes:
            return replace(data, objective=minimize("val_rmse"))
        if source.options.balance:
            note = "balance=true is now class_weight=balanced"
            data = replace(data, class_weight="balanced", notes=(*data.notes, note))
        if min(share) < findings.IMBALANCED / len(share):
            return replace(data, objective=maximize("val_f1"))
        return data

    def encoder(self, data: Dataset) -> Any:
        """Turn every column into features by its type."""
        from mlctl.recipes import encoders

        types, rows = data.extra["columns"], data.train.inputs
        numbers = list(types.values()).count("number")
        bins = max(FEWEST_BINS, min(BINS, MOST_BINS // max(numbers, 1)))
        steps: list[Any] = []
        for name, type_ in types.items():
            if type_ == "number":
                steps += encoders.number(name) + encoders.bins(name, most=bins)
                steps += encoders.missing(name) if rows[name].isna().any() else []
            elif type_ == "category":
                steps += encoders.category(name, most=MOST_CATEGORIES)
            elif type_ == "boolean":
                steps += encoders.boolean(name)
            elif type_ == "text":
                steps += encoders.text(name, most=MOST_WORDS)
            elif type_ == "date":
                steps += date_step(data, name)
        north, east = (next((column for column in types if column.lower() in names), "") for names in PLACES)
        if types.get(north) == types.get(east) == "number":
            spread = max(float(rows[north].std()), float(rows[east].std())) or 1.0
            steps += encoders.waves(north, east, 4, [round(turns / spread, 4) for turns in WAVES])
        return encoders.table(rows, steps)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network; the last layer of a regression answers in the target's unit."""
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
        if classes == 2:
            model.add(layers.Dense(1, activation="sigmoid", dtype="float32"))
            loss = "binary_crossentropy"
        else:
            model.add(layers.Dense(classes, activation="softmax", dtype="float32"))
            loss = "sparse_categorical_crossentropy"
        model.compile(optimizer, loss=loss, metrics=["accuracy"])
        return model
