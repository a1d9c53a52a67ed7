"""The files of INPUT: a file, a folder, a list of files, or the objects below a prefix of a bucket."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from mlctl.data.files.labelled_files import IMAGE_SUFFIXES, TEXT_SUFFIXES, are_file_names, locate_listed
from mlctl.data.tables import reader
from mlctl.errors import BadDataError, NotFoundError
from mlctl.services.evaluation.input_kinds import ARRAY_SUFFIXES, SUFFIXES, takes_images
from mlctl.services.evaluation.predictor import PredictorInfo

COPY_BYTES = 1 << 20
HIDDEN = (".", "_")  # first characters of names such as _SUCCESS


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file of an input.

    Attributes:
        source: The input, as the user wrote it.
        name: The file's path relative to the input; the input itself if it is one file.
        size: Its size in bytes.
        open: Returns a context with a local path of the file.
    """

    source: str
    name: str
    size: int
    open: Callable[[], AbstractContextManager[Path]]

    @property
    def suffix(self) -> str:
        """The suffix of its name, in lower case."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def is_part(self) -> bool:
        """Whether the input has other files too."""
        return self.name != self.source


def find_files(info: PredictorInfo, text: str) -> list[InputFile] | None:
    """Return the files that an input names, in the order of their names; None if it is no file.

    Of a folder or prefix, these are the files of the kind that the model takes. Raises NotFoundError, BadDataError,
    and what reading a bucket raises.
    """
    if text.startswith("s3://"):
        return _find_objects(info, text)
    path = Path(text)
    if "\n" in text:
        return None
    if reader.is_part_of_file(text):
        return [_local_file(text, text, path)]
    if not _exists(path):
        return None
    if path.is_dir() and info.signature.columns and reader.is_read_as_a_whole(path):
        return [_local_file(text, text, path)]
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        found = [_local_file(text, file.relative_to(path).as_posix(), file) for file in files]
        return _of_taken_kind(info, text, found)
    if reader.is_only_table(text) and (listed := _read_list(info, path)) is not None:
        return [_local_file(text, name, file) for name, file in listed]
    return [_local_file(text, text, path)] if text.lower().endswith(SUFFIXES) else None


def digest(files: Sequence[InputFile]) -> str:
    """Return a digest of the names and sizes of files: another list of files is another job."""
    lines = "\n".join(f"{file.source} {file.name} {file.size}" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def is_small(info: PredictorInfo, file: InputFile) -> bool:
    """Whether a file is one row, so that several are predicted together."""
    if file.suffix in IMAGE_SUFFIXES:
        return takes_images(info)
    return file.suffix in TEXT_SUFFIXES and info.takes_texts


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text that is too long for a name
        return False


def _local_file(source: str, name: str, path: Path) -> InputFile:
    return InputFile(
        source=source, name=name, size=reader.files_of(path)[0].stat().st_size, open=lambda: nullcontext(path)
    )


def _of_taken_kind(info: PredictorInfo, text: str, found: Sequence[InputFile]) -> list[InputFile]:
    """Return the files of the first kind of those that the model takes, sorted by name."""
    visible = [
        file for file in found if not any(part.startswith(HIDDEN) for part in PurePosixPath(file.name).parts)
    ]
    kinds = _kinds(info)
    for suffixes in kinds:
        if files := [file for file in visible if file.name.lower().endswith(suffixes)]:
            return sorted(files, key=lambda file: file.name)
    shown = ", ".join([suffix for suffixes in kinds for suffix in suffixes][:8])
    raise NotFoundError(
        f"{text} holds no files that this model takes", f"it takes files with the suffixes {shown}"
    )


def _kinds(info: PredictorInfo) -> list[tuple[str, ...]]:
    """Return the suffixes of the files that a model takes, by kind, the likeliest first."""
    if takes_images(info):
        return [IMAGE_SUFFIXES, ARRAY_SUFFIXES, (".json",)]
    if info.takes_texts:
        return [TEXT_SUFFIXES, reader.SUFFIXES, (".json",)]
    if info.signature.columns or info.signature.as_table:
        return [reader.SUFFIXES, (".json",)]
    return [ARRAY_SUFFIXES, (".json",)] if info.signature.is_known else [SUFFIXES]


def _read_list(info: PredictorInfo, path: Path) -> list[tuple[str, Path]] | None:
    """Return the names and files in a table's column of files; None if it has no column of images or texts."""
    suffixes = IMAGE_SUFFIXES if takes_images(info) else TEXT_SUFFIXES if info.takes_texts else ()
    if not suffixes:
        return None
    try:
        head = reader.read_head(path)
    except BadDataError:
        return None  # reading its rows reports what is wrong
    if info.takes_texts and set(info.signature.names) & set(map(str, head)):
        return None  # a table of texts
    column = next((name for name in head if are_file_names(head[name], suffixes)), None)
    if column is None:
        return None
    names = [str(name) for name in reader.read(path).frame[column].dropna()]
    files = locate_listed(path, names, suffixes)
    absent = [name for name, file in zip(names, files, strict=True) if not file.is_file()]
    if absent:
        raise NotFoundError(
            f"{path}: {len(absent)} files in column {column} do not exist; the first is {absent[0]}",
            "paths are relative to the folder of the table",
        )
    return list(zip(names, files, strict=True))


def _find_objects(info: PredictorInfo, url: str) -> list[InputFile]:
    from mlctl.s3 import FETCH, S3Bucket, bucket_of_url  # it imports boto3

    location = bucket_of_url(url)
    if not location.name:
        raise NotFoundError(f"{url} names no bucket", "write s3://BUCKET/KEY or s3://BUCKET/FOLDER")
    bucket = S3Bucket(location, FETCH)
    found = [
        InputFile(source=url, name=name, size=size, open=partial(_fetch, bucket, name))
        for name, size in bucket.sizes()
    ]
    if found or not url.lower().endswith(SUFFIXES):
        return _of_taken_kind(info, url, found)
    folder, _, name = location.prefix.rpartition("/")
    beside = S3Bucket(replace(location, prefix=folder), FETCH)
    sizes = dict(beside.sizes(name))
    if name not in sizes:
        raise NotFoundError(f"there is no object {url}", "check the bucket and the key")
    return [InputFile(source=url, name=url, size=sizes[name], open=partial(_fetch, beside, name))]


@contextmanager
def _fetch(bucket: object, name: str) -> Iterator[Path]:
    """Copy an object to this machine for the duration of the block."""
    from mlctl.s3 import S3Bucket

    assert isinstance(bucket, S3Bucket)
    with tempfile.TemporaryDirectory(prefix="mlctl-input-") as folder:
        path = Path(folder) / PurePosixPath(name).name
        source = bucket.open(name)
        try:
            with path.open("wb") as file:
                while chunk := source.read(COPY_BYTES):
                    file.write(chunk)
        finally:
            source.close()
        yield path
