"""A trained network below new layers: a user's .keras file, its last layer taken off, its weights kept as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras

from mlctl.errors import BadDataError, NotFoundError


def backbone(path: str, input_shape: Sequence[int]) -> keras.Model:
    """Return the network up to what its last Dense layers make of a picture, frozen.

    Raises NotFoundError, and BadDataError for a file that is no Keras model or takes pictures of another shape.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise NotFoundError(f"backbone={path}: there is no such file", "give a .keras file")
    try:
        model = keras.saving.load_model(file, compile=False)  # safe mode: it runs no code of the file's
    except (OSError, ValueError, TypeError, KeyError) as exc:
        said = " ".join(str(exc).split())[:200]
        raise BadDataError(
            f"backbone={path} is no Keras model: {said}", "save it with model.save(FILE.keras)"
        ) from exc
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
    trunk = keras.Model(model.inputs, model.layers[last - 1].output)
    trunk.trainable = False
    return trunk
