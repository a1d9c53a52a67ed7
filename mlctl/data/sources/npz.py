"""Safe reading of .npz files: no code in a file is run.

NumPy unpickles arrays of objects, and a pickle can run any code. This module reads plain arrays as bytes. For arrays
of lists (as in the imdb.npz of Keras) it uses an unpickler that accepts only lists, integers and inert substitutes
for a few NumPy names.
"""

from __future__ import annotations

import gc
import io
import math
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from mlctl.errors import BadDataError

MAX_ARRAY_BYTES = 2 << 30
MAX_PICKLE_BYTES = 64 << 20  # those of imdb.npz have 14 MB; the objects in memory are larger than the pickle


class NpzReader:
    """An open .npz file, whose methods read and check one array each.

    All errors are BadDataError and name the file, the key, what was found and what was expected.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._zip = file

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[NpzReader]:
        """Open a .npz file."""
        try:
            with zipfile.ZipFile(path) as file:
                yield cls(path, file)
        except BadDataError:
            raise
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as exc:
            raise BadDataError(f"{path} is not a complete .npz file: {exc}", "download it again") from exc
        except OSError as exc:
            raise BadDataError(
                f"{path} cannot be read: {exc.strerror or exc}", "check the file and its permissions"
            ) from exc

    def read_array(
        self,
        key: str,
        shape: tuple[int | None, ...],
        *,
        kinds: str = "iu",
        low: float | None = None,
        high: float | None = None,
    ) -> np.ndarray[Any, Any]:
        """Return an array of numbers, read-only.

        Args:
            key: Name of the array.
            shape: Expected shape; None stands for any length of at least one.
            kinds: Accepted NumPy kinds: "i" and "u" for integers, "f" for floats.
            low: Minimum of all values.
            high: Maximum of all values.
        """
        with self._open_member(key, MAX_ARRAY_BYTES) as (file, size):
            actual_shape, is_fortran, dtype = self._read_header(key, file)
            if dtype.hasobject:
                raise self.error(key, "Python objects", "plain numbers; mlctl runs no code from data files")
            if dtype.kind not in kinds:
                raise self.error(key, f"type {dtype}", f"type {_kind_names(kinds)}")
            if len(actual_shape) != len(shape) or any(
                actual != expected if expected is not None else actual < 1
                for actual, expected in zip(actual_shape, shape, strict=True)
            ):
                raise self.error(key, f"shape {actual_shape}", f"shape {_format_shape(shape)}")
            actual_bytes, expected_bytes = size - file.tell(), math.prod(actual_shape) * dtype.itemsize
            if actual_bytes != expected_bytes:
                raise self.error(key, f"{actual_bytes} bytes", f"{expected_bytes} for shape {actual_shape}")
            flat = np.frombuffer(file.read(), dtype=dtype)
        values = flat.reshape(actual_shape[::-1]).T if is_fortran else flat.reshape(actual_shape)
        self._check_range(key, values, low, high)
        return values

    def read_lists(self, key: str) -> list[list[int]]:
        """Return a one-dimensional array of Python lists; the caller checks what the lists hold."""
        with self._open_member(key, MAX_PICKLE_BYTES) as (file, _):
            shape, _, dtype = self._read_header(key, file)
            if not dtype.hasobject or dtype.kind != "O" or len(shape) != 1:
                raise self.error(key, f"type {dtype}, shape {shape}", "a list of numbers for each row")
            data = file.read()
        with _garbage_collector_off():
            try:
                unpickled = _ListUnpickler(io.BytesIO(data)).load()
            except _ForbiddenNameError as exc:
                raise self.error(key, f"a call of {exc}", "lists of numbers; mlctl did not run it") from exc
            except Exception as exc:  # a damaged pickle can raise almost any exception
                raise self.error(key, f"a broken pickle ({type(exc).__name__})", "lists of numbers") from exc
        rows = unpickled.items if isinstance(unpickled, _PickledArray) else None
        if not isinstance(rows, list) or len(rows) != shape[0] or not rows:
            raise self.error(key, "something else", f"{shape[0] or 'some'} lists of numbers")
        for number, row in enumerate(rows):
            if type(row) is not list:
                raise self.error(key, f"{type(row).__name__} in row {number}", "a list of numbers")
        return rows

    def error(self, key: str, found: str, expected: str) -> BadDataError:
        """Return the error for one key."""
        return BadDataError(
            f"{self.path}, {key}: found {found}, expected {expected}", "download the file again"
        )

    @contextmanager
    def _open_member(self, key: str, max_bytes: int) -> Iterator[tuple[IO[bytes], int]]:
        """Open an array's file in the archive; yield it and its size in bytes."""
        try:
            info = self._zip.getinfo(key + ".npy")
        except KeyError:
            keys = [name.removesuffix(".npy")[:40] for name in self._zip.namelist()[:8]]
            raise BadDataError(
                f"{self.path} has no {key}: found {', '.join(keys) or 'nothing'}, expected {key}",
                "check that it is the right file",
            ) from None
        if info.file_size > max_bytes:
            raise self.error(key, f"{info.file_size:,} bytes unpacked", f"at most {max_bytes:,}")
        try:
            with self._zip.open(info) as file:
                yield file, info.file_size
        except BadDataError:
            raise
        except Exception as exc:  # zlib.error, a wrong CRC, an unknown compression, an encrypted member …
            raise self.error(key, f"damaged bytes ({exc})", "a complete array") from exc

    def _read_header(self, key: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            version = npy_format.read_magic(file)
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, is_fortran, dtype = read(file)
        except ValueError as exc:
            raise self.error(key, "no NumPy header", "an array") from exc
        return shape, is_fortran, dtype

    def _check_range(
        self, key: str, values: np.ndarray[Any, Any], low: float | None, high: float | None
    ) -> None:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise self._value_error(key, values, ~np.isfinite(values), "finite numbers")
        for bound, is_beyond in ((low, np.less), (high, np.greater)):
            extreme = values.min() if is_beyond is np.less else values.max()
            if bound is not None and is_beyond(extreme, bound):
                raise self._value_error(key, values, is_beyond(values, bound), f"{low} to {high}")

    def _value_error(self, key: str, values: Any, is_wrong: Any, expected: str) -> BadDataError:
        index = tuple(int(number) for number in np.argwhere(is_wrong)[0])
        return self.error(key, f"{values[index]} at {list(index)}", expected)


class _ForbiddenNameError(Exception):
    """A pickle refers to a name that an array of lists does not need."""


class _PickledArray:
    """Substitute for numpy.ndarray: keeps the items of the pickle and does nothing with them."""

    items: Any = None

    def __setstate__(self, state: Any) -> None:
        self.items = state[-1]


class _IgnoredDtype:
    """Substitute for numpy.dtype: the header of the file gives the type."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _reconstruct(*arguments: Any) -> _PickledArray:
    return _PickledArray()


def _encode(*arguments: Any) -> bytes:
    """Substitute for codecs.encode, which makes the letter of a dtype in old protocols; it is not used."""
    return b""


_ALLOWED_NAMES = {
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _IgnoredDtype,
    ("_codecs", "encode"): _encode,
}


class _ListUnpickler(pickle.Unpickler):
    """Unpickler that accepts only the names that an array of lists uses."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED_NAMES[module, name]
        except KeyError:
            raise _ForbiddenNameError(f"{module}.{name}"[:80]) from None


@contextmanager
def _garbage_collector_off() -> Iterator[None]:
    """Turn off the garbage collector: it would scan millions of new lists, none of them garbage, for seconds."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _kind_names(kinds: str) -> str:
    names = {"i": "integer", "u": "integer", "f": "float"}
    return " or ".join(dict.fromkeys(names[letter] for letter in kinds))


def _format_shape(shape: tuple[int | None, ...]) -> str:
    lengths = ", ".join("n" if length is None else str(length) for length in shape)
    return f"({lengths},)" if len(shape) == 1 else f"({lengths})"
