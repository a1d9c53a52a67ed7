"""Reading .npz files: no code in them is run, and an error names the file, the key and the mistake."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.data.sources.npz import NpzReader
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit


def object_array(*rows: Any) -> Any:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def write_pickle(path: Path, payload: bytes, shape: str = "(2,)") -> None:
    """Write a .npz file whose x holds these bytes in place of an array's pickle."""
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + payload)


def read_lists(path: Path) -> list[list[int]]:
    with NpzReader.open(path) as reader:
        return reader.read_lists("x")


def test_lists_that_numpy_pickled_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=object_array([1, 2, 70_000], [], [3]))
    assert read_lists(tmp_path / "a.npz") == [[1, 2, 70_000], [], [3]]


@pytest.mark.parametrize("protocol", range(6))
def test_all_pickle_protocols_and_both_numpy_module_names_are_read(tmp_path: Path, protocol: int) -> None:
    payload = pickle.dumps(object_array([1], [2, 3]), protocol)
    write_pickle(tmp_path / "new.npz", payload)
    assert read_lists(tmp_path / "new.npz") == [[1], [2, 3]]
    if protocol < 4:  # the name has no length prefix, so that the module name of an old NumPy can replace it
        write_pickle(
            tmp_path / "old.npz", payload.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        )
        assert read_lists(tmp_path / "old.npz") == [[1], [2, 3]]


class MaliciousPickle:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def test_no_code_in_a_pickle_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for call, arguments in (
        (os.system, (f"touch {ran}",)),
        (eval, (f"open({str(ran)!r}, 'w')",)),
        (getattr, ("word", "upper")),
        (np.fromfile, (str(ran),)),
        (np.load, (str(ran),)),
    ):
        np.savez(tmp_path / "malicious.npz", x=object_array(MaliciousPickle(call, *arguments), [1]))
        with pytest.raises(
            BadDataError, match=r"malicious\.npz, x: found a call of .*; mlctl did not run it"
        ):
            read_lists(tmp_path / "malicious.npz")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        (b"", "a broken pickle"),
        (pickle.dumps(object_array([1], [2]))[:-9], "a broken pickle"),
        (pickle.dumps([[1], [2]]), "something else"),
        (pickle.dumps(object_array([1], [2], [3])), "something else"),
        (pickle.dumps(object_array([1], "two")), "str in row 1"),
        (pickle.dumps(object_array((1,), [2])), "tuple in row 0"),
        (b"\x80\x04" + b"(" * 100_000 + b".", "something else|a broken pickle"),
        (b"I" + b"9" * 100_000 + b"\n.", "a broken pickle"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b".", "a broken pickle"),
    ],
)
def test_an_error_names_what_a_pickle_holds_instead_of_lists(
    tmp_path: Path, payload: bytes, content: str
) -> None:
    write_pickle(tmp_path / "a.npz", payload)
    with pytest.raises(BadDataError, match=rf"a\.npz, x: found ({content})") as caught:
        read_lists(tmp_path / "a.npz")
    assert len(caught.value.message) < 400


def read_array(path: Path, **limits: Any) -> Any:
    with NpzReader.open(path) as reader:
        return reader.read_array("x", (None, 2), **limits)


def test_arrays_of_numbers_are_read(tmp_path: Path) -> None:
    for expected in (
        np.arange(6, dtype=np.uint8).reshape(3, 2),
        np.asfortranarray(np.arange(8).reshape(4, 2)),
    ):
        np.savez_compressed(tmp_path / "a.npz", x=expected)
        array = read_array(tmp_path / "a.npz", high=10)
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 3), int), r"found shape \(3, 3\), expected shape \(n, 2\)"),
        (np.zeros((0, 2), int), r"found shape \(0, 2\)"),
        (np.zeros((3, 2)), "found type float64, expected type integer"),
        (object_array([1], [2]), "found Python objects"),
        (np.array([[1, 2], [3, 11]]), r"found 11 at \[1, 1\], expected 0 to 10"),
        (np.array([[1, 2], [-1, 3]]), r"found -1 at \[1, 0\], expected 0 to 10"),
    ],
)
def test_an_error_names_what_an_array_holds_instead(tmp_path: Path, array: Any, message: str) -> None:
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(BadDataError, match=rf"a\.npz, x: {message}"):
        read_array(tmp_path / "a.npz", low=0, high=10)


def test_nan_and_infinity_are_refused(tmp_path: Path) -> None:
    for value in (np.nan, np.inf):
        np.savez(tmp_path / "a.npz", x=np.array([[1.0, 2.0], [3.0, value]]))
        with pytest.raises(BadDataError, match=r"found (nan|inf) at \[1, 1\], expected finite"):
            read_array(tmp_path / "a.npz", kinds="f")


def test_an_error_names_a_missing_key(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.zeros(1))
    with pytest.raises(BadDataError, match=r"a\.npz has no x: found y, expected x"):
        read_array(tmp_path / "a.npz")


def test_incomplete_and_damaged_files_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "complete.npz", x=np.random.default_rng(0).integers(0, 9, (5000, 2)))
    complete = (tmp_path / "complete.npz").read_bytes()
    damaged = bytearray(complete)
    damaged[len(damaged) // 2] ^= 0xFF
    for name, content in (
        ("empty", b""),
        ("text", b"<html>no such file</html>"),
        ("cut", complete[: len(complete) // 2]),
        ("damaged", damaged),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadDataError, match=name):
            read_array(tmp_path / name)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlctl.data.sources.npz.MAX_ARRAY_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1 << 20, 2), np.uint8))
    with pytest.raises(BadDataError, match=r"found 2,097,\d+ bytes unpacked, expected at most 1,048,576"):
        read_array(tmp_path / "bomb.npz")


def test_a_header_with_a_larger_shape_than_the_data_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (1 << 50, 2)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", buffer.getvalue() + b"123456")
    with pytest.raises(BadDataError, match="found 6 bytes, expected 2251799813685248"):
        read_array(tmp_path / "a.npz")
