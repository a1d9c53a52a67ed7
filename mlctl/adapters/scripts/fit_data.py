"""The data that a script gives to `fit` and `evaluate`: its form, a digest of its content, and rows of it.

Nothing is read from a pipeline or a generator while the script runs: that could change what the script sees.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.scripts.array_digests import ArrayDigests, Region, overlap, region
from mlctl.data.content_digest import ContentDigest, FileDigests, combine_digests, digest_stream, shortened
from mlctl.data.dataset import Split
from mlctl.data.streams import Stream, count_batched_rows
from mlctl.data.trees import Tree, leaves, map_tree

SAMPLE_ROWS = 64  # rows that check the logged model
MAX_TARGET_BYTES = 1 << 26  # targets up to this size are kept until the end
MAX_SPEC = 1000  # characters
MAX_STREAMS = 8  # whose digests are remembered
INFINITE, UNKNOWN = -1, -2  # tf.data's cardinalities
ARRAYS, PIPELINE, BATCHES, GENERATOR, OTHER = "arrays", "tf.data.Dataset", "PyDataset", "generator", "batches"


@dataclass(kw_only=True)
class DataPart:
    """Data of a call of `fit` or `evaluate`.

    Attributes:
        kind: ARRAYS, PIPELINE, BATCHES, GENERATOR, or OTHER for anything else that makes batches.
        source: Inputs, targets and weights as trees of arrays; of the other kinds, the object that makes batches.
        spec: Types and shapes in words.
        rows: Number of rows; None if it is unknown without reading them.
        steps: Number of batches, if the call limits them.
        content: The digest of the content; "" if nothing of the content is known.
        is_partial: Whether the digest does not cover all of the content.
        first_batch: The first batch of a generator, as soon as it has passed.
        regions: The memory of its inputs.
        size_bytes: Size of the arrays in memory, or of the files that were read.
        files: Digests of the files that the content is known from, by name.
    """

    kind: str
    source: Any
    spec: str
    rows: int | None = None
    steps: int | None = None
    content: str = ""
    is_partial: bool = False
    first_batch: list[Any] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    size_bytes: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    _sample: Split | None = None
    _targets: Any = None

    @property
    def split(self) -> Split | None:
        """All rows, or batches that can be read again; None if there are none."""
        if self.kind == ARRAYS and self.source is not None:
            return Split(*self.source)
        is_endless = self.kind == PIPELINE and int(self.source.cardinality()) == INFINITE
        if is_endless or self.kind not in (PIPELINE, BATCHES):
            return None
        return Split(Stream(self.source))

    def sample(self) -> Split:
        """Return the first rows as arrays; pipelines are read for that. Raises what reading them raises."""
        if self._sample is None:
            if self.kind == ARRAYS:
                self._sample = _first_rows(Split(*self.source))
            else:
                self._sample = _first_rows(_as_split(self._read_batch()))
        return self._sample

    def describe_batch(self) -> str:
        """Return the description, of a generator that of its first batch."""
        if self.first_batch:
            self.spec = f"generator of {_describe_batch(_as_split(self.first_batch[0]))}"
        return self.spec

    def release(self) -> None:
        """Keep only a few rows, so that the script's arrays can be freed; of small targets all."""
        if self.kind != ARRAYS or self.source is None:
            return
        targets = self.source[1]
        sample = self.sample()
        if (
            targets is not None
            and sum(getattr(leaf, "nbytes", 0) for leaf in leaves(targets)) <= MAX_TARGET_BYTES
        ):
            self._targets = targets
        self._sample, self.source = sample, None

    @property
    def targets(self) -> Any:
        """All targets if they are known, else those of the sample."""
        if self.kind == ARRAYS:
            kept = self.source[1] if self.source is not None else self._targets
            if kept is not None:
                return kept
        return self.sample().targets

    def _read_batch(self) -> Any:
        if self.first_batch:
            return self.first_batch[0]
        if self.kind == PIPELINE:
            return next(iter(self.source.take(1).as_numpy_iterator()))
        if self.kind == BATCHES:
            return self.source[0]
        if self.kind == GENERATOR:
            raise LookupError("no batch of the generator has passed")
        return next(iter(self.source))


@dataclass(frozen=True, kw_only=True)
class FitData:
    """The data of one call of `fit`."""

    train: DataPart
    validation: DataPart | None = None
    class_weight: Any = None

    @property
    def parts(self) -> dict[str, DataPart]:
        """Its parts by name."""
        return {"train": self.train, **({"validation": self.validation} if self.validation else {})}

    @property
    def content(self) -> str:
        """A digest of all parts."""
        parts = {name: part.content for name, part in self.parts.items()}
        return combine_digests({**parts, "class_weight": repr(self.class_weight)})


@dataclass(kw_only=True)
class DataReader:
    """Reads what scripts pass as data; arrays are hashed once.

    Attributes:
        files: Returns the files that the script has read so far, by name, and those in folders that it has listed.
    """

    files: Callable[[], tuple[Mapping[str, Path], Mapping[str, Path]]] = lambda: ({}, {})
    digests: ArrayDigests = field(default_factory=ArrayDigests)
    file_digests: FileDigests = field(default_factory=FileDigests)
    _streams: dict[int, tuple[Any, int, ContentDigest]] = field(default_factory=dict)

    def of_fit(self, arguments: dict[str, Any]) -> FitData:
        """Return the data of a call of `fit`; its generators are replaced by ones that let their first batch be seen."""
        train = self._part(arguments, "x", "y", "sample_weight", steps=arguments.get("steps_per_epoch"))
        validation = arguments.get("validation_data")
        held_out = float(arguments.get("validation_split") or 0.0)
        validated = None
        if validation is not None:
            steps = arguments.get("validation_steps")
            if isinstance(validation, (tuple, list)):
                given = dict(zip(("x", "y", "sample_weight"), validation, strict=False))
                validated = self._part(given, "x", "y", "sample_weight", steps=steps)
                if given["x"] is not validation[0]:
                    arguments["validation_data"] = (given["x"], *validation[1:])
            else:
                given = {"x": validation}
                validated = self._part(given, "x", "y", "sample_weight", steps=steps)
                arguments["validation_data"] = given["x"]
        elif held_out and train.kind == ARRAYS:
            train, validated = self._held_out(train, held_out)
        return FitData(train=train, validation=validated, class_weight=arguments.get("class_weight"))

    def of_evaluate(self, arguments: dict[str, Any]) -> DataPart:
        """Return the data of a call of `evaluate`, in the same way."""
        return self._part(arguments, "x", "y", "sample_weight", steps=arguments.get("steps"))

    def opened_digests(self) -> dict[str, str]:
        """Return the digests of all files that the script has read so far, by name."""
        opened, _ = self.files()
        return shortened({name: self.file_digests.digest(path) for name, path in opened.items()})

    def _part(self, arguments: dict[str, Any], x: str, y: str, weight: str, *, steps: Any = None) -> DataPart:
        source = arguments.get(x)
        steps = None if steps is None else int(steps)
        if source is None or _are_arrays(source):
            return self._arrays(source, arguments.get(y), arguments.get(weight), steps)
        if isinstance(source, types.GeneratorType):
            batches: list[Any] = []
            arguments[x] = _tapped(source, batches)
            part = DataPart(kind=GENERATOR, source=source, spec="generator", steps=steps, first_batch=batches)
        elif _is_pipeline(source):
            part = DataPart(
                kind=PIPELINE,
                source=source,
                spec=_describe_pipeline(source),
                rows=_pipeline_rows(source),
                steps=steps,
            )
        elif _is_py_dataset(source):
            part = DataPart(kind=BATCHES, source=source, spec=_describe_py_dataset(source), steps=steps)
        else:
            part = DataPart(kind=OTHER, source=source, spec=type(source).__name__, steps=steps)
        self._digest(part)
        part.size_bytes = self._files_size()
        return part

    def _digest(self, part: DataPart) -> None:
        """Set a stream's digest; that of the same object is computed once."""
        opened, listed = self.files()
        source, number = part.source, len(opened) + len(listed)
        known = self._streams.get(id(source))
        if known is None or known[0]() is not source or known[1] != number:
            shown = None if part.kind == GENERATOR else source
            digest = digest_stream(shown, opened, listed, self.file_digests)
            known = self._streams[id(source)] = (_reference(source), number, digest)
            while len(self._streams) > MAX_STREAMS:
                self._streams.pop(next(iter(self._streams)))
        part.content, part.is_partial, part.files = known[2].sha256, known[2].is_partial, known[2].files

    def _files_size(self) -> int:
        return sum(path.stat().st_size for path in self.files()[0].values() if path.is_file())

    def _arrays(self, x: Any, y: Any, weights: Any, steps: int | None) -> DataPart:
        inputs = None if x is None else to_tree(x, as_columns=True)
        targets = None if y is None else to_tree(y, as_columns=False)
        weights = None if weights is None else to_tree(weights, as_columns=False)
        return self._of_trees((inputs, targets, weights), steps)

    def _of_trees(self, trees: tuple[Any, Any, Any], steps: int | None = None) -> DataPart:
        content = {
            f"{name} {number}": self.digests.digest(leaf)
            for name, tree in zip("xyw", trees, strict=True)
            if tree is not None
            for number, leaf in enumerate(leaves(tree))
        }
        return DataPart(
            kind=ARRAYS,
            source=trees,
            spec=_describe_trees(trees),
            rows=None if trees[0] is None else _length(leaves(trees[0])[0]),
            steps=steps,
            size_bytes=sum(_size(leaf) for tree in trees if tree is not None for leaf in leaves(tree)),
            content=combine_digests(content),
            regions=[found for leaf in leaves(trees[0]) if (found := region(leaf))]
            if trees[0] is not None
            else [],
        )

    def _held_out(self, part: DataPart, fraction: float) -> tuple[DataPart, DataPart]:
        """Return the rows that `fit` trains on, and the last ones, which `validation_split` holds out."""
        first = int((part.rows or 0) * (1.0 - fraction))  # as Keras computes it
        trees = [
            None if tree is None else (_rows(tree, slice(first)), _rows(tree, slice(first, None)))
            for tree in part.source
        ]
        before, after = ([None if pair is None else pair[place] for pair in trees] for place in (0, 1))
        return self._of_trees((before[0], before[1], before[2]), part.steps), self._of_trees(
            (after[0], after[1], after[2])
        )


def is_same(part: DataPart, other: DataPart | None) -> bool:
    """Return whether two parts have the same data, or rows in common that can be recognized."""
    if other is None:
        return False
    if part.kind != ARRAYS or other.kind != ARRAYS:
        if part.source is other.source and part.source is not None:
            return True
        is_known = part.content and not part.is_partial and not other.is_partial
        return bool(
            part.kind == other.kind and is_known and part.content == other.content and part.spec == other.spec
        )
    if part.content == other.content:
        return True
    return overlap(part.regions, other.regions)


def to_tree(value: Any, *, as_columns: bool) -> Tree:
    """Return what Keras takes as arrays as a tree: lists are tuples, tensors are arrays.

    `as_columns`: a Series is a column (n, 1), as Keras makes it of an input.
    """
    if isinstance(value, Mapping):
        return {str(name): to_tree(part, as_columns=as_columns) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = tuple(to_tree(part, as_columns=as_columns) for part in value)
        return parts[0] if len(parts) == 1 else parts
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "iloc"):
        if getattr(value, "ndim", 2) == 1:
            column = value.to_numpy()
            return column[:, None] if as_columns else column
        return value if as_columns else value.to_numpy()
    if _is_sparse(value):
        return value
    return np.asarray(value)


def _are_arrays(value: Any) -> bool:
    parts = _flat(value)
    return bool(parts) and all(
        not _is_pipeline(part)
        and (
            isinstance(part, (np.ndarray, int, float))
            or hasattr(part, "__array__")
            or hasattr(part, "iloc")
            or _is_sparse(part)
        )
        for part in parts
    )


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for part in value.values() for leaf in _flat(part)]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _flat(part)]
    return [] if value is None else [value]


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse") or type(value).__name__ in {
        "SparseTensor",
        "RaggedTensor",
    }


def _is_pipeline(value: Any) -> bool:
    return hasattr(value, "element_spec") and hasattr(value, "cardinality")


def _is_py_dataset(value: Any) -> bool:
    return any(
        cls.__name__ == "PyDataset" and cls.__module__.startswith("keras") for cls in type(value).__mro__
    )


def _tapped(source: Iterator[Any], batches: list[Any]) -> Iterator[Any]:
    """Yield the items of a generator; keep the first."""
    for item in source:
        if not batches:
            batches.append(item)
        yield item


def _rows(tree: Tree, rows: slice) -> Tree:
    return map_tree(lambda leaf: leaf.iloc[rows] if hasattr(leaf, "iloc") else leaf[rows], tree)


def _reference(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: None


def _size(leaf: Any) -> int:
    if hasattr(leaf, "memory_usage"):
        return int(leaf.memory_usage(index=False).sum())
    return int(getattr(leaf, "nbytes", 0) or getattr(getattr(leaf, "data", None), "nbytes", 0))


def _length(leaf: Any) -> int | None:
    shape = getattr(leaf, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) and shape[0] is not None else None


def _first_rows(split: Split) -> Split:
    """Return copies of the first rows as dense arrays."""

    def first(leaf: Any) -> Any:
        if hasattr(leaf, "iloc"):
            return leaf.iloc[:SAMPLE_ROWS].reset_index(drop=True)
        few = leaf[:SAMPLE_ROWS]
        return np.array(few.toarray() if hasattr(few, "toarray") else few)

    return Split(*(None if part is None else map_tree(first, part) for part in split.parts))


def _as_split(batch: Any) -> Split:
    """Return a batch as a split; a generator's batch may be a tuple, a dict or an array."""
    parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    trees = [None if part is None else to_tree(part, as_columns=True) for part in parts[:3]]
    return Split(*trees)


# -- in words ---------------------------------------------------------------------------------------------


def _describe_trees(trees: Sequence[Any]) -> str:
    named = zip(("x", "y", "sample_weight"), trees, strict=False)
    text = "; ".join(f"{name}: {_describe_tree(tree)}" for name, tree in named if tree is not None)
    return text[:MAX_SPEC]


def _describe_batch(split: Split) -> str:
    return _describe_trees(tuple(map(_any_rows, split.parts)))


@dataclass(frozen=True)
class _Spec:
    dtype: Any
    shape: tuple[Any, ...]


def _any_rows(tree: Any) -> Any:
    if tree is None:
        return None
    return map_tree(lambda leaf: _Spec(getattr(leaf, "dtype", "table"), ("batch", *leaf.shape[1:])), tree)


def _describe_tree(tree: Any) -> str:
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{name}: {_describe_tree(part)}" for name, part in tree.items()) + "}"
    if isinstance(tree, tuple):
        return "(" + ", ".join(map(_describe_tree, tree)) + ")"
    if hasattr(tree, "iloc"):
        kinds = sorted({str(kind) for kind in tree.dtypes})
        return f"table {tuple(tree.shape)} of {', '.join(kinds)}"
    dtype = getattr(tree.dtype, "name", None) or str(tree.dtype)
    return f"{dtype} ({', '.join(map(str, tree.shape))})"


def _describe_pipeline(source: Any) -> str:
    try:
        count = int(source.cardinality())
        cardinality = {INFINITE: "endless", UNKNOWN: "unknown"}.get(count, f"{count:,} batches")
        return f"tf.data.Dataset of {source.element_spec!r}; cardinality: {cardinality}"[:MAX_SPEC]
    except Exception:
        return "tf.data.Dataset"


def _pipeline_rows(source: Any) -> int | None:
    try:
        return count_batched_rows(source)
    except Exception:
        return None


def _describe_py_dataset(source: Any) -> str:
    try:
        count = source.num_batches
    except Exception:
        count = None
    return f"{type(source).__name__} of {'unknown' if count is None else f'{count:,}'} batches"
