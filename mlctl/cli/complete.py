"""What a completion script asks for: `mlctl __complete KIND PREFIX [WORDS…]`, a value and its help a line.

A TAB press waits for this, so neither Typer nor MLflow is imported; and whatever goes wrong, it answers
nothing: a shell has no place for an error message in the middle of a command line.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence

from mlctl.adapters.tracking import completion_lookup
from mlctl.settings import load

Offer = tuple[str, str]  # a value, and a few words about it

STAGES = ("Production", "Staging", "Archived")


def answer(arguments: Sequence[str]) -> None:
    """Print the values of KIND that begin with PREFIX, best first; print nothing where none can be had.

    WORDS are what is typed already: a --tracking-uri and a model's name among them count.
    """
    with contextlib.suppress(Exception):
        kind, prefix, *words = arguments
        found: dict[str, str] = {}
        typed = [word.strip("'\"") for word in words]  # bash hands words on as they were typed
        for value, help_ in _offers(kind, prefix, typed):
            if value.startswith(prefix) and value.isprintable():
                found.setdefault(value, " ".join(help_.split()))
        sys.stdout.write("".join(f"{value}\t{help_}\n" for value, help_ in found.items()))
        sys.stdout.flush()


def _offers(kind: str, prefix: str, words: Sequence[str]) -> Iterable[Offer]:
    with contextlib.closing(
        completion_lookup.opened(load({"tracking_uri": _typed(words)}).tracking_uri)
    ) as store:
        if kind == "RUN":
            yield from _runs(store, prefix)
        elif kind == "EXPERIMENT":
            yield from ((name, "experiment") for name in store.experiments())
        elif kind == "NAME":
            yield from ((name, "registered model") for name in store.models())
        elif kind == "VERSION":
            yield from ((one.version, one.about) for one in store.versions(_model(store, words)))
        elif kind == "STAGE":
            yield from ((stage, "stage") for stage in STAGES)
        elif kind == "MODEL":
            yield from _models(store, prefix)


def _runs(store: completion_lookup.CompletionStore, prefix: str) -> Iterable[Offer]:
    yield "last", "the newest run"
    yield "best", "the best run by its recipe's objective"
    for run_id, name, experiment in store.runs(prefix):
        yield name, experiment
        if prefix:  # nobody picks among a thousand ids: they join in once one is begun
            yield run_id, f"{name} ({experiment})"


def _models(store: completion_lookup.CompletionStore, prefix: str) -> Iterable[Offer]:
    name, mark, _ = prefix.partition("/") if "/" in prefix else prefix.partition("@")
    if mark:
        for one in store.versions(name):
            yield f"{name}/{one.version}", one.about
            yield from ((f"{name}@{alias}", f"version {one.version}") for alias in one.aliases)
        return
    yield from ((name, "registered model") for name in store.models())
    yield from _runs(store, prefix)


def _model(store: completion_lookup.CompletionStore, words: Sequence[str]) -> str:
    known = set(store.models())
    return next((word for word in reversed(words) if word in known), "")


def _typed(words: Sequence[str]) -> str | None:
    for before, word in zip(["", *words], words, strict=False):
        if before == "--tracking-uri":
            return word
        if word.startswith("--tracking-uri="):
            return word.partition("=")[2]
    return None
