"""Pretrained networks whose weights stay frozen under new layers: the user's own file, or one of Keras's."""

from __future__ import annotations

import os
import re
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras

from mlctl.domain.short_texts import one_line
from mlctl.errors import BadDataError, NotFoundError, UnreachableError, did_you_mean

TIMEOUT_S = 10.0  # for an answer of the host of Keras's weights
AROUND_ZERO, BYTES = "-1..1", "0..255"
# Keras networks that only need scaled pixels, and the range that they were trained on
APPLICATIONS = {
    **dict.fromkeys(("MobileNetV2", "Xception", "InceptionV3", "InceptionResNetV2"), AROUND_ZERO),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2", "NASNetMobile", "NASNetLarge"), AROUND_ZERO),
    **dict.fromkeys(("MobileNetV3Small", "MobileNetV3Large"), BYTES),
    **dict.fromkeys((f"EfficientNetB{number}" for number in range(8)), BYTES),
    **dict.fromkeys((f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")), BYTES),
    **dict.fromkeys((f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")), BYTES),
}


def pixel_range(name: str, range_of_file: str) -> str:
    """Return the pixel range that a backbone takes; `range_of_file` is for a file, which does not say it."""
    return APPLICATIONS.get(name, range_of_file)


def backbone(name: str, input_shape: Sequence[int]) -> keras.Model:
    """Return the network without its last Dense layers, frozen.

    Raises NotFoundError, BadDataError if a file is not a Keras model or takes images of another shape, and
    UnreachableError if Keras's weights are neither here nor can be downloaded.
    """
    build = _from_keras if name in APPLICATIONS else _from_file
    model = build(name, input_shape)
    model.trainable = False
    for layer in model._flatten_layers():
        if isinstance(
            layer, keras.layers.Dropout
        ):  # Keras would use it in training, also with training=False
            layer.rate = 0.0
    return model


def _from_keras(name: str, input_shape: Sequence[int]) -> keras.Model:
    application = getattr(keras.applications, name)
    try:
        # Keras warns about an image size that the weights were not trained on, and waits for a host without end
        with warnings.catch_warnings(), _limited_time():
            warnings.simplefilter("ignore")
            return application(
                include_top=False, weights="imagenet", input_shape=tuple(input_shape), pooling="avg"
            )
    except ValueError as exc:  # the images are too small for it
        raise BadDataError(f"backbone={name}: {one_line(exc)}", "--set image_size=224x224") from exc
    except Exception as exc:  # get_file raises nothing narrower
        raise UnreachableError(
            f"backbone={name}: its weights are not here and cannot be downloaded: {one_line(exc)}",
            f"put {_file_in(str(exc)) or 'them'} into {_folder_of_weights()}, or use a .keras file:"
            " --set backbone=PATH",
        ) from exc


@contextmanager
def _limited_time() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _file_in(message: str) -> str:
    """Return the name of the file whose URL is in a message; "" if there is none."""
    url = re.search(r"https?://[^\s:]+", message)
    return url.group().rpartition("/")[2] if url else ""


def _folder_of_weights() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"


def _from_file(path: str, input_shape: Sequence[int]) -> keras.Model:
    file = Path(path).expanduser()
    if not file.exists():
        raise NotFoundError(
            f"backbone={path}: there is no such file",
            did_you_mean(path, APPLICATIONS) or f"use a .keras file, or one of {', '.join(APPLICATIONS)}",
        )
    try:
        model = keras.saving.load_model(file, compile=False)  # safe mode: it runs no code of the file
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise BadDataError(
            f"backbone={path} is not a Keras model: {one_line(exc)}", "save it with model.save(FILE.keras)"
        ) from exc
    if not model.built or not model.inputs:
        raise BadDataError(
            f"backbone={path} was saved before it was built: it has layers, but no weights",
            "start the model with keras.Input((HEIGHT, WIDTH, 3)), train it, and save it again",
        )
    _check_shape(path, tuple(model.input_shape[1:]), input_shape)
    last = len(model.layers)
    while last > 1 and isinstance(model.layers[last - 1], keras.layers.Dense | keras.layers.Dropout):
        last -= 1
    return keras.Model(model.inputs, model.layers[last - 1].output)


def _check_shape(path: str, expected: tuple[int | None, ...], input_shape: Sequence[int]) -> None:
    """Raise BadDataError if a model cannot take images of this shape; None stands for any size."""
    if len(expected) == len(input_shape) and all(
        size in (None, given) for size, given in zip(expected, input_shape, strict=True)
    ):
        return
    size = "x".join(str(length) for length in expected[:2])
    raise BadDataError(
        f"backbone={path} takes images of {expected}, these are {tuple(input_shape)}",
        f"--set image_size={size}" if expected[-1:] == (3,) else "use a model for color images",
    )
