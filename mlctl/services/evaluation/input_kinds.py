"""Which kinds of input a model takes, in words, for the error of an input of another kind."""

from __future__ import annotations

from mlctl.data.files.labelled_files import IMAGE_SUFFIXES
from mlctl.data.tables import reader
from mlctl.domain.short_texts import list_some, shorten
from mlctl.errors import BadDataError
from mlctl.services.evaluation.predictor import PredictorInfo

ARRAY_SUFFIXES = (".npy", ".npz")
SUFFIXES = tuple(
    dict.fromkeys(
        (*sorted(IMAGE_SUFFIXES), *ARRAY_SUFFIXES, *reader.SUFFIXES, *reader.COMPRESSIONS, ".txt", ".json")
    )
)
COMMON_IMAGE_SUFFIXES = (".png", ".jpg")
MAX_NAMES = 8
MAX_SHOWN = 200


def takes_images(info: PredictorInfo) -> bool:
    """Return whether the only input is an array that an image file can fill."""
    tensor = info.signature.tensor
    return tensor is not None and len(tensor.shape) in (3, 4) and min(tensor.shape[1:]) >= 1


def wrong_kind_error(info: PredictorInfo, text: str) -> BadDataError:
    """Return the error of an input that this model cannot take: it says what the model takes."""
    what, suffixes = _describe(info)
    return BadDataError(
        f"{shorten(text, MAX_SHOWN)}: this model takes {what}",
        f"name a file ({', '.join(suffixes)}), or - for JSON on stdin",
    )


def _describe(info: PredictorInfo) -> tuple[str, tuple[str, ...]]:
    """Return what the model takes, and the suffixes of files that hold it."""
    signature = info.signature
    if info.takes_texts:
        return "texts", (".txt", ".csv", ".parquet", ".json")
    if signature.columns or signature.as_table:
        names = (signature.as_table or signature).names
        return f"rows with the columns {list_some(names, MAX_NAMES)}", (".csv", ".parquet", ".json")
    if signature.tensors:
        names = tuple(spec.name for spec in signature.tensors)
        return f"several inputs: {', '.join(names)}", (".npz", ".json")
    if signature.tensor is None:
        return "an input that its signature does not describe", SUFFIXES
    shape = signature.tensor.shape[1:]
    if info.full_scale and takes_images(info):
        return f"images of {shape[0]} x {shape[1]} pixels", (
            *COMMON_IMAGE_SUFFIXES,
            *ARRAY_SUFFIXES,
            ".json",
        )
    sizes = " x ".join("any" if size < 0 else str(size) for size in shape) or "one number"
    return f"arrays of {sizes} per row", (*ARRAY_SUFFIXES, ".json")
