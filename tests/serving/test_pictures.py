"""Pictures as requests: files, uploads and base64, read as in training and in `mlctl predict`."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlctl.adapters.predict.image_input import read_image
from mlctl.data.files.images import read_pixels
from mlctl.serving.payloads import pictures
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.payloads.signature import ModelSignature, TensorSpec
from mlctl.serving.prediction import parse_request

pytestmark = pytest.mark.unit

COLOUR, GREY = TensorSpec("uint8", (-1, 8, 6, 3)), TensorSpec("float64", (-1, 8, 8))


def _model(spec: TensorSpec, full_scale: float | None = 255.0, by_mlctl: bool = True) -> Any:
    return SimpleNamespace(
        signature=ModelSignature(tensor=spec),
        full_scale=full_scale,
        takes_gaps=False,
        readings={},
        info=SimpleNamespace(by_mlctl=by_mlctl, is_keras=not by_mlctl),
    )


def _file(kind: str = "PNG", size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: Any) -> bytes:
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def _form(*files: bytes, boundary: str = "b0undary") -> tuple[bytes, str]:
    head = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    text = b'Content-Disposition: form-data; name="comment"\r\n\r\nnot a file\r\n'
    mark = f"--{boundary}\r\n".encode()
    body = mark + text + b"".join(mark + head + file + b"\r\n" for file in files)
    return body + f"--{boundary}--\r\n".encode(), f'multipart/form-data; boundary="{boundary}"'


def _inputs(body: bytes, content_type: str, model: Any = None) -> Any:
    call = parse_request(model or _model(COLOUR), body, content_type)
    assert call is not None
    return call.inputs


def _as_json(*values: Any, key: str = "inputs") -> tuple[bytes, str]:
    return json.dumps({key: list(values)}).encode(), "application/json"


def _b64(file: bytes) -> str:
    return base64.b64encode(file).decode()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_form_gives_what_training_and_predict_read(tmp_path: Path, kind: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned
    file = _file(kind, exif=turned)
    (tmp_path / "picture").write_bytes(file)
    trained = read_pixels(tmp_path / "picture", 8, 6)
    assert (read_image(tmp_path / "picture", (8, 6, 3), 255.0, "uint8")[0] == trained).all()
    url = f"data:image/{kind.lower()};base64,{_b64(file)}"
    for body, content_type in (
        (file, f"image/{kind.lower()}"),
        _form(file),
        _as_json({"b64": _b64(file)}),
        _as_json(url, key="instances"),
    ):
        rows = _inputs(body, content_type)
        assert rows.dtype == np.uint8
        assert (rows == trained[np.newaxis]).all()


def test_several_files_are_several_rows() -> None:
    first, second = _file(), _file(size=(9, 30))
    both = _inputs(*_form(first, second))
    assert (both == np.concatenate([_inputs(first, "image/png"), _inputs(second, "image/png")])).all()
    assert (_inputs(*_as_json({"b64": _b64(first)}, {"b64": _b64(second)})) == both).all()


def test_a_drawing_is_fitted_as_in_predict(tmp_path: Path) -> None:
    file = _file(mode="L")
    (tmp_path / "drawing.png").write_bytes(file)
    rows = _inputs(file, "image/png", _model(GREY, full_scale=16.0))
    assert (rows == read_image(tmp_path / "drawing.png", (8, 8), 16.0, "float64")).all()


def _huge() -> bytes:
    """Return the head of a PNG file of 9000x9000 pixels."""
    file = _file()
    head = b"IHDR" + struct.pack(">II", 9000, 9000) + file[24:29]
    return file[:12] + head + struct.pack(">I", zlib.crc32(head)) + file[33:]


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"", "image/png", "not in a known format"),
        (b"hello", "image/jpeg", "not in a known format"),
        (_file("JPEG")[:300], "image/jpeg", "the picture cannot be read"),
        (_file()[:100], "image/png", "the picture cannot be read"),
        (*_form(_file(), b"hello"), "picture 1 cannot be read"),
        (*_form(), "the form has no files"),
        (_form(_file())[0][:200], _form()[1], "cut off"),
        (_form(_file())[0], "multipart/form-data", "no boundary"),
        (b"nothing", _form()[1], "multipart body"),
        (*_as_json({"b64": "a!"}), "row 0 is not base64"),
        (*_as_json({"b64": "é"}), "row 0 is not base64"),
        (*_as_json({"b64": _b64(_file())}, [[1]]), "row 1 is not a picture"),
        (*_as_json({"b64": _b64(b"hello")}), "not in a known format"),
        (*_as_json(*[{"b64": "aGVsbG8="}] * 300), "300 pictures"),
    ],
)
def test_a_broken_picture_is_one_clear_400(body: bytes, content_type: str, words: str) -> None:
    with pytest.raises(RequestError) as raised:
        _inputs(body, content_type)
    assert raised.value.status == 400
    assert words in raised.value.message
    assert len(raised.value.to_json()) < 500


def test_a_picture_that_unpacks_to_too_much_is_refused_before_it_is_decoded() -> None:
    file = _huge()
    with pytest.raises(RequestError, match="9000x9000 pixels, more than 64 million"):
        _inputs(file, "image/png")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_model(TensorSpec("float32", (-1, 10))), "does not take pictures"),
        (_model(TensorSpec("float32", (-1, 8, 8, 4))), "does not take pictures"),
        (_model(TensorSpec("float32", (-1, 8, 8, 3)), None, by_mlctl=False), "which number a white pixel is"),
    ],
)
def test_a_model_of_other_input_says_so(model: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words) as raised:
        _inputs(_file(), "image/png", model)
    assert raised.value.status == 415


def test_json_that_may_hold_pictures_is_known_before_it_is_read() -> None:
    assert pictures.may_hold_pictures(_as_json({"b64": ""})[0])
    assert pictures.may_hold_pictures(_as_json("data:image/png;base64,")[0])
    assert not pictures.may_hold_pictures(b'{"inputs": [[1, 2]]}')
    hidden = b'{"inputs": [{"\\u0062\\u0036\\u0034": "aGVsbG8="}]}'  # takes time that nobody expects
    with pytest.raises(RequestError):
        _inputs(hidden, "application/json")
