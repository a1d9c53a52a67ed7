"""The profile of a model: what its inputs, its answers and its classes were when it was trained.

It is the file `profile.json` in the model's folder, of a few kB and at most about 200 kB. `inputs` and `answers` list
columns, each with the kind of its features and a summary of each feature, and answers with the scores of the held-out
rows; `classes` counts the training rows of each class.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.domain.outputs import DEFAULT_THRESHOLD, Output, Outputs
from mlctl.serving.traffic.features import (
    Array,
    Features,
    class_names,
    is_missing,
    kind_of,
    measure,
    split_words,
)
from mlctl.serving.traffic.live_score import name_truths, score
from mlctl.serving.traffic.repeats import unique_share
from mlctl.serving.traffic.summary import QUANTILES, Summary, summarise

FILE = "profile.json"
VERSION = 1
MAX_COLUMNS, MAX_CLASSES = 400, 200
MOST_WORDS = 4000  # of all text columns
MAX_NUMBERS = 12_000  # of all summaries: points, and counts of rows
FEWEST_QUANTILES = 11
ANSWER_KINDS = {"classes": "label", "labels": "labels", "pixels": "areas", "sequence": "areas"}

Profile = dict[str, Any]


def make_profile(
    inputs: Any,
    *,
    answers: Any = None,
    outputs: Outputs = (),
    targets: Mapping[str, Any] | None = None,
    truths: Mapping[str, Any] | None = None,
    only_known_words: bool = False,
) -> Profile:
    """Return the profile of a model.

    Args:
        inputs: Raw rows, as a client sends them: a DataFrame, a dict of arrays by column or tensor, or one array.
        answers: The model's answers to held-out rows: an array, or a dict of them by output name.
        outputs: What the answers mean.
        targets: Classes of the training rows by output name: class numbers (n,).
        truths: Targets of the held-out rows by output name, as scores take them.
        only_known_words: Texts in `inputs` have lost the words that the model does not know, so that the profile
            cannot tell how many they were.
    """
    columns = as_columns(inputs)
    kinds = {name: kind_of(columns[name]) for name in list(columns)[:MAX_COLUMNS]}
    size = _SummarySize(len(kinds), list(kinds.values()).count("text"), not only_known_words)
    profile: Profile = {
        "version": VERSION,
        "inputs": [_profile_input(name, kind, columns[name], size) for name, kind in kinds.items()],
        "unique_rows": unique_share(columns),
        "answers": [],
        "classes": _count_classes(targets or {}, outputs),
    }
    for output, values in _by_output(answers, outputs):
        entry = _profile_answers(output, values)
        if entry is not None:
            truth = (truths or {}).get(output.name)
            entry["scores"] = {} if truth is None else score(entry, values, name_truths(entry, truth))
            profile["answers"].append(entry)
    if len(columns) > len(kinds):
        profile["left_out"] = len(columns) - len(kinds)
    return profile


def write_profile(profile: Profile, folder: Path) -> None:
    """Write the profile to a model's folder."""
    content = json.dumps(profile, separators=(",", ":"), ensure_ascii=False)
    (folder / FILE).write_text(content, encoding="utf-8")


def read_profile(folder: Path) -> Profile | None:
    """Return the profile in a folder; None if there is none that this version of mlctl can read."""
    try:
        profile: Profile = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return profile if isinstance(profile, dict) and profile.get("version") == VERSION else None


def as_columns(rows: Any) -> dict[str, Array]:
    """Return rows as arrays by column name; one array has the name ""."""
    if hasattr(rows, "iloc"):
        return {str(name): _column(rows[name]) for name in rows}
    if isinstance(rows, Mapping):
        return {str(name): np.asarray(part) for name, part in rows.items()}
    if isinstance(rows, list):
        return {"": np.array(rows, dtype=object)}
    return {"": np.asarray(rows)}


def features_of(entries: Sequence[Mapping[str, Any]], rows: Any) -> Iterator[tuple[str, Summary, Array]]:
    """Yield name, summary and live values of each feature of a profile's `inputs` or `answers`.

    Columns and features that the rows do not have are left out.
    """
    columns = as_columns(rows)
    if len(entries) == len(columns) == 1:  # an array has a name in the signature, or none
        columns = {entries[0]["name"]: next(iter(columns.values()))}
    for entry in entries:
        if (values := columns.get(entry["name"])) is None:
            continue
        try:
            found = _measure_entry(entry, values)
        except (ValueError, TypeError, IndexError):  # the rows are of another kind now
            continue
        for name, summary in entry["features"].items():
            if name in found:
                yield feature_name(entry["name"], name), summary, found[name]


def feature_name(column: str, feature: str) -> str:
    """Return the name of a feature: the column's, or both."""
    return f"{column}: {feature}" if column and feature else column or feature


def _measure_entry(entry: Mapping[str, Any], values: Array) -> Features:
    given = {**entry, "known": frozenset(entry.get("vocabulary", ()))}
    return measure(entry["kind"], values, given)


def _column(values: Any) -> Array:
    """Return a column of a DataFrame: numbers, booleans, or objects."""
    kind = getattr(values.dtype, "kind", "O")
    if kind == "M":
        return np.asarray(values.astype("int64") // 10**9, np.float64)
    if kind in "iufb" and isinstance(values.dtype, np.dtype):
        return np.asarray(values)
    return np.asarray(values.to_numpy(dtype=object))


class _SummarySize:
    """How much of each input is kept, so that the whole profile stays small."""

    def __init__(self, columns: int, texts: int, counts_unknown: bool) -> None:
        self.quantiles = _quantiles(columns)
        self.words = MOST_WORDS // max(1, texts)
        self.counts_unknown = counts_unknown


def _quantiles(features: int) -> int:
    return max(FEWEST_QUANTILES, min(QUANTILES, MAX_NUMBERS // (3 * max(1, features))))


def _profile_input(name: str, kind: str, values: Array, size: _SummarySize) -> dict[str, Any]:
    if kind == "text":
        return _profile_texts(name, values, size)
    return {"name": name, "kind": kind, "features": _summaries(measure(kind, values, {}), size.quantiles)}


def _profile_texts(name: str, values: Array, size: _SummarySize) -> dict[str, Any]:
    """Profile texts: half of them gives the vocabulary, in which the words of the others are looked up."""
    counts: Counter[str] = Counter()
    for text in values[::2].tolist():
        if not is_missing(text):
            counts.update(set(split_words(str(text))))
    vocabulary = [word for word, count in counts.most_common(size.words) if count > 1 and len(word) < 30]
    given = {"known": frozenset(vocabulary), "counts_unknown": size.counts_unknown}
    features = measure("text", values[1::2], given)
    return {
        "name": name,
        "kind": "text",
        "counts_unknown": size.counts_unknown,
        "vocabulary": vocabulary,
        "features": _summaries(features, size.quantiles),
    }


def _profile_answers(output: Output, values: Array) -> dict[str, Any] | None:
    """Return the profile of an output's answers; None if they have a form that only their user knows."""
    try:
        kind = ANSWER_KINDS.get(output.kind) or kind_of(values.reshape(-1) if _is_flat(values) else values)
        found = measure(kind, values, {"classes": list(output.classes), "threshold": output.threshold})
    except (ValueError, TypeError, IndexError):
        return None
    entry: dict[str, Any] = {"name": output.name, "kind": kind, "features": _summaries(found, QUANTILES)}
    if output.classes:
        entry["classes"] = list(output.classes)
        if output.threshold != DEFAULT_THRESHOLD:
            entry["threshold"] = output.threshold
    if output.unit:
        entry["unit"] = output.unit
    return entry


def _by_output(answers: Any, outputs: Outputs) -> Iterator[tuple[Output, Array]]:
    known = {output.name: output for output in outputs}
    if answers is None:
        return
    if not isinstance(answers, Mapping):
        yield (outputs[0] if outputs else Output(kind="none")), np.asarray(answers)
        return
    for name, values in list(answers.items())[:MAX_COLUMNS]:
        only = outputs[0] if len(outputs) == len(answers) == 1 else None
        yield only or known.get(name, Output(kind="none", name=name)), np.asarray(values)


def _is_flat(values: Array) -> bool:
    return values.ndim == 2 and values.shape[1] == 1


def _summaries(features: Features, quantiles: int) -> dict[str, Summary]:
    points = min(quantiles, _quantiles(len(features)))
    return {name: summarise(values, points) for name, values in features.items()}


def _count_classes(targets: Mapping[str, Any], outputs: Outputs) -> dict[str, dict[str, int]]:
    """Return the number of training rows of each class by output name."""
    counted = {}
    for output in outputs:
        numbers = np.asarray(targets[output.name]).ravel() if output.name in targets else np.zeros(0)
        if output.kind != "classes" or not numbers.size or numbers.dtype.kind not in "iu":
            continue
        counts = np.bincount(numbers[numbers >= 0].astype(np.int64))
        names = class_names({"classes": output.classes}, len(counts))
        pairs = zip(names, counts.tolist(), strict=False)
        counted[output.name] = dict(list(pairs)[:MAX_CLASSES])
    return counted
