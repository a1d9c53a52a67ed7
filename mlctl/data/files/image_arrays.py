"""Images in an .npz file: an array of pixels and an array of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mlctl.data import splits
from mlctl.data.dataset import Dataset, Split
from mlctl.data.files.labelled_files import count_by_class
from mlctl.data.sources import locate
from mlctl.data.tables.formats import numpy_arrays
from mlctl.errors import BadDataError, UsageError

Array = np.ndarray[Any, Any]


def load_image_arrays(
    path: Path, size: tuple[int, int] | None, *, seed: int, source: str = "", target: str = ""
) -> Dataset:
    """Return the images of an .npz file by split, as (n, height, width, 3) uint8.

    Arrays such as x_train and x_test are their splits. Raises BadDataError, and UsageError for a target that does
    not exist.

    Args:
        path: The file.
        size: (height, width) to which images are scaled; None keeps theirs.
        seed: Seed of the random split.
        source: Where the images come from, if not from `path`.
        target: Name of the array of labels, if there are several.
    """
    arrays, published = numpy_arrays.load_arrays(path)
    main = numpy_arrays.input_array(arrays)
    labels = _labels_of(path, arrays, target)
    names, targets = np.unique(labels, return_inverse=True)
    classes = tuple(str(name) for name in names.tolist())
    if len(classes) < 2:
        raise BadDataError(f"{path}: all labels are the same", "at least 2 classes are needed")
    pixels = to_rgb(arrays[main], size)
    targets = targets.astype(np.int64)
    split = np.zeros(len(targets), np.int64) if published is None else published
    parts = splits.complete_splits(split, seed, targets)
    train, validation, test = (Split(pixels[rows], targets[rows]) for rows in parts)
    height, width = pixels.shape[1:3]
    return Dataset(
        path.name.partition(".")[0],
        train,
        validation,
        test,
        classes=classes,
        source=source or str(path),
        sha256=locate.sha256([path]),
        size_bytes=path.stat().st_size,
        split_seed=seed,
        notes=(
            f"{path.name}: {len(targets):,} images of {height} x {width} pixels, {count_by_class(targets, classes)}",
        ),
        extra={"params": {"image_height": height, "image_width": width}},
    )


def read_labels(path: Path, target: str = "") -> Array:
    """Return the labels in an .npz file of images. Raises what `load_image_arrays` raises."""
    arrays, _ = numpy_arrays.load_arrays(path)
    return _labels_of(path, arrays, target)


def _labels_of(path: Path, arrays: dict[str, Array], target: str) -> Array:
    main = numpy_arrays.input_array(arrays)
    if target and target not in arrays:
        raise UsageError(f"--target {target}: {path} has no such array", f"it has {', '.join(arrays)}")
    label = target or numpy_arrays.target_array(arrays, main)
    if not label:
        raise BadDataError(
            f"{path} has no array of labels for {main}", "write it with numpy.savez(FILE, X=…, y=…)"
        )
    labels = np.squeeze(arrays[label])
    if labels.ndim == 2:  # one-hot
        labels = labels.argmax(axis=1)
    if len(labels) != len(arrays[main]):
        raise BadDataError(
            f"{path}: {main} has {len(arrays[main]):,} rows, and {label} {len(labels):,}",
            "write one label for each image",
        )
    return labels


def to_rgb(images: Array, size: tuple[int, int] | None = None) -> Array:
    """Return images (n, height, width) or (n, height, width, channels) as uint8 with three channels, scaled to `size`.

    Floats from 0 to 1 become 0 to 255. Channels may come first.
    """
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.shape[-1] not in (1, 3, 4) and images.shape[1] in (1, 3, 4):
        images = np.moveaxis(images, 1, -1)
    if images.shape[-1] not in (1, 3, 4):
        raise BadDataError(
            f"images of shape {images.shape[1:]} have no 1, 3 or 4 channels",
            "save them as (n, height, width, 3)",
        )
    if images.dtype != np.uint8:
        highest = float(images.max(initial=0))
        scale = 255.0 if highest <= 1 else 1.0 if highest <= 255 else 255.0 / highest
        images = np.clip(np.rint(images.astype(np.float32) * scale), 0, 255).astype(np.uint8)
    images = images[..., :3]
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    if size is None or size == images.shape[1:3]:
        return np.ascontiguousarray(images)
    height, width = size
    fitted = [
        ImageOps.fit(Image.fromarray(image), (width, height), Image.Resampling.BILINEAR) for image in images
    ]
    return np.stack([np.asarray(image) for image in fitted])
