"""Pictures as a request's body: a file, an upload of several files, or base64 in JSON. One picture is one row."""

from __future__ import annotations

import binascii
import io
from collections.abc import Sequence
from email.message import Message
from typing import Any

import numpy as np

from mlctl.serving.payloads.request_error import RequestError, bad_request, unsupported_media_type
from mlctl.serving.payloads.signature import TensorSpec

MULTIPART = "multipart/form-data"
MAX_PIXELS = 64_000_000  # of a picture; decoded, they take three bytes each
MAX_PICTURES = 256  # in one request
MAX_INPUT_BYTES = 256 << 20  # of all pictures, as the model takes them
WHITE = 255.0
HINT = "send a PNG or JPEG file"
B64 = "b64"  # key of a picture in JSON, as in TensorFlow Serving

Array = np.ndarray[Any, Any]


def is_picture_type(content_type: str) -> bool:
    """Whether a body of this content type is pictures."""
    return content_type[:6].lower() == "image/" or content_type[:19].lower() == MULTIPART


def may_hold_pictures(body: bytes) -> bool:
    """Whether a JSON text may hold pictures, which can take much more time than their bytes suggest."""
    return b'"b64"' in body or b"data:image/" in body


def takes_pictures(spec: TensorSpec | None, *, full_scale: float | None, by_mlctl: bool) -> bool:
    """Whether pictures can be read for a model: its rows are pixels, and it is known which number is white.

    Args:
        spec: The tensor that the model takes.
        full_scale: Value of a white pixel; None if the model does not say.
        by_mlctl: mlctl saved the model; its pixels are then from 0 to 255, as in `mlctl predict`.
    """
    return (
        spec is not None
        and _is_picture_shape(spec.shape[1:])
        and spec.dtype not in ("str", "bool")
        and (full_scale is not None or by_mlctl or spec.dtype == "uint8")
    )


def _is_picture_shape(shape: tuple[int, ...]) -> bool:
    """Whether this is (height, width) or (height, width, channels) of images in one colour or three."""
    return (
        len(shape) in (2, 3) and min(shape) > 0 and shape[0] > 1 and (len(shape) == 2 or shape[2] in (1, 3))
    )


def files_of_body(body: bytes, content_type: str) -> list[bytes]:
    """Return the picture files in a body of a picture type. Raises RequestError."""
    if content_type[:6].lower() == "image/":
        return [body]
    return _files_of_form(body, content_type)


def files_of_json(value: Any, body: bytes) -> list[bytes] | None:
    """Return the picture files in the `inputs` of a JSON document; None if it holds no pictures.

    A picture is `{"b64": "…"}` or a data URL. Raises RequestError.

    Args:
        value: What `inputs` or `instances` holds.
        body: The JSON text; if `may_hold_pictures` says no, there are none.
    """
    if not may_hold_pictures(body):
        return None
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value or _encoded(value[0]) is None:
        return None
    files = []
    for row, picture in enumerate(value):
        text = _encoded(picture)
        if text is None:
            raise bad_request(
                f"row {row} is not a picture", f'send each as {{"{B64}": "…"}}, or as a data URL'
            )
        try:
            files.append(binascii.a2b_base64(text, strict_mode=True))
        except ValueError as exc:  # also of letters that are not ASCII
            raise bad_request(
                f"row {row} is not base64: {exc}", "send standard base64 without line breaks"
            ) from None
    return files


def read_pictures(
    files: Sequence[bytes], spec: TensorSpec, *, full_scale: float | None, by_mlctl: bool
) -> Array:
    """Return picture files as the model's input (n, …), read as in training. Raises RequestError.

    Args:
        files: Contents of the files.
        spec: The tensor that the model takes.
        full_scale: Value of a white pixel; None if the model does not say.
        by_mlctl: mlctl saved the model.
    """
    from mlctl import pictures  # it imports Pillow

    shape = spec.shape[1:]
    if not takes_pictures(spec, full_scale=full_scale, by_mlctl=by_mlctl):
        is_picture = _is_picture_shape(shape) and spec.dtype not in ("str", "bool")
        problem = "does not say which number a white pixel is" if is_picture else "does not take pictures"
        raise unsupported_media_type(f"this model {problem}", f"send JSON, inputs: {spec}")
    row_bytes = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
    if len(files) > min(MAX_PICTURES, max(1, MAX_INPUT_BYTES // row_bytes)):
        raise bad_request(f"the request has {len(files)} pictures", "send fewer in one request")
    rows = np.empty((len(files), *shape), spec.dtype)
    for number, content in enumerate(files):
        try:
            rows[number] = pictures.read_picture(
                io.BytesIO(content),
                shape,
                full_scale=full_scale or WHITE,
                dtype=spec.dtype,
                max_pixels=MAX_PIXELS,
            )[0]
        except pictures.PictureError as exc:
            subject = "the picture" if len(files) == 1 else f"picture {number}"
            raise bad_request(f"{subject} cannot be read: {exc}", HINT) from None
        except MemoryError:
            raise RequestError(
                413, "REQUEST_TOO_LARGE", "a picture is too large", "send a smaller one"
            ) from None
    return rows


def _encoded(picture: Any) -> str | None:
    """Return the base64 of a picture in JSON; None for any other value."""
    if isinstance(picture, dict) and list(picture) == [B64] and isinstance(picture[B64], str):
        text: str = picture[B64]
        return text
    if isinstance(picture, str) and picture.startswith("data:image/"):
        head, _, text = picture.partition(",")
        return text if head.endswith(";base64") else None
    return None


def _files_of_form(body: bytes, content_type: str) -> list[bytes]:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if not boundary:
        raise bad_request("the multipart body has no boundary", "let your HTTP client set Content-Type")
    reader = _FormReader()
    try:
        parser = MultipartParser(str(boundary).encode("latin1"), reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as exc:
        raise bad_request(f"the multipart body cannot be read: {str(exc)[:120]}", "send it again") from None
    if not reader.is_complete:
        raise bad_request("the multipart body is cut off", "send all of it")
    if not reader.files:
        raise bad_request("the form has no files", "send each picture as a file: curl -F file=@picture.png")
    return reader.files


class _FormReader:
    """Collects the files of a form; it leaves out fields that are no files."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.is_complete = False
        self._name = self._value = b""
        self._parts: list[bytes] = []
        self._is_file = False

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin_part,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_header_begin": self._begin_header,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts, self._is_file = [], False

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._parts.append(data[start:end])

    def _end_part(self) -> None:
        if self._is_file:
            self.files.append(b"".join(self._parts))
            if len(self.files) > MAX_PICTURES:
                raise bad_request(f"the form has more than {MAX_PICTURES} files", "send fewer in one request")

    def _begin_header(self) -> None:
        self._name = self._value = b""

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        name, value = self._name.lower(), self._value.lower()
        if name == b"content-disposition" and b"filename" in value:
            self._is_file = True
        if name == b"content-type" and value.strip().startswith(b"image/"):
            self._is_file = True

    def _end(self) -> None:
        self.is_complete = True
