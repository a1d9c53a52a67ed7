"""What a peer's server calls for each of the benchmark's models. BENCH_MODEL names it, BENCH_FOLDER has its files."""

import io
import os
from pathlib import Path

import numpy as np

NAME = os.environ["BENCH_MODEL"]
FOLDER = Path(os.environ["BENCH_FOLDER"])


def load():
    """Return the function that answers a request: nested lists, the rows of a table, or the bytes of a picture."""
    return {
        "mnist": onnx_pixels,
        "digits": onnx_pixels,
        "pictures": onnx_picture,
        "housing": pyfunc_table,
        "keras": keras_tensor,
        "sklearn": sklearn_table,
    }[NAME]()


def _onnx():
    import onnxruntime

    session = onnxruntime.InferenceSession(str(FOLDER / "model.onnx"))
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def onnx_pixels():
    """Gray pixels in their original range."""
    run, high = _onnx(), float(os.environ["BENCH_HIGH"])
    return lambda inputs: run(np.array(inputs, dtype="float32")[..., np.newaxis] / high).tolist()


def onnx_picture():
    """The bytes of a picture of the model's size."""
    from PIL import Image

    run = _onnx()
    return lambda content: run(
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype="float32")[np.newaxis] / 255
    ).tolist()


def pyfunc_table():
    """Rows of a table for a model that only MLflow can load."""
    import mlflow.pyfunc
    import pandas as pd

    model = mlflow.pyfunc.load_model(str(FOLDER))
    return lambda split: np.asarray(
        model.predict(pd.DataFrame(split["data"], columns=split["columns"]))
    ).tolist()


def keras_tensor():
    """A Keras model, called without the overhead of `predict`."""
    import keras

    model = keras.saving.load_model(FOLDER / "data" / "model.keras")
    return lambda inputs: np.asarray(model(np.array(inputs, dtype="float32"), training=False)).tolist()


def sklearn_table():
    """A scikit-learn pipeline on rows of a table."""
    import mlflow.sklearn
    import pandas as pd

    model = mlflow.sklearn.load_model(str(FOLDER))
    return lambda split: model.predict(pd.DataFrame(split["data"], columns=split["columns"])).tolist()
