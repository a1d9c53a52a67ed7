"""Answers completion scripts: `mlctl __complete KIND PREFIX [WORDS…]` prints a value and its help per line.

A user waits for this after each TAB, so it imports neither Typer nor MLflow. It prints nothing if anything fails,
because an error message would end up in the middle of the user's command line.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mlctl.adapters.tracking import completion_lookup
from mlctl.domain.objective import lower_is_better
from mlctl.settings import Settings, load

Candidate = tuple[str, str]  # a value, and a short description

STAGES = ("Production", "Staging", "Archived")
ATTRIBUTES = ("started", "duration", "status", "recipe", "run_name")  # of runs


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
    settings = load({"tracking_uri": _value_of("--tracking-uri", words)})
    if kind in LOCAL:
        yield from LOCAL[kind](settings, prefix, words)
        return
    with contextlib.closing(completion_lookup.open_completion_store(settings.tracking_uri)) as store:
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
        elif kind == "METRIC":
            yield from ((name, "metric") for name in store.metrics())
        elif kind == "OBJECTIVE":
            yield from ((_objective(name), "objective") for name in store.metrics() if not _is_result(name))
        elif kind == "FIELD":
            yield from _fields(store, prefix)


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


def _fields(store: completion_lookup.CompletionStore, prefix: str) -> Iterable[Candidate]:
    """Yield fields of runs for the last part of a list such as -val_f1,started."""
    before, comma, last = prefix.rpartition(",")
    start = before + comma + ("-" if last.startswith("-") else "")
    known = [*((name, "metric") for name in store.metrics()), *((name, "attribute") for name in ATTRIBUTES)]
    known += [(f"params.{name}", "parameter") for name in store.params()]
    yield from ((start + name, description) for name, description in known)


def _is_result(metric: str) -> bool:
    """Return whether a metric is one value of the kept model, and not one by epoch, which a training can optimize."""
    return metric.startswith(("best_", "test_"))


def _objective(metric: str) -> str:
    return f"{'min' if lower_is_better(metric) else 'max'}:{metric}"


def _settings_of_source(
    settings: Settings, prefix: str, words: Sequence[str], *, searched: bool
) -> Iterable[Candidate]:
    """Yield NAME=, and NAME=VALUE for a name that has a few values."""
    from mlctl.services.recipes.static_names import setting_names

    typed, equals, _ = prefix.partition("=")
    for found in setting_names(words[1:], searched=searched):
        if not equals:
            yield f"{found.name}=", found.description
        elif found.name == typed:
            yield from ((f"{typed}={choice}", found.description) for choice in found.choices)


def _endpoints(settings: Settings, prefix: str, words: Sequence[str]) -> Iterable[Candidate]:
    from mlctl.services.serving.endpoints import endpoint_states

    yield from ((name, "endpoint") for name in endpoint_states(settings).names())


def _servers(settings: Settings, prefix: str, words: Sequence[str]) -> Iterable[Candidate]:
    from mlctl.adapters.system.local_servers import server_files

    yield from ((name, "tracking server") for name in server_files(settings.state_dir).names())


def _owners(settings: Settings, prefix: str, words: Sequence[str]) -> Iterable[Candidate]:
    from mlctl.services.serving.keys import default_key_file, read_keys

    file = _value_of("--api-key-file", words)
    yield from (
        (key.name, f"key of {key.created}")
        for key in read_keys(Path(file) if file else default_key_file(settings))
    )


# kinds that need no tracking store
LOCAL: Mapping[str, Callable[[Settings, str, Sequence[str]], Iterable[Candidate]]] = {
    "SETTING": partial(_settings_of_source, searched=False),
    "SPACE": partial(_settings_of_source, searched=True),
    "ENDPOINT": _endpoints,
    "SERVER": _servers,
    "OWNER": _owners,
}


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """Return the value of an option, if it is among the words."""
    for previous, word in zip(["", *words], words, strict=False):
        if previous == option:
            return word
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None
