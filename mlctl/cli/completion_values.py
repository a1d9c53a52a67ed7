"""Answers completion scripts: `mlctl __complete KIND PREFIX [WORDS…]` prints a value and its help per line.

A user waits for this after each TAB, so it imports neither Typer nor MLflow. It prints nothing if anything fails,
because an error message would end up in the middle of the user's command line.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence

from mlctl.adapters.tracking import completion_lookup
from mlctl.settings import load

Candidate = tuple[str, str]  # a value, and a short description

STAGES = ("Production", "Staging", "Archived")


def print_values(arguments: Sequence[str]) -> None:
    """Print the values of KIND that begin with PREFIX, best first.

    WORDS are the words before the cursor, which may hold --tracking-uri and the name of a model.
    """
    with contextlib.suppress(Exception):
        kind, prefix, *raw_words = arguments
        words = [word.strip("'\"") for word in raw_words]  # bash passes words with their quotes
        values: dict[str, str] = {}
        for value, description in _candidates(kind, prefix, words):
            if value.startswith(prefix) and value.isprintable():
                values.setdefault(value, " ".join(description.split()))
        sys.stdout.write("".join(f"{value}\t{description}\n" for value, description in values.items()))
        sys.stdout.flush()


def _candidates(kind: str, prefix: str, words: Sequence[str]) -> Iterable[Candidate]:
    uri = load({"tracking_uri": _tracking_uri(words)}).tracking_uri
    with contextlib.closing(completion_lookup.open_completion_store(uri)) as store:
        if kind == "RUN":
            yield from _runs(store, prefix)
        elif kind == "EXPERIMENT":
            yield from ((name, "experiment") for name in store.experiments())
        elif kind == "NAME":
            yield from ((name, "registered model") for name in store.models())
        elif kind == "VERSION":
            versions = store.versions(_model_in(words, store))
            yield from ((version.version, version.description) for version in versions)
        elif kind == "STAGE":
            yield from ((stage, "stage") for stage in STAGES)
        elif kind == "MODEL":
            yield from _models(store, prefix)


def _runs(store: completion_lookup.CompletionStore, prefix: str) -> Iterable[Candidate]:
    yield "last", "the newest run"
    yield "best", "the best run by its recipe's objective"
    for run_id, name, experiment in store.runs(prefix):
        yield name, experiment
        if prefix:  # without a prefix, a thousand ids would hide the names
            yield run_id, f"{name} ({experiment})"


def _models(store: completion_lookup.CompletionStore, prefix: str) -> Iterable[Candidate]:
    name, separator, _ = prefix.partition("/") if "/" in prefix else prefix.partition("@")
    if separator:
        for version in store.versions(name):
            yield f"{name}/{version.version}", version.description
            yield from ((f"{name}@{alias}", f"version {version.version}") for alias in version.aliases)
        return
    yield from ((name, "registered model") for name in store.models())
    yield from _runs(store, prefix)


def _model_in(words: Sequence[str], store: completion_lookup.CompletionStore) -> str:
    """Return the last word that is the name of a registered model, or ""."""
    models = set(store.models())
    return next((word for word in reversed(words) if word in models), "")


def _tracking_uri(words: Sequence[str]) -> str | None:
    """Return the value of --tracking-uri, if it is among the words."""
    for previous, word in zip(["", *words], words, strict=False):
        if previous == "--tracking-uri":
            return word
        if word.startswith("--tracking-uri="):
            return word.partition("=")[2]
    return None
