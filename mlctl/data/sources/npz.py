"""Reading .npz files without running anything in them.

NumPy would unpickle an array of objects, and a pickle can run what its author likes. Here plain arrays are
read as bytes, and arrays of lists (Keras's imdb.npz) by an unpickler that knows lists, integers and a few
inert stand-ins for NumPy's own names, and refuses the rest.
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
from numpy.lib import format as npy

from mlctl.errors import BadDataError

MAX_ARRAY_BYTES = 2 << 30
MAX_PICKLE_BYTES = 64 << 20  # imdb's are 14 MB; the objects that a pickle makes are larger than it is


class Archive:
    """An open .npz file; `archive.array(...)` and `archive.lists(...)` read and check one key each.

    Whatever is wrong is one BadDataError that names the file, the key, what was found and what was expected.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._zip = file

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Archive]:
        """Open a .npz file."""
        try:
            with zipfile.ZipFile(path) as file:
                yield cls(path, file)
        except BadDataError:
            raise
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as exc:
            raise BadDataError(f"{path} is no whole .npz file: {exc}", "fetch it again") from exc
        except OSError as exc:
            raise BadDataError(f"{path} cannot be read: {exc.strerror or exc}", "look at the file") from exc

    def array(
        self,
        key: str,
        shape: tuple[int | None, ...],
        kinds: str = "iu",
        low: float | None = None,
        high: float | None = None,
    ) -> np.ndarray[Any, Any]:
        """Return a plain array, read-only.

        `shape` holds None where any length of at least one will do, `kinds` NumPy's letters for the types
        that will do ("iu" whole numbers, "f" floats), `low` and `high` the bounds of every value.
        """
        with self._member(key, MAX_ARRAY_BYTES) as (file, size):
            found, fortran, dtype = self._header(key, file)
            if dtype.hasobject:
                raise self.bad(key, "Python objects", "plain numbers, and nothing in a data file is run")
            if dtype.kind not in kinds:
                raise self.bad(key, f"type {dtype}", f"type {_in_words(kinds)}")
            if len(found) != len(shape) or any(
                have != want if want is not None else have < 1
                for have, want in zip(found, shape, strict=True)
            ):
                raise self.bad(key, f"shape {found}", f"shape {_shape_words(shape)}")
            if math.prod(found) * dtype.itemsize != size - file.tell():
                raise self.bad(
                    key,
                    f"{size - file.tell()} bytes",
                    f"{math.prod(found) * dtype.itemsize} for shape {found}",
                )
            flat = np.frombuffer(file.read(), dtype=dtype)
        values = flat.reshape(found[::-1]).T if fortran else flat.reshape(found)
        self._check_range(key, values, low, high)
        return values

    def lists(self, key: str) -> list[list[int]]:
        """Return a one-dimensional array of Python lists; what is in the lists is for the caller to check."""
        with self._member(key, MAX_PICKLE_BYTES) as (file, _):
            shape, _, dtype = self._header(key, file)
            if not dtype.hasobject or dtype.kind != "O" or len(shape) != 1:
                raise self.bad(key, f"type {dtype}, shape {shape}", "a list of numbers for each row")
            data = file.read()
        with _collector_off():
            try:
                outcome = _ListUnpickler(io.BytesIO(data)).load()
            except _RefusedError as exc:
                raise self.bad(key, f"a call of {exc}", "lists of numbers; it was not run") from exc
            except Exception as exc:  # a torn pickle raises nearly anything
                raise self.bad(key, f"a broken pickle ({type(exc).__name__})", "lists of numbers") from exc
        rows = outcome.items if isinstance(outcome, _Array) else None
        if not isinstance(rows, list) or len(rows) != shape[0] or not rows:
            raise self.bad(key, "something else", f"{shape[0] or 'some'} lists of numbers")
        for number, row in enumerate(rows):
            if type(row) is not list:
                raise self.bad(key, f"{type(row).__name__} in row {number}", "a list of numbers")
        return rows

    def bad(self, key: str, found: str, expected: str) -> BadDataError:
        """Return the error for one key."""
        return BadDataError(f"{self.path}, {key}: found {found}, expected {expected}", "fetch the file again")

    @contextmanager
    def _member(self, key: str, limit: int) -> Iterator[tuple[IO[bytes], int]]:
        try:
            info = self._zip.getinfo(key + ".npy")
        except KeyError:
            there = (
                ", ".join(name.removesuffix(".npy")[:40] for name in self._zip.namelist()[:8]) or "nothing"
            )
            raise BadDataError(
                f"{self.path} has no {key}: found {there}, expected {key}", "is it the right file?"
            ) from None
        if info.file_size > limit:
            raise self.bad(key, f"{info.file_size:,} bytes unpacked", f"at most {limit:,}")
        try:
            with self._zip.open(info) as file:
                yield file, info.file_size
        except BadDataError:
            raise
        except Exception as exc:  # zlib.error, a wrong CRC, an unknown compression, an encrypted member …
            raise self.bad(key, f"damaged bytes ({exc})", "a whole array") from exc

    def _header(self, key: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except ValueError as exc:
            raise self.bad(key, "no NumPy header", "an array") from exc
        return shape, fortran, dtype

    def _check_range(
        self, key: str, values: np.ndarray[Any, Any], low: float | None, high: float | None
    ) -> None:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            where = tuple(int(one) for one in np.argwhere(~np.isfinite(values))[0])
            raise self.bad(key, f"{values[where]} at {list(where)}", "finite numbers")
        for bound, wrong in ((low, np.less), (high, np.greater)):
            extreme = values.min() if wrong is np.less else values.max()
            if bound is not None and wrong(extreme, bound):
                where = tuple(int(one) for one in np.argwhere(wrong(values, bound))[0])
                raise self.bad(key, f"{values[where]} at {list(where)}", f"{low} to {high}")


class _RefusedError(Exception):
    """A pickle asks for something that no array of lists needs."""


class _Array:
    """Stands in for numpy.ndarray: keeps the items that the pickle holds, and does nothing with them."""

    items: Any = None

    def __setstate__(self, state: Any) -> None:
        self.items = state[-1]


class _Dtype:
    """Stands in for numpy.dtype: the header has said what the type is."""

    def __init__(self, *said: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _reconstruct(*said: Any) -> _Array:
    return _Array()


def _encode(*said: Any) -> bytes:
    """Stand in for what old protocols make bytes with: NumPy passes a type's letter so, which is not read."""
    return b""


_ADMITTED = {
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _ListUnpickler(pickle.Unpickler):
    """Knows the names that an array of lists is made with; for any other it raises."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}"[:80]) from None


@contextmanager
def _collector_off() -> Iterator[None]:
    """Millions of lists are about to be made, none of them garbage: looking at each again costs seconds."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _in_words(kinds: str) -> str:
    named = {"i": "whole number", "u": "whole number", "f": "float"}
    return " or ".join(dict.fromkeys(named[letter] for letter in kinds))


def _shape_words(shape: tuple[int | None, ...]) -> str:
    inner = ", ".join("n" if one is None else str(one) for one in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"
