"""Archives are read without running anything, and what is wrong with one is said."""

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

from mlctl.data.sources.npz import Archive
from mlctl.errors import BadDataError


def object_array(*rows: Any) -> Any:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def pickled(path: Path, payload: bytes, shape: str = "(2,)") -> None:
    """Write an archive whose x holds these bytes in place of an array's pickle."""
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + payload)


def lists(path: Path) -> list[list[int]]:
    with Archive.open(path) as archive:
        return archive.lists("x")


def test_lists_as_numpy_pickles_them(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=object_array([1, 2, 70_000], [], [3]))
    assert lists(tmp_path / "a.npz") == [[1, 2, 70_000], [], [3]]


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_and_both_of_numpys_names(tmp_path: Path, protocol: int) -> None:
    payload = pickle.dumps(object_array([1], [2, 3]), protocol)
    pickled(tmp_path / "new.npz", payload)
    assert lists(tmp_path / "new.npz") == [[1], [2, 3]]
    if protocol < 4:  # text without lengths: an old NumPy's module name can be put in its place
        pickled(tmp_path / "old.npz", payload.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
        assert lists(tmp_path / "old.npz") == [[1], [2, 3]]


class Evil:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def test_nothing_in_a_pickle_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for call, arguments in (
        (os.system, (f"touch {ran}",)),
        (eval, (f"open({str(ran)!r}, 'w')",)),
        (getattr, ("word", "upper")),
        (np.fromfile, (str(ran),)),
        (np.load, (str(ran),)),
    ):
        np.savez(tmp_path / "evil.npz", x=object_array(Evil(call, *arguments), [1]))
        with pytest.raises(BadDataError, match=r"evil\.npz, x: found a call of .*; it was not run"):
            lists(tmp_path / "evil.npz")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("payload", "found"),
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
def test_a_pickle_of_something_else(tmp_path: Path, payload: bytes, found: str) -> None:
    pickled(tmp_path / "a.npz", payload)
    with pytest.raises(BadDataError, match=rf"a\.npz, x: found ({found})") as caught:
        lists(tmp_path / "a.npz")
    assert len(caught.value.message) < 400


def read(path: Path, **limits: Any) -> Any:
    with Archive.open(path) as archive:
        return archive.array("x", (None, 2), **limits)


def test_plain_arrays(tmp_path: Path) -> None:
    for wanted in (np.arange(6, dtype=np.uint8).reshape(3, 2), np.asfortranarray(np.arange(8).reshape(4, 2))):
        np.savez_compressed(tmp_path / "a.npz", x=wanted)
        found = read(tmp_path / "a.npz", high=10)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 3), int), r"found shape \(3, 3\), expected shape \(n, 2\)"),
        (np.zeros((0, 2), int), r"found shape \(0, 2\)"),
        (np.zeros((3, 2)), "found type float64, expected type whole number"),
        (object_array([1], [2]), "found Python objects"),
        (np.array([[1, 2], [3, 11]]), r"found 11 at \[1, 1\], expected 0 to 10"),
        (np.array([[1, 2], [-1, 3]]), r"found -1 at \[1, 0\], expected 0 to 10"),
    ],
)
def test_an_array_of_something_else(tmp_path: Path, array: Any, said: str) -> None:
    np.savez(tmp_path / "a.npz", x=array)
    with pytest.raises(BadDataError, match=rf"a\.npz, x: {said}"):
        read(tmp_path / "a.npz", low=0, high=10)


def test_no_nan_and_no_infinity(tmp_path: Path) -> None:
    for value in (np.nan, np.inf):
        np.savez(tmp_path / "a.npz", x=np.array([[1.0, 2.0], [3.0, value]]))
        with pytest.raises(BadDataError, match=r"found (nan|inf) at \[1, 1\], expected finite"):
            read(tmp_path / "a.npz", kinds="f")


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=np.zeros(1))
    with pytest.raises(BadDataError, match=r"a\.npz has no x: found y, expected x"):
        read(tmp_path / "a.npz")


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "whole.npz", x=np.random.default_rng(0).integers(0, 9, (5000, 2)))
    whole = (tmp_path / "whole.npz").read_bytes()
    torn = bytearray(whole)
    torn[len(torn) // 2] ^= 0xFF
    for name, content in (
        ("empty", b""),
        ("text", b"<html>no such file</html>"),
        ("cut", whole[: len(whole) // 2]),
        ("torn", torn),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadDataError, match=name):
            read(tmp_path / name)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlctl.data.sources.npz.MAX_ARRAY_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1 << 20, 2), np.uint8))
    with pytest.raises(BadDataError, match=r"found 2,097,\d+ bytes unpacked, expected at most 1,048,576"):
        read(tmp_path / "bomb.npz")


def test_a_header_that_promises_more_than_is_there(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": (1 << 50, 2)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", buffer.getvalue() + b"123456")
    with pytest.raises(BadDataError, match="found 6 bytes, expected 2251799813685248"):
        read(tmp_path / "a.npz")
