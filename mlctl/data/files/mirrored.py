"""Whether mirrored images look like their class, so that training may mirror images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 16  # pixels of the small copies that are compared
MAX_COMPARED = 1000  # images
MIN_DRAWINGS = 200  # fewer say too little
ROWS_AT_ONCE = 100  # that are read
PHOTOGRAPH_SUFFIXES = (".jpg", ".jpeg", ".webp")
MIN_COLOUR = 4.0  # mean difference of the channels in 0..255 from which an image is not grey
# standard errors by which images must find their class more often than by chance
MIN_EVIDENCE = 3.0
# standard errors by which mirrored images, and those of one class, may find it less often than the images themselves
MAX_LOSS, MAX_LOSS_OF_CLASS = 1.0, 2.5
MAX_LOSS_OF_PHOTOGRAPHS, MAX_LOSS_OF_CLASS_OF_PHOTOGRAPHS = 2.0, 3.0

Array = np.ndarray[Any, Any]


def look_alike_mirrored(images: Any, labels: Array, files: Sequence[Path] = ()) -> bool:
    """Return whether mirrored images find their class as often as the images themselves.

    The class that an image finds is that of the most similar other image: small copies of the same brightness and
    contrast are compared. Photographs in colour look alike unless this shows the opposite. Other images must show it.

    Args:
        images: Array (n, height, width, 3) of uint8, or what returns it from its methods `take` and `pixels`.
        labels: Class index of each image.
        files: File of each image.
    """
    rows = np.random.default_rng(0).permutation(len(labels))[:MAX_COMPARED]
    labels = labels[rows]
    small = np.concatenate(
        [
            _small_copies(images, rows[start : start + ROWS_AT_ONCE])
            for start in range(0, len(rows), ROWS_AT_ONCE)
        ]
    )
    are_photographs = _are_mostly_photographs(files) and _are_mostly_in_colour(small)
    small = _with_same_contrast(small)
    found = _find_class(small, small, labels) == labels
    found_mirrored = _find_class(small[:, :, ::-1], small, labels) == labels
    loss = _loss(found, found_mirrored)
    of_classes = [
        _loss(found[members], found_mirrored[members])
        for members in (labels == one for one in np.unique(labels))
    ]
    if are_photographs:
        return loss <= MAX_LOSS_OF_PHOTOGRAPHS and max(of_classes) <= MAX_LOSS_OF_CLASS_OF_PHOTOGRAPHS
    if len(rows) < MIN_DRAWINGS:
        return False
    chance = float(np.bincount(labels).max() / len(labels))
    evidence = (found.mean() - chance) / max(np.sqrt(chance * (1 - chance) / len(labels)), 1e-6)
    return bool(evidence >= MIN_EVIDENCE and loss <= MAX_LOSS and max(of_classes) <= MAX_LOSS_OF_CLASS)


def _loss(found: Array, found_mirrored: Array) -> float:
    """Return by how many standard errors fewer images find their class if they are mirrored."""
    lost, won = int((found & ~found_mirrored).sum()), int((~found & found_mirrored).sum())
    return float((lost - won) / np.sqrt(max(lost + won, 1)))


def _small_copies(images: Any, rows: Array) -> Array:
    """Return copies (n, SIDE, SIDE, 3) of images, with values in 0..255."""
    pixels = images[rows] if isinstance(images, np.ndarray) else images.take(rows).pixels()
    scaled = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX) for image in pixels]
    return np.stack([np.asarray(image, np.float32) for image in scaled])


def _with_same_contrast(images: Array) -> Array:
    """Return images of mean 0 and length 1."""
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
    lengths = np.sqrt((centred**2).sum(axis=(1, 2, 3), keepdims=True))
    return np.asarray(centred / np.maximum(lengths, 1e-6))


def _find_class(images: Array, others: Array, labels: Array) -> Array:
    """Return the class of the most similar other image of each image."""
    rows = len(labels)
    similarity = images.reshape(rows, -1) @ others.reshape(rows, -1).T
    np.fill_diagonal(similarity, -np.inf)
    return np.asarray(labels[similarity.argmax(axis=1)])


def _are_mostly_photographs(files: Sequence[Path]) -> bool:
    return sum(file.suffix.lower() in PHOTOGRAPH_SUFFIXES for file in files) > len(files) / 2


def _are_mostly_in_colour(images: Array) -> bool:
    differences = np.abs(np.diff(images, axis=-1)).mean(axis=(1, 2, 3))
    return bool((differences > MIN_COLOUR).mean() > 0.5)
