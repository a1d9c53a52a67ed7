"""The Open Inference Protocol: Triton's own client, and requests that must be refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import tritonclient.http as triton

from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.interfaces.open_inference.answers import tensors_of
from mlctl.serving.interfaces.open_inference.datatypes import from_bytes, to_bytes
from mlctl.serving.interfaces.open_inference.example import example_request
from mlctl.serving.interfaces.open_inference.routes import OpenInferenceRoutes, error_body
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.request_error import RequestError

from .conftest import RunningEndpoint, StartEndpoint

IMAGES = np.random.default_rng(3).integers(0, 256, (2, 8, 8), dtype=np.uint8)
DATATYPES = {
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}


def infer_input(name: str, datatype: str, array: Any, *, binary: bool = True) -> Any:
    """Return an input of Triton's client."""
    found = triton.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def routes(folder: Path) -> OpenInferenceRoutes:
    served = ServedVersion(name=folder.name, version="1", uri="", folder=str(folder))
    return OpenInferenceRoutes(ServedModel(folder), served, None, None)  # type: ignore[arg-type]


def infer(folder: Path, document: Any, binary: bytes = b"", length: str | None = None) -> Any:
    """Return the outputs of a request by name, without a server."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    if binary and length is None:
        length = str(len(body))
    answer = routes(folder).answer(body + binary, length)
    return {output["name"]: output for output in orjson.loads(answer.answered.body)["outputs"]}


@pytest.mark.live
class TestTritonsClient:
    def test_metadata_and_health(self, pictures: RunningEndpoint) -> None:
        client = triton.InferenceServerClient(f"127.0.0.1:{pictures.port}")
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("pictures")
        assert client.is_model_ready("pictures", "1")
        assert not client.is_model_ready("pictures", "2")
        assert not client.is_model_ready("others")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "classification"]
        assert client.get_model_metadata("pictures", "1") == {
            "name": "pictures",
            "versions": ["1"],
            "platform": "onnxruntime",
            "inputs": [{"name": "inputs", "datatype": "UINT8", "shape": [-1, 8, 8]}],
            "outputs": [{"name": "predictions", "datatype": "FP32", "shape": [-1, 10]}],
        }

    def test_every_datatype_answers_as_invocations(self, pictures: RunningEndpoint) -> None:
        client = triton.InferenceServerClient(f"127.0.0.1:{pictures.port}")
        expected = np.array(pictures.post({"inputs": IMAGES.tolist()}).json["predictions"], np.float32)
        for datatype, dtype in DATATYPES.items():
            for binary in (True, False):
                image = infer_input("any", datatype, IMAGES.astype(dtype), binary=binary)
                wanted = triton.InferRequestedOutput("predictions", binary_data=binary)
                answer = client.infer("pictures", [image], outputs=[wanted], request_id="seven")
                np.testing.assert_array_equal(answer.as_numpy("predictions"), expected)
                assert answer.get_response()["id"] == "seven"
                assert answer.get_response()["model_version"] == "1"
        image = infer_input("inputs", "UINT8", IMAGES)
        compressed = client.infer("pictures", [image], "1", request_compression_algorithm="gzip")
        np.testing.assert_array_equal(compressed.as_numpy("predictions"), expected)
        wanted = triton.InferRequestedOutput("predictions", class_count=2)
        best = client.infer("pictures", [image], outputs=[wanted]).as_numpy("predictions")
        for texts, row in zip(best, expected, strict=True):
            _, number, name = texts[0].decode().split(":")
            assert (int(number), name) == (row.argmax(), str(row.argmax()))

    def test_errors_are_the_protocols(self, pictures: RunningEndpoint) -> None:
        client = triton.InferenceServerClient(f"127.0.0.1:{pictures.port}")
        flat = infer_input("inputs", "UINT8", IMAGES.reshape(2, 64))
        with pytest.raises(Exception, match=r"the tensor has shape \(2, 64\)"):
            client.infer("pictures", [flat])
        with pytest.raises(Exception, match='there is no model "nobody"'):
            client.get_model_metadata("nobody")
        with pytest.raises(Exception, match='there is no version "7"'):
            client.infer("pictures", [flat], "7")
        for path, method, status in (
            ("/v2/models/pictures/infer", "GET", 405),
            ("/v2/models/pictures", "POST", 405),
            ("/v2/models/pictures/versions/1/config", "GET", 404),
            ("/v2/repository", "GET", 404),
        ):
            reply = pictures.request(path, method=method)
            assert (reply.status, list(reply.json)) == (status, ["error"])
        too_large = pictures.request("/v2/models/pictures/infer", b"0" * 1_000_001)
        assert (too_large.status, list(too_large.json)) == (413, ["error"])
        assert pictures.request("/v2/models/pictures", method="HEAD").status == 200

    def test_a_table_has_one_tensor_for_each_column(self, table: RunningEndpoint) -> None:
        client = triton.InferenceServerClient(f"127.0.0.1:{table.port}")
        metadata = client.get_model_metadata("pictures")
        assert [entry["datatype"] for entry in metadata["inputs"]] == ["FP64", "FP64", "BYTES"]
        rows = [{"rooms": 3.0, "age": None, "place": "INLAND"}, {"rooms": 4.5, "age": 7.0, "place": "Köln"}]
        expected = table.post({"dataframe_records": rows}).json["predictions"]
        places = np.array([row["place"].encode() for row in rows], dtype=object)
        columns = [
            infer_input("place", "BYTES", places),
            infer_input("rooms", "FP32", np.array([[3.0], [4.5]], np.float32)),
            infer_input("age", "FP64", np.array([np.nan, 7.0])),
        ]
        answer = client.infer("pictures", columns).as_numpy("predictions")
        np.testing.assert_array_equal(answer, np.array(expected, np.float32))

    def test_named_tensors(self, named: dict[str, Path], serve: StartEndpoint) -> None:
        endpoint = serve(named["tickets"])
        client = triton.InferenceServerClient(f"127.0.0.1:{endpoint.port}")
        ids, flags = np.array([[1, 2, 3], [4, 5, 6]], np.int32), np.zeros((2, 3), np.float32)
        expected = endpoint.post({"inputs": {"ids": ids.tolist(), "flags": flags.tolist()}}).json
        inputs = [infer_input("flags", "FP32", flags), infer_input("ids", "INT32", ids)]
        answer = client.infer("pictures", inputs)
        for name, values in expected["predictions"].items():
            np.testing.assert_array_equal(answer.as_numpy(name), np.array(values, np.float32))
        delay = triton.InferRequestedOutput("delay", binary_data=False)
        only = client.infer("pictures", inputs, outputs=[delay]).get_response()
        assert [output["name"] for output in only["outputs"]] == ["delay"]
        endpoint.stop()


PIXELS = {"name": "inputs", "shape": [1, 8, 8], "datatype": "UINT8", "data": [7] * 64}


def changed(**changes: Any) -> dict[str, Any]:
    """Return a request for one image; a change to None removes the key."""
    entry = {key: value for key, value in {**PIXELS, **changes}.items() if value is not None}
    return {"inputs": [entry]}


def binary(size: Any) -> dict[str, Any]:
    return changed(data=None, parameters={"binary_data_size": size})


# what is sent: the document, the bytes after it, the header; and what the message says
WRONG: dict[str, tuple[Any, bytes, str | None, str]] = {
    "empty": (b"", b"", None, "empty"),
    "no JSON": (b"\xff", b"", None, "not valid UTF-8"),
    "deep": (b"[" * 100_000, b"", None, "nested too deeply"),
    "a list": ([], b"", None, "not a JSON object"),
    "no inputs": ({"inputs": []}, b"", None, "inputs must be a list"),
    "two inputs": ({"inputs": [PIXELS, {**PIXELS, "name": "b"}]}, b"", None, "takes one input, not 2"),
    "twice": ({"inputs": [PIXELS, PIXELS]}, b"", None, "sent twice"),
    "no name": (changed(name=None), b"", None, "has no name"),
    "unknown datatype": (changed(datatype="FP8"), b"", None, '"FP8" is not a datatype'),
    "negative length": (changed(shape=[-1, 8, 8]), b"", None, "negative length"),
    "no rows": (changed(shape=[0, 8, 8], data=[]), b"", None, "empty"),
    "huge shape": (changed(shape=[2**40, 2**40]), b"", None, "has 64 values"),
    "huge shape of bytes": ({**binary(8), "x": 0}, b"\0" * 8, None, "8 bytes were sent"),
    "no whole length": (changed(shape=[1, 8, 8.0]), b"", None, "not a list of whole numbers"),
    "true as a length": (changed(shape=[True, 8, 8]), b"", None, "not a list of whole numbers"),
    "many dimensions": (changed(shape=[1] * 40), b"", None, "40 dimensions"),
    "too few values": (changed(data=[7] * 63), b"", None, "63 values"),
    "another nesting": (changed(data=[[7] * 8] * 8), b"", None, "shape (8, 8)"),
    "ragged": (changed(data=[[[7] * 8] * 7 + [[7]]]), b"", None, "has 1 entries"),
    "overflow of the datatype": (changed(data=[300] + [7] * 63), b"", None, "300 at [0]"),
    "overflow of the model": (changed(datatype="INT64", data=[300] + [7] * 63), b"", None, "outside 0..255"),
    "inexact": (changed(datatype="INT64", data=[2**64] + [7] * 63), b"", None, "18446744073709551616"),
    "2^63": (changed(datatype="INT64", data=[2**63] + [7] * 63), b"", None, "9223372036854775808"),
    "a text": (changed(data=["7"] * 64), b"", None, "is not a number"),
    "true": (changed(data=[True] * 64), b"", None, "is not a number"),
    "null": (changed(data=[None] * 64), b"", None, ""),
    "a fraction": (changed(datatype="FP32", data=[1.5] * 64), b"", None, "is not a whole number"),
    "infinity": (changed(datatype="FP32", data=[1e39] * 64), b"", None, "too large"),
    "texts for numbers": (changed(datatype="BYTES", data=["a"] * 64), b"", None, ""),
    "data and bytes": (changed(parameters={"binary_data_size": 64}), b"\0" * 64, None, "has data and"),
    "neither": (changed(data=None), b"", None, "neither data nor"),
    "too few bytes": (binary(64), b"\0" * 63, None, "63 bytes are left"),
    "too many bytes": (binary(64), b"\0" * 65, None, "1 bytes belong to no input"),
    "negative bytes": (binary(-1), b"\0" * 64, None, "binary_data_size is -1"),
    "bytes as a text": (binary("64"), b"\0" * 64, None, "binary_data_size is"),
    "no header": (binary(64), b"", None, "0 bytes are left"),
    "no header, with bytes": (
        b'{"inputs": [{"parameters": {"binary_data_size": 1}}]}\xff',
        b"",
        None,
        "need the header Inference-Header",
    ),
    "header too long": (binary(64), b"\0" * 64, "9999", "Inference-Header-Content-Length is 9999"),
    "negative header": (binary(64), b"\0" * 64, "-1", "not a number"),
    "endless header": (binary(64), b"\0" * 64, "9" * 5000, "not a number"),
    "shared memory": (changed(parameters={"shared_memory_region": "a"}), b"", None, "shared memory"),
    "unknown output": ({**changed(), "outputs": [{"name": "x"}]}, b"", None, 'no output "x"'),
    "output twice": ({**changed(), "outputs": [{"name": "predictions"}] * 2}, b"", None, "twice"),
    "long id": ({**changed(), "id": "x" * 1000}, b"", None, "id is not a short text"),
    "no flag": ({**changed(), "parameters": {"binary_data_output": 1}}, b"", None, "send true or false"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_refused(models: dict[str, Path], case: str) -> None:
    document, following, length, words = WRONG[case]
    with pytest.raises(RequestError) as refused:
        infer(models["pictures"], document, following, length)
    assert refused.value.status == 400
    assert words in refused.value.message + refused.value.hint
    body = error_body(refused.value)
    assert list(orjson.loads(body)) == ["error"]
    assert len(body) < 600


def test_texts_as_bytes() -> None:
    texts = np.array(["", "Köln", "a\0b"], dtype=object)
    content = to_bytes(texts)
    assert from_bytes(memoryview(content), "BYTES", (3, 1), "city").tolist() == [[""], ["Köln"], ["a\0b"]]
    for broken, words in (
        (content[:-1], "goes beyond"),
        (content[:2], "end after 0 of 3"),
        (content + b"\0", "1 bytes follow"),
        (struct.pack("<I", 2**32 - 1) + content, "goes beyond"),
        (struct.pack("<I", 1) + b"\xff" + content[4:], "not UTF-8"),
    ):
        with pytest.raises(RequestError, match=words):
            from_bytes(memoryview(broken), "BYTES", (3,), "city")
    with pytest.raises(RequestError, match="end after 3"):
        from_bytes(memoryview(content), "BYTES", (2**50,), "city")


def test_numbers_as_bytes() -> None:
    half = from_bytes(memoryview(b"\x80\x3f\x00\x40"), "BF16", (2,), "x")
    assert half.tolist() == [1.0, 2.0]
    with pytest.raises(RequestError, match="neither 0 nor 1"):
        from_bytes(memoryview(b"\x02"), "BOOL", (1,), "x")


def test_a_missing_value_is_null_or_nan(models: dict[str, Path]) -> None:
    def send(age: str, place: str = '"INLAND"') -> Any:
        columns = (("rooms", "FP64", "3"), ("age", "FP64", age), ("place", "BYTES", place))
        inputs = ",".join(
            f'{{"name": "{name}", "shape": [2, 1], "datatype": "{kind}", "data": [{value}, {value}]}}'
            for name, kind, value in columns
        )
        return infer(models["table"], f'{{"inputs": [{inputs}]}}'.encode())["predictions"]["data"]

    assert send("null") == send("NaN") != send("7")


def test_answers_of_any_kind_become_tensors() -> None:
    import pandas as pd

    def described(answers: Any) -> Any:
        return {name: (str(array.dtype), array.tolist()) for name, array in tensors_of(answers).items()}

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.to_datetime(["2021-12-31", "2022-01-01"])})
    found = described(frame)
    assert found["a"] == ("int64", [1, 2])
    assert found["b"] == ("object", ["x", None])
    assert found["c"][1][0].startswith("2021-12-31T00:00:00")
    nullable = pd.DataFrame({"n": pd.array([1, None], "Int64"), "m": pd.array([1, 2], "Int32")})
    assert str(described(nullable)) == "{'n': ('float64', [1.0, nan]), 'm': ('int32', [1, 2])}"
    assert described([1.5, 2]) == {"predictions": ("float64", [1.5, 2.0])}
    assert described(["a", "b"]) == {"predictions": ("object", ["a", "b"])}
    assert described([["a", 1], ["b"]]) == {"predictions": ("object", ['["a",1]', '["b"]'])}
    assert described([{"label": "cat"}]) == {"predictions": ("object", ['{"label":"cat"}'])}
    assert tensors_of(np.array([1.5]), ["score"])["score"].tolist() == [1.5]


def test_the_example_is_a_request_of_the_protocol(models: dict[str, Path], named: dict[str, Path]) -> None:
    for folder in (*models.values(), *named.values()):
        example = example_request(ServedModel(folder))
        assert example is not None
        for output in infer(folder, example).values():
            assert output["shape"][0] == 1
