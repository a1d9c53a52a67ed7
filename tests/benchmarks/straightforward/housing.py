"""California housing as a plain user writes it: the features of the recipe in pandas, `fit`, autologging."""

import os

import keras
import mlflow
import numpy as np
import pandas as pd
from keras import layers
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from stopwatch import Stopwatch

EPOCHS, BATCH = 60, 128
LOS_ANGELES, SAN_FRANCISCO = (34.05, -118.24), (37.77, -122.42)

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("housing")
mlflow.tensorflow.autolog()


def features(rows, median, categories):
    columns = {name: rows[name] for name in ("longitude", "latitude", "housing_median_age", "median_income")}
    bedrooms = rows["total_bedrooms"].fillna(median)
    counts = {"rooms": rows["total_rooms"], "bedrooms": bedrooms, "people": rows["population"],
              "households": rows["households"], "income": rows["median_income"]}  # fmt: skip
    columns |= {f"log_{name}": np.log1p(values) for name, values in counts.items()}
    columns["rooms_each"] = np.log1p(rows["total_rooms"] / rows["households"])
    columns["bedroom_share"] = np.log1p(bedrooms / rows["total_rooms"])
    columns["people_each"] = np.log1p(rows["population"] / rows["households"])
    columns["no_bedrooms"] = rows["total_bedrooms"].isna()
    columns |= {name: rows["ocean_proximity"] == name for name in categories}
    for name, (north, east) in {"la": LOS_ANGELES, "sf": SAN_FRANCISCO}.items():
        columns[name] = np.log1p(10 * np.hypot(rows["latitude"] - north, rows["longitude"] - east))
    for turn in np.arange(4) * np.pi / 4:
        along = rows["latitude"] * np.cos(turn) + rows["longitude"] * np.sin(turn)
        columns[f"along_{turn}"] = along
        for frequency in (0.25, 0.5, 1.0, 2.0):
            columns[f"sin_{turn}_{frequency}"] = np.sin(2 * np.pi * frequency * along)
            columns[f"cos_{turn}_{frequency}"] = np.cos(2 * np.pi * frequency * along)
    return pd.DataFrame(columns).astype("float64")


watch = Stopwatch()
table = pd.read_csv(os.path.join(os.environ["MLCTL_DATA_DIR"], "housing.csv"))
rest, test = train_test_split(table, test_size=0.2, random_state=7)
train, validation = train_test_split(rest, test_size=0.2, random_state=7)
known = train["total_bedrooms"].median(), sorted(train["ocean_proximity"].unique())
scaler = StandardScaler().fit(features(train, *known))
x_train, x_val, x_test = (
    np.clip(scaler.transform(features(rows, *known)), -10, 10).astype("float32")
    for rows in (train, validation, test)
)
y_train, y_val, y_test = (rows["median_house_value"].to_numpy() for rows in (train, validation, test))

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input(x_train.shape[1:]),
        layers.Dense(128, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1),
        layers.Rescaling(float(y_train.std()), float(y_train.mean())),
    ]
)
schedule = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * -(-len(x_train) // BATCH))
model.compile(keras.optimizers.Adam(schedule), loss="mean_absolute_error", metrics=["mae"])

with mlflow.start_run():
    model.fit(
        x_train, y_train, batch_size=BATCH, epochs=EPOCHS, validation_data=(x_val, y_val), verbose=2,
        callbacks=[watch],
    )  # fmt: skip
    predictions = model.predict(x_test, verbose=0)[:, 0]
    scores = {
        "test_mae": mean_absolute_error(y_test, predictions),
        "test_rmse": root_mean_squared_error(y_test, predictions),
        "test_r2": r2_score(y_test, predictions),
    }
    mlflow.log_metrics(scores)
print(scores)
