"""A trained network below new layers, its weights kept: a user's file without its last layers, or Keras's own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras

from mlctl.errors import BadDataError, NotFoundError, UnreachableError, did_you_mean

AROUND_ZERO, BYTES = "-1..1", "0..255"
# those whose pixels are only scaled before they come in, and the range that they were trained on
APPLICATIONS = {
    **dict.fromkeys(("MobileNetV2", "Xception", "InceptionV3", "InceptionResNetV2"), AROUND_ZERO),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2", "NASNetMobile", "NASNetLarge"), AROUND_ZERO),
    **dict.fromkeys(("MobileNetV3Small", "MobileNetV3Large"), BYTES),
    **dict.fromkeys((f"EfficientNetB{one}" for one in range(8)), BYTES),
    **dict.fromkeys((f"EfficientNetV2{one}" for one in ("B0", "B1", "B2", "B3", "S", "M", "L")), BYTES),
    **dict.fromkeys((f"ConvNeXt{one}" for one in ("Tiny", "Small", "Base", "Large", "XLarge")), BYTES),
}


def range_for(name: str, told: str) -> str:
    """Return the range of pixels that a backbone takes: a network of Keras's own knows it, a file is told."""
    return APPLICATIONS.get(name, told)


def backbone(name: str, input_shape: Sequence[int]) -> keras.Model:
    """Return the network up to what its last Dense layers make of a picture, frozen.

    Raises NotFoundError, BadDataError for a file that is no Keras model or takes pictures of another shape, and
    UnreachableError where Keras's weights are neither here nor can be fetched.
    """
    trunk = _of_keras(name, input_shape) if name in APPLICATIONS else _of_file(name, input_shape)
    trunk.trainable = False
    return trunk


def _of_keras(name: str, input_shape: Sequence[int]) -> keras.Model:
    make = getattr(keras.applications, name)
    try:
        with warnings.catch_warnings():  # of a size that the weights were not trained on
            warnings.simplefilter("ignore")
            return make(include_top=False, weights="imagenet", input_shape=tuple(input_shape), pooling="avg")
    except ValueError as exc:  # pictures that are too small for it
        said = " ".join(str(exc).split())[:200]
        raise BadDataError(f"backbone={name}: {said}", "--set image_size=224x224") from exc
    except Exception as exc:  # get_file raises nothing narrower
        said = " ".join(str(exc).split())[:200]
        raise UnreachableError(
            f"backbone={name}: its weights are not here and cannot be fetched: {said}",
            "put them into ~/.keras/models, or give a .keras file: --set backbone=PATH",
        ) from exc


def _of_file(path: str, input_shape: Sequence[int]) -> keras.Model:
    file = Path(path).expanduser()
    if not file.exists():
        near = did_you_mean(path, APPLICATIONS)
        known = f"give a .keras file, or one of {', '.join(APPLICATIONS)}"
        raise NotFoundError(f"backbone={path}: there is no such file", near or known)
    try:
        model = keras.saving.load_model(file, compile=False)  # safe mode: it runs no code of the file's
    except (OSError, ValueError, TypeError, KeyError) as exc:
        said = " ".join(str(exc).split())[:200]
        raise BadDataError(
            f"backbone={path} is no Keras model: {said}", "save it with model.save(FILE.keras)"
        ) from exc
    if not model.built or not model.inputs:
        raise BadDataError(
            f"backbone={path} was saved before it was built: it has layers, and no weights",
            "begin it with keras.Input((HEIGHT, WIDTH, 3)), train it, and save it again",
        )
    wanted = tuple(model.input_shape[1:])
    if len(wanted) != len(input_shape) or any(
        w not in (None, h) for w, h in zip(wanted, input_shape, strict=True)
    ):
        size = "x".join(str(one) for one in wanted[:2])
        raise BadDataError(
            f"backbone={path} takes pictures of {wanted}, these are {tuple(input_shape)}",
            f"--set image_size={size}" if wanted[-1:] == (3,) else "take one for colour pictures",
        )
    last = len(model.layers)
    while last > 1 and isinstance(model.layers[last - 1], keras.layers.Dense | keras.layers.Dropout):
        last -= 1
    return keras.Model(model.inputs, model.layers[last - 1].output)
