"""What a run has a value for: how a field is written, found and read.

`params.epochs` and `tags.owner` say where they belong; a bare name is a fact about the run (status, started,
recipe …), else a metric, else a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Condition, Field
from mlctl.errors import UsageError, did_you_mean

SAMPLE = 20
PREFIXES = {
    "params": "param",
    "param": "param",
    "metrics": "metric",
    "metric": "metric",
    "tags": "tag",
    "tag": "tag",
}

# each with how it is read from a run; times in seconds since 1970, so that they compare as numbers
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


def read(run: Run, field: Field) -> Any:
    """Return the run's value of a field: a float for a metric, text or None for the rest but times."""
    if field.kind == "metric":
        return run.metrics.get(field.name)
    if field.kind == "param":
        return run.params.get(field.name)
    if field.kind == "tag":
        return run.tags.get(field.name)
    return ATTRIBUTES[field.name](run)


def as_number(value: Any) -> float | None:
    """Return a parameter's text, or a number, as a number; None where it is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def sort_value(run: Run, field: Field) -> tuple[int, Any]:
    """Return what sorts a run by a field: (0, number), (1, text), and last (2, NaN) and (3, nothing)."""
    value = read(run, field)
    if value is None or value == "":
        return (3, 0)
    number = as_number(value)
    if number is None:
        return (1, str(value).lower())
    return (2, 0) if math.isnan(number) else (0, number)


class Names:
    """The names that a store's runs know, learned from the newest and, for others, by asking."""

    def __init__(self, store: TrackingStore, experiment: str | None) -> None:
        self._store, self._experiment = store, experiment
        self._sample: list[Run] | None = None

    def resolve(self, written: str, where: str = "") -> Field:
        """Return the field that `written` names.

        Raises UsageError, with what was likely meant, where no run has it; `where` tells the spot.
        """
        prefix, dot, rest = written.partition(".")
        name = rest.strip("`")
        if dot and prefix.lower() in PREFIXES and name:
            return self._known(Field(PREFIXES[prefix.lower()], name), written, where)
        bare = written.strip("`")
        attribute = ALIASES.get(bare.lower(), bare.lower())
        if attribute in ATTRIBUTES:
            return Field("attribute", attribute)
        sampled = [Field(kind, bare) for kind in ("metric", "param") if bare in self._seen(kind)]
        if sampled:
            return sampled[0]
        for kind in ("metric", "param"):
            if self._exists(Field(kind, bare)):
                return Field(kind, bare)
        raise self._unknown(written, where)

    def _known(self, field: Field, written: str, where: str) -> Field:
        if field.name in self._seen(field.kind) or self._exists(field):
            return field
        raise self._unknown(written, where)

    def _unknown(self, written: str, where: str) -> UsageError:
        known = [
            *ATTRIBUTES,
            *sorted(self._seen("metric")),
            *sorted(self._seen("param") - self._seen("metric")),
            *(
                f"tags.{name}"
                for name in sorted(self._seen("tag"))
                if not name.startswith(("mlflow.", "mlctl."))
            ),
        ]
        near = did_you_mean(written, known)
        if not near and "." in written:
            near = did_you_mean(written.partition(".")[2], known)
        listed = ", ".join(known[:40]) + (", …" if len(known) > 40 else "")
        return UsageError(f"no run has {written!r}{where}", near or f"runs here have: {listed}")

    def _runs(self) -> list[Run]:
        if self._sample is None:
            self._sample = take(self._store.search(experiment=self._experiment, expected=SAMPLE), SAMPLE)
        return self._sample

    def _seen(self, kind: str) -> set[str]:
        of: Mapping[str, Callable[[Run], Iterable[str]]] = {
            "metric": lambda run: run.metrics,
            "param": lambda run: run.params,
            "tag": lambda run: run.tags,
        }
        return {name for run in self._runs() for name in of[kind](run)}

    def _exists(self, field: Field) -> bool:
        """Ask the store for one run that has the field; runs beyond the sample may."""
        if len(self._runs()) < SAMPLE:
            return False
        condition = (
            Condition(field, "!=", 0.1234567) if field.kind == "metric" else Condition(field, "like", "%")
        )
        found = take(self._store.search([condition], experiment=self._experiment, expected=1), 1)
        return any(read(run, field) is not None for run in found)


def take(runs: Iterable[Run], count: int) -> list[Run]:
    """Return at most the first `count` runs without asking for one more."""
    found: list[Run] = []
    for run in runs:
        found.append(run)
        if len(found) == count:
            break
    return found
