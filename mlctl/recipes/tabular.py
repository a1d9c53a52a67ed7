"""Your own table: mlctl detects column types, task and split, and trains a network on all columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mlctl.domain.threshold import HELP as THRESHOLD_HELP
from mlctl.errors import UsageError
from mlctl.recipes import Recipe, Values, choice, hyperparameter, maximize, minimize, option

if TYPE_CHECKING:
    import keras

    from mlctl.data.dataset import Dataset
    from mlctl.data.sources.locate import Source

SHOWN_COLUMNS = 20  # in a hint
BINS, FEWEST_BINS = 48, 4  # of a column; of a column of a wide table
MOST_BINS = 2400  # of all columns together: with more, a network learns noise
FEW_NUMBERS = 12  # numeric columns; a table with more, and few rows, has fewer bins and weights its columns
ROWS_OF_NUMBER = 10  # fewest rows for each numeric column, so that the relevance of columns is not chance
LEAST_RELEVANCE = 0.1  # of the most relevant column's: no column is drowned
MOST_CATEGORIES, MOST_ONE_HOTS = 1000, 4000  # of a column; of all columns together
WAVES, DIRECTIONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0), 8  # of a place; turns per standard deviation
PLACES = (("latitude", "lattitude", "lat"), ("longitude", "longtitude", "lon", "lng", "long"))
BATCHES_PER_EPOCH, BATCH_SIZES = 20, (32, 256)
BAGS, MEMBERS_OF_BAG, MOST_BAGGED_ROWS = 5, 4, 12_000
MEMBERS, MEMBERS_OF_MANY_ROWS = 16, 8
EPOCHS, STEPS = (30, 100), 1700  # fewest and most epochs; steps of many rows after which little is learned
STEPS_OF_FEW_ROWS = 2400  # the same of fewer rows
AVERAGED_STEPS = 10, 100  # fewest and most steps whose weights are averaged
PATIENCE, PATIENCE_OF_MANY_ROWS = 16, 8  # epochs without a better one that end a training
# standard errors: F1 depends on the few rows of a rare class; and the accuracies of two epochs on the same rows differ
# by less than those on other rows
TOLERANCE_OF_F1, TOLERANCE_OF_ACCURACY = 4.0, 0.25
WIDE_LOG = 1.1  # standard deviation of a target's logarithm from which this is learned
SKEWED, EVEN = 3.0, 1.0  # skewness of a target whose logarithm is learned; most skewness of the logarithm


def date_step(data: Dataset, name: str) -> list[Any]:
    """Return the step of a date column; it is sure if each of its filled cells is a date."""
    from mlctl.data.tables import date_columns
    from mlctl.recipes import encoders

    format = data.extra["formats"][name]
    splits = (split.inputs[name].dropna() for split in (data.train, data.validation, data.test) if split)
    is_sure = all(all(date_columns.are_dates(cells, format)) for cells in splits)
    return list(encoders.date(name, format, is_sure))


class Tabular(Recipe):
    """Network on your own table (.csv, .xlsx, .json, .parquet, …): predicts classes or numbers from columns of any type"""

    name = "tabular"
    objective = minimize("val_loss")  # `load` returns the one of the task
    long_steps = True
    epochs, learning_rate, schedule = 100, 2e-3, "constant"
    batch_size = hyperparameter(0, low=0, high=1_000_000, help="examples per step; 0: by the number of rows")
    units = hyperparameter(256, low=16, high=512, step=16, help="width of each hidden layer")
    layers = hyperparameter(2, low=1, high=5, help="number of hidden layers")
    dropout = hyperparameter(0.1, low=0.0, high=0.6, help="share of values dropped in training")
    weight_decay = hyperparameter(3e-4, low=1e-6, high=0.1, log=True, help="strength of the weight decay")
    label_smoothing = hyperparameter(
        0.15, low=0.0, high=0.4, help="share of the probability that is spread over more than two classes"
    )
    members = choice(
        0, 1, 4, 8, 16, 32, help="networks that are averaged, in each bag; 0: by the number of rows"
    )
    bags = option(
        0,
        low=0,
        high=20,
        help="parts of the rows that some members leave out and that validate them; 1: none, 0: by the data",
    )
    scale = option(
        "auto",
        choices=("auto", "linear", "log"),
        help="scale on which a regression learns; auto: by the spread",
    )
    target = option("", help="the column to predict (--target)")
    task = option(
        "auto", choices=("auto", "regression", "binary", "multiclass"), help="the type of the target"
    )
    column = option("", each=True, help="a column's type: column.NAME=number|category|boolean|date|text|drop")
    date = option("", each=True, help="the format of a column's dates: date.NAME=%m/%d/%Y|epoch|epoch_ms|…")
    sentinels = option(
        True, help="whether numbers such as -999, far outside all others, stand for a missing value"
    )
    sentinel = option(
        "", each=True, help="the number that stands for a missing value: sentinel.NAME=-999|none"
    )
    class_weight = option(
        "none",
        choices=("none", "balanced"),
        help="balanced: all classes weigh the same, however rare they are",
    )
    threshold = option("", help=THRESHOLD_HELP)
    weight = option("", help="a column of weights: how much each row counts in the loss; it is no input")
    positive = option("", help="the positive class of two (default: by its meaning, else the rarer)")
    rare = option(
        "train",
        choices=("train", "other", "drop"),
        help="what becomes of classes with fewer than 5 rows: train (only trained on), other (one class), drop",
    )
    split = option("", help="a column of split names: train, validation, test; it is no input")
    validation = option("", help="a file with the validation rows (--validation)")
    test = option("", help="a file with the test rows (--test)")
    group = option("", help="a column: rows with the same value stay in the same split")
    time = option("", help="a column of times: the newest rows become the test split")
    header = option(
        "auto", choices=("auto", "true", "false"), help="whether the first row holds the column names"
    )
    sheet = option("", help="name or number of a spreadsheet's sheet (default: the first one with rows)")
    split_seed = option(7, low=0, help="seed of the split into training, validation and test rows")

    def load(self, source: Source) -> Dataset:
        """Return the table's rows by split; see mlctl.data.tables.user_table for what mlctl detects."""
        from mlctl.data.sources.locate import local_path
        from mlctl.data.tables import findings, reader, user_table

        if not source.location:
            raise UsageError("no table was given", "name it instead of tabular: FILE.csv --target COLUMN")
        path = local_path(source)
        if not source.options.target:
            names = ", ".join(
                str(name)
                for name in reader.read_head(path, sheet=source.options.sheet).columns[:SHOWN_COLUMNS]
            )
            raise UsageError(
                "the column to predict was not given", f"add --target COLUMN; the columns are: {names}"
            )
        validation, test = (
            local_path(replace(source, location=file)) if file else None
            for file in (source.options.validation, source.options.test)
        )
        data = user_table.load_table(
            path,
            source.options.target,
            source.options,
            source=source.location,
            validation=validation,
            test=test,
        )
        share = data.extra["share"]
        data = _with_defaults(data, source.options)
        if not data.classes:
            return replace(data, objective=minimize("val_rmse"))
        if findings.is_imbalanced(share):
            return replace(data, objective=maximize("val_f1", tolerance=TOLERANCE_OF_F1))
        if len(data.classes) > 2:
            return replace(data, objective=maximize("val_accuracy", tolerance=TOLERANCE_OF_ACCURACY))
        return data

    def encoder(self, data: Dataset) -> Any:
        """Turn every column into features by its type."""
        from mlctl.recipes import encoders
        from mlctl.recipes.text_scores import text_steps

        types, rows = data.extra["columns"], _rows_to_fit(data)
        numbers = list(types.values()).count("number")
        bins, weights = _bins_of(numbers, len(rows)), _weights_of_numbers(data, rows)
        categories = min(MOST_CATEGORIES, MOST_ONE_HOTS // max(list(types.values()).count("category"), 1))
        steps: list[Any] = []
        for name, type_ in types.items():
            if type_ == "number":
                found = encoders.robust(name)
                if rows[name].nunique() > 2:
                    found += encoders.unscaled(encoders.bins(name, most=bins))
                steps += encoders.weighted(found, weights[name]) if name in weights else found
                steps += encoders.unscaled(encoders.missing(name)) if rows[name].isna().any() else []
            elif type_ == "category":
                steps += encoders.unscaled(encoders.category(name, most=categories))
            elif type_ == "boolean":
                steps += encoders.unscaled(encoders.boolean(name))
            elif type_ == "text":
                steps += text_steps(name, rows[name], _targets_to_fit(data), len(data.classes))
            elif type_ == "date":
                (step,) = date_step(data, name)
                steps += [step, *encoders.calendar_flags(name, step["format"], step["sure"])]
        north, east = (next((column for column in types if column.lower() in names), "") for names in PLACES)
        if types.get(north) == types.get(east) == "number":
            spread = max(float(rows[north].std()), float(rows[east].std())) or 1.0
            steps += encoders.waves(north, east, DIRECTIONS, [round(turns / spread, 4) for turns in WAVES])
        return encoders.table(rows, steps)

    def build(self, hp: Values, data: Dataset) -> keras.Model:
        """Return the compiled network; its members answer with probabilities, or in the target's unit."""
        import keras
        from keras import layers

        from mlctl.recipes.members import MemberNetwork, member_values, nearly_absolute_error, smoothed

        classes, features = len(data.classes), keras.Input(data.input_shape)
        values = member_values(
            features,
            units=hp.units,
            depth=hp.layers,
            dropout=hp.dropout,
            members=hp.members,
            bags=hp.bags,
            outputs=classes if classes > 2 else 1,
        )
        if classes:
            loss, metrics = "binary_crossentropy", ["accuracy"]
            answers = layers.Activation("softmax" if classes > 2 else "sigmoid", dtype="float32")(values)
            if classes > 2:
                loss = "sparse_categorical_crossentropy"
            model = MemberNetwork(
                features,
                answers,
                answers,
                encode=partial(
                    smoothed, classes=classes, smoothing=hp.label_smoothing if classes > 2 else 0.0
                ),
                loss=keras.losses.categorical_crossentropy
                if classes > 2
                else keras.losses.binary_crossentropy,
                bags=hp.bags,
                metrics=metrics,
            )
        else:
            loss, metrics = "mean_absolute_error", ["mae"]
            is_log = hp.scale == "log" or (hp.scale == "auto" and learns_logarithm(data.train.targets))
            scale = TargetScale.fitted(data.train.targets, is_log=is_log)
            model = MemberNetwork(
                features,
                values,
                scale.answers(values),
                encode=scale.encode,
                loss=nearly_absolute_error,
                bags=hp.bags,
                loss_scale=scale.loss_scale,
                metrics=metrics,
            )
        if hp.bags > 1 and data.validation is not None:  # for the schedule: all rows are trained on
            hp = hp.on(len(data.train) + len(data.validation))
        optimizer = keras.optimizers.AdamW(
            hp.rate,
            weight_decay=hp.weight_decay,
            clipnorm=1.0,
            use_ema=True,
            ema_momentum=1 - 1 / min(AVERAGED_STEPS[1], max(AVERAGED_STEPS[0], 2 * hp.steps_per_epoch)),
        )
        model.compile(optimizer, loss=loss, metrics=metrics)
        return model

    def callbacks(self, hp: Values, data: Dataset) -> list[keras.callbacks.Callback]:
        """Stop when the objective has not become better for some epochs."""
        import keras

        if data.validation is None:
            return []
        objective = data.objective or self.objective
        rows = len(data.train) + len(data.validation)
        patience = PATIENCE if rows <= MOST_BAGGED_ROWS else PATIENCE_OF_MANY_ROWS
        return [
            keras.callbacks.EarlyStopping(
                objective.metric, patience=patience, mode="max" if objective.maximize else "min"
            )
        ]

    def serving(self, model: keras.Model, data: Dataset) -> keras.Model:
        """Return the network in which all members answer."""
        return model.averaged() if hasattr(model, "averaged") else model


def _with_defaults(data: Dataset, options: Mapping[str, Any]) -> Dataset:
    """Return the data with the hyperparameters that fit its number of rows, and a note of what they mean.

    Bags need rows that are split at random: rows of a group, or of a time, that are left out are not new to a bag.
    Raises UsageError if the user wants bags of other rows.
    """
    rows = len(data.train) + len(data.validation)
    low, high = BATCH_SIZES
    batch_size = min(high, max(low, 1 << round(math.log2(rows / BATCHES_PER_EPOCH))))
    chosen = next((name for name in ("group", "time", "split", "validation") if options.get(name)), "")
    bags = int(options.get("bags") or 0)
    if chosen and bags > 1:
        raise UsageError(
            f"bags={bags} leaves rows out at random, and {chosen}= chooses the validation rows",
            "leave one of them out",
        )
    bags = bags or (BAGS if not chosen and rows <= MOST_BAGGED_ROWS else 1)
    members = MEMBERS if rows <= MOST_BAGGED_ROWS else MEMBERS_OF_MANY_ROWS
    batches = -(-(rows if bags > 1 else len(data.train)) // batch_size)
    steps = STEPS_OF_FEW_ROWS if rows <= MOST_BAGGED_ROWS else STEPS
    defaults = {
        "epochs": min(EPOCHS[1], max(EPOCHS[0], steps // batches)),
        "batch_size": batch_size,
        "bags": bags,
        "members": MEMBERS_OF_BAG if bags > 1 else members,
    }
    note = (
        f"the network trains on training and validation rows: {bags} groups of its members leave out 1/{bags} each,"
        " and validate it"
    )
    return replace(data, defaults=defaults, notes=(*data.notes, *([note] if bags > 1 else [])))


def _rows_to_fit(data: Dataset) -> Any:
    """Return the rows from which the encoder learns gaps, categories and edges of bins."""
    import pandas as pd

    if data.defaults.get("bags", 1) == 1 or data.validation is None:
        return data.train.inputs
    return pd.concat([data.train.inputs, data.validation.inputs], ignore_index=True)


def _targets_to_fit(data: Dataset) -> Any:
    """Return the targets of `_rows_to_fit`."""
    import numpy as np

    if data.defaults.get("bags", 1) == 1 or data.validation is None:
        return data.train.targets
    return np.concatenate([data.train.targets, data.validation.targets])


def _bins_of(numbers: int, rows: int) -> int:
    """Return the number of bins of each numeric column.

    With few rows and many columns, a network learns the noise of columns that tell little; so bins become fewer with
    the square of the number of columns.
    """
    bins = min(BINS, MOST_BINS // max(numbers, 1))
    if rows <= MOST_BAGGED_ROWS and numbers > FEW_NUMBERS:
        bins = min(bins, BINS * FEW_NUMBERS**2 // numbers**2)
    return max(FEWEST_BINS, bins)


def _weights_of_numbers(data: Dataset, rows: Any) -> dict[str, float]:
    """Return a weight for each numeric column of a table with many, by what it tells about the target on its own."""
    import numpy as np

    from mlctl.recipes.relevance import relevance

    names = [name for name, type_ in data.extra["columns"].items() if type_ == "number"]
    if not FEW_NUMBERS < len(names) <= len(rows) / ROWS_OF_NUMBER or len(rows) > MOST_BAGGED_ROWS:
        return {}
    targets = _targets_to_fit(data)
    found = {
        name: math.sqrt(
            relevance(rows[name].to_numpy(np.float64, na_value=np.nan), targets, len(data.classes))
        )
        for name in names
    }
    most = max(found.values()) or 1.0
    return {name: max(LEAST_RELEVANCE, value / most) for name, value in found.items()}


def learns_logarithm(targets: Any) -> bool:
    """Return whether the logarithm of values of at least 0 is learned.

    Either they span orders of magnitude, or a few are far larger than the others and their logarithms are not.
    """
    import numpy as np

    if targets.min() < 0:
        return False
    logarithms = np.log1p(targets)
    is_skewed = _skewness(targets) > SKEWED and abs(_skewness(logarithms)) < EVEN
    return bool(logarithms.std() > WIDE_LOG or is_skewed)


def _skewness(values: Any) -> float:
    import numpy as np

    deviation = float(values.std())
    return float(np.mean(((values - values.mean()) / deviation) ** 3)) if deviation else 0.0


@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """How the values of a regression are learned: from their mean, in standard deviations; or so their logarithm."""

    mean: float
    deviation: float
    is_log: bool

    @classmethod
    def fitted(cls, targets: Any, *, is_log: bool) -> TargetScale:
        """Return the scale for training targets; a logarithm needs values of at least 0."""
        import numpy as np

        is_log = is_log and bool(targets.min() >= 0)
        values = np.log1p(targets) if is_log else targets
        return cls(mean=float(values.mean()), deviation=float(values.std()) or 1.0, is_log=is_log)

    @property
    def loss_scale(self) -> float:
        """The loss in the target's unit per loss on this scale; 1 for logarithms, which have no such factor."""
        return 1.0 if self.is_log else self.deviation

    def encode(self, targets: Any) -> Any:
        """Return targets on this scale: (n, 1)."""
        from keras import ops

        column = ops.reshape(ops.cast(targets, "float32"), (-1, 1))
        return ((ops.log1p(column) if self.is_log else column) - self.mean) / self.deviation

    def answers(self, values: Any) -> Any:
        """Return values on this scale in the target's unit, with layers of Keras."""
        from keras import layers

        answers = layers.Rescaling(self.deviation, self.mean, dtype="float32")(values)
        if self.is_log:
            answers = layers.Activation("exponential", dtype="float32")(answers)
            answers = layers.Rescaling(1.0, -1.0, dtype="float32")(answers)
        return answers
