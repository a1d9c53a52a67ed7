"""Fields of runs: how they are named on the command line, resolved and read.

`params.epochs` and `tags.owner` name their kind. A name without a prefix is an attribute of the run (status, started,
recipe …), else a metric, else a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import islice
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, RunField
from mlctl.errors import UsageError, did_you_mean

SAMPLE_SIZE = 20
MAX_LISTED = 20
PREFIXES = {
    "params": "param",
    "param": "param",
    "metrics": "metric",
    "metric": "metric",
    "tags": "tag",
    "tag": "tag",
}
# how to read each attribute of a run; times are seconds since 1970, so that they compare as numbers
ATTRIBUTES: Mapping[str, Callable[[Run], Any]] = {
    "run_name": lambda run: run.run_name,
    "run_id": lambda run: run.run_id,
    "experiment": lambda run: run.experiment,
    "recipe": lambda run: run.recipe,
    "status": lambda run: run.status,
    "started": lambda run: run.started_at.timestamp() if run.started_at else None,
    "duration": lambda run: run.duration_s,
    "data": lambda run: run.data.source if run.data else None,
    "parent": lambda run: run.parent_run_id,
}
ALIASES = {"run": "run_name", "name": "run_name", "id": "run_id", "duration_s": "duration"}
# how to read the values of each kind of field
VALUES: Mapping[str, Callable[[Run], Mapping[str, Any]]] = {
    "metric": lambda run: {**run.metrics, **run.system_metrics},
    "param": lambda run: run.params,
    "tag": lambda run: run.tags,
}


def read_field(run: Run, field: RunField) -> Any:
    """Return a run's value of a field, or None; metrics and times are floats, all else is text."""
    if field.kind == "attribute":
        return ATTRIBUTES[field.name](run)
    return VALUES[field.kind](run).get(field.name)


def as_number(value: Any) -> float | None:
    """Return a number, or the text of one, as a float; None for anything else."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def sort_value(run: Run, field: RunField) -> tuple[int, Any]:
    """Return the value to sort a run by: (0, number), (1, text), (2, 0) for NaN, or (3, 0) for no value."""
    value = read_field(run, field)
    if value is None or value == "":
        return (3, 0)
    number = as_number(value)
    if number is None:
        return (1, str(value).lower())
    return (2, 0) if math.isnan(number) else (0, number)


class FieldResolver:
    """Resolves names of fields: first in the newest runs, then by a search in the store."""

    def __init__(self, store: TrackingStore, experiment: str | None) -> None:
        self._store, self._experiment = store, experiment

    def resolve(self, name: str, context: str = "") -> RunField:
        """Return the field with this name.

        `context` is added to the error message, such as " (in --sort)". Raises UsageError, with a suggestion, if no
        run has the field.
        """
        prefix, dot, rest = name.partition(".")
        kind, rest = PREFIXES.get(prefix.lower()), rest.strip("`")
        if dot and kind and rest:
            candidates = [RunField(kind, rest)]
        else:
            bare = name.strip("`")
            attribute = ALIASES.get(bare.lower(), bare.lower())
            if attribute in ATTRIBUTES:
                return RunField("attribute", attribute)
            candidates = [RunField("metric", bare), RunField("param", bare)]
        for is_known in (self._in_sample, self._in_store):
            for field in candidates:
                if is_known(field):
                    return field
        raise self._unknown(name, context)

    def _in_sample(self, field: RunField) -> bool:
        return field.name in self._sampled_names(field.kind)

    def _in_store(self, field: RunField) -> bool:
        """Whether a run outside the sample has the field."""
        if len(self._sample) < SAMPLE_SIZE:
            return False
        condition = (
            Condition(field, "!=", 0.1234567) if field.kind == "metric" else Condition(field, "like", "%")
        )
        runs = self._store.search_runs([condition], experiment=self._experiment, expected=1)
        return any(read_field(run, field) is not None for run in islice(runs, 1))

    def _unknown(self, name: str, context: str) -> UsageError:
        metrics, params = self._sampled_names("metric"), self._sampled_names("param")
        own_tags = [tag for tag in self._sampled_names("tag") if not tag.startswith(("mlflow.", "mlctl."))]
        known = [
            *ATTRIBUTES,
            *sorted(metrics),
            *sorted(params - metrics),
            *(f"tags.{tag}" for tag in sorted(own_tags)),
        ]
        suggestion = did_you_mean(name, known)
        if not suggestion and "." in name:
            suggestion = did_you_mean(name.partition(".")[2], known)
        listed = ", ".join(known[:MAX_LISTED]) + (", …" if len(known) > MAX_LISTED else "")
        listed = (
            f"fields of these runs: {listed}"
            if self._sample
            else f"there are no runs yet; every run has {listed}"
        )
        return UsageError(f"no run has {name!r}{context}", suggestion or listed)

    @cached_property
    def _sample(self) -> list[Run]:
        runs = self._store.search_runs(experiment=self._experiment, expected=SAMPLE_SIZE)
        return list(islice(runs, SAMPLE_SIZE))

    def _sampled_names(self, kind: str) -> set[str]:
        names: Iterable[Mapping[str, Any]] = map(VALUES[kind], self._sample)
        return set().union(*names)
