"""KerasTuner's search algorithms in one process, without files, so that a search can be replayed.

What an oracle draws depends only on the seed and on the number of trials. A search that is rebuilt from its
journal therefore continues as if it had not been interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine.trial import TrialStatus

from mlctl.domain.hyperband import REDUCTION_FACTOR, count_trials, hyperband_brackets
from mlctl.domain.objective import Objective
from mlctl.domain.search_space import active_values, combinations, count_combinations
from mlctl.domain.tune import Dimension
from mlctl.errors import BadDataError

IDLE, EXHAUSTED = "idle", "exhausted"
DRAWS_PER_COMBINATION = 20  # of a finite space, before it counts as exhausted
MAX_COLLISIONS = 100_000


class _Replayable:
    """Mixin for an oracle: draws depend on the seed and the number of trials alone, and nothing is written."""

    dimensions: Sequence[Dimension] = ()  # of a space in which some do not count for some values of others

    def populate_space(self: Any, trial_id: str) -> Any:
        response = self._populate(trial_id)
        if self.dimensions and response.get("values"):
            response["values"] = self._with_defaults(response["values"])
        return response

    def _random_values(self: Any) -> Any:
        values = super()._random_values()  # type: ignore[misc]
        return self._with_defaults(values) if self.dimensions and values else values

    def _with_defaults(self: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Return values with the default of each dimension that does not count."""
        active = active_values(self.dimensions, self.decode(values))
        defaults = {space.name: space.default for space in self.hyperparameters.space}
        return {
            name: value if name in active or name not in defaults else defaults[name]
            for name, value in values.items()
        }

    def _compute_values_hash(self: Any, values: Any) -> Any:
        """Return the same hash for values that differ only where they do not count."""
        return super()._compute_values_hash(self._with_defaults(values) if self.dimensions else values)  # type: ignore[misc]

    def _populate(self: Any, trial_id: str) -> Any:
        digest = hashlib.sha256(f"{self.seed}/{len(self.trials)}".encode()).digest()
        self._seed_state = int.from_bytes(digest[:4], "big") % (1 << 30)
        if hasattr(self, "gpr"):
            self._random_state = np.random.RandomState(self._seed_state)
            self.gpr = self._make_gpr()
        return super().populate_space(trial_id)  # type: ignore[misc]

    def save(self) -> None:
        """Write nothing: the journal has everything."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing."""


class _Random(_Replayable, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc] # KerasTuner has no types
    pass


class _Grid(_Replayable, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc] # as above
    def populate_space(self, trial_id: str) -> Any:
        if self.dimensions:
            values = next(itertools.islice(combinations(self.dimensions), len(self.trials), None), None)
            status = TrialStatus.STOPPED if values is None else TrialStatus.RUNNING
            return {"status": status, "values": values and self.encode(values)}
        response = super().populate_space(trial_id)
        if response["values"] is not None:
            # KerasTuner waits for the end of a trial before it continues, because a trial may declare more
            # hyperparameters. Here all of them are known, so that a grid can run in parallel
            self._populate_next.append(trial_id)
        return response


class _Bayesian(_Replayable, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc] # as above
    trials: dict[str, Any]

    def populate_space(self, trial_id: str) -> Any:
        with warnings.catch_warnings():
            # scikit-learn warns about every bound that a kernel's fit reaches
            warnings.simplefilter("ignore")
            response = super().populate_space(trial_id)
        if response["values"] is not None and self._duplicate(response["values"]):
            return self._random_populate_space()  # in a small space; the same point again is no information
        return response

    def _vectorize_trials(self) -> Any:
        # running trials get the score that the Gaussian process expects. The process must be fitted to the
        # finished trials first: a resumed search does not have the one of the request before
        all_trials = self.trials
        self.trials = {key: trial for key, trial in all_trials.items() if trial.status == "COMPLETED"}
        try:
            self.gpr.fit(*super()._vectorize_trials())
        finally:
            self.trials = all_trials
        return super()._vectorize_trials()


class _Hyperband(_Replayable, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc] # as above
    pass


class Oracle:
    """One search's algorithm: `ask` returns the values of the next trial, `tell` reports how a trial ended."""

    def __init__(
        self,
        algorithm: str,
        dimensions: Sequence[Dimension],
        objective: Objective,
        *,
        trials: int,
        seed: int,
        epochs: int,
    ) -> None:
        """`epochs` is the largest number of epochs of a trial; only hyperband uses it."""
        self.objective = objective
        self.dimensions = tuple(dimensions)
        self._numbered = {dimension.name: dimension for dimension in dimensions if _is_numbered(dimension)}
        options = {
            "objective": keras_tuner.Objective(objective.metric, "max" if objective.maximize else "min"),
            "seed": seed + 1,  # an oracle takes 0 for no seed
            "hyperparameters": _hyperparameters(dimensions, self._numbered),
            "allow_new_entries": False,
            "tune_new_entries": False,
            "max_consecutive_failed_trials": 1 << 30,  # the search counts failures itself
        }
        self._oracle: Any
        self._hyperband_trials = count_trials(hyperband_brackets(epochs)) if algorithm == "hyperband" else 0
        if self._hyperband_trials:
            self._oracle = _Hyperband(max_epochs=epochs, factor=REDUCTION_FACTOR, **options)
        else:
            classes = {"random": _Random, "grid": _Grid, "bayesian": _Bayesian}
            self._oracle = classes[algorithm](max_trials=trials, **options)
        if any(dimension.condition for dimension in dimensions):
            self._oracle.dimensions = self.dimensions
            self._oracle.encode, self._oracle.decode = self._encode, self._decode
        self._size = count_combinations(dimensions)
        draws = math.prod(dimension.size for dimension in dimensions) * DRAWS_PER_COMBINATION
        if math.isfinite(draws):
            self._oracle._max_collisions = min(MAX_COLLISIONS, int(draws))
        self._oracle.verbose = 0
        self._oracle._set_project_dir(tempfile.gettempdir(), "mlctl-unused")
        self._max_trials = trials

    def ask(self) -> tuple[str, dict[str, Any]] | str:
        """Return the next trial's name and values; IDLE if a trial must end first, EXHAUSTED if none is left."""
        number = len(self._oracle.trials)
        if number >= self._max_trials:
            return EXHAUSTED
        trial = self._oracle.create_trial(f"{number}")
        if trial.status == TrialStatus.RUNNING:
            values = self._decode(_to_python(trial.hyperparameters.values))
            return f"{number + 1:04d}", active_values(self.dimensions, values)
        return IDLE if trial.status == TrialStatus.IDLE else EXHAUSTED

    def replay(self, trial: str, values: Mapping[str, Any]) -> None:
        """Ask for a trial of the journal again; raise BadDataError if the answer differs from the journal."""
        answer = self.ask()
        if isinstance(answer, str) or (answer[0], _as_json(answer[1])) != (trial, _as_json(values)):
            text = answer if isinstance(answer, str) else f"trial {answer[0]} {json.dumps(answer[1])}"
            raise BadDataError(
                f"trial {trial} {json.dumps(dict(values))} of the journal cannot be replayed: now it is {text}",
                "resume with the versions of mlctl and keras-tuner that started the search",
            )

    def _decode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values with the dimension's own values in place of their numbers."""
        return {
            name: _value_of_number(self._numbered[name], value) if name in self._numbered else value
            for name, value in values.items()
        }

    def _encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers of values, and the default of each dimension that has no value."""
        complete = {
            dimension.name: values.get(dimension.name, dimension.default) for dimension in self.dimensions
        }
        return {
            name: _number_of_value(self._numbered[name], value) if name in self._numbered else value
            for name, value in complete.items()
        }

    def tell(self, trial: str, score: float | None) -> None:
        """Report a trial's score; None if it failed."""
        state = self._oracle.trials[list(self._oracle.trials)[int(trial) - 1]]
        if score is None or not math.isfinite(score):
            state.status = TrialStatus.FAILED
        else:
            self._oracle.update_trial(state.trial_id, {self.objective.metric: score})
            state.status = TrialStatus.COMPLETED
        self._oracle.end_trial(state)

    def describe_end(self, done: int, exhausted: bool) -> str:
        """Return how many trials were done out of all that are possible.

        `exhausted` means that the oracle had no further trial.
        """
        is_finite = math.isfinite(self._size)
        if self._hyperband_trials and (done >= self._hyperband_trials or (exhausted and not is_finite)):
            return f"{done} trials, all brackets"
        if exhausted and is_finite:
            if self._hyperband_trials:
                return f"{done} trials, no new combination left"
            return f"{done} of {self._size:.0f} combinations"
        return f"{done} trials"

    def trial_name(self, oracle_id: str) -> str:
        """Return our name of the trial that the oracle knows by this id."""
        return f"{list(self._oracle.trials).index(oracle_id) + 1:04d}"


def _hyperparameters(
    dimensions: Sequence[Dimension], numbered: Mapping[str, Dimension]
) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for dimension in dimensions:
        if dimension.choices:
            # numbers have an order, which a Gaussian process can use
            ordered = all(type(choice) in {int, float} for choice in dimension.choices)
            choices, default = list(dimension.choices), dimension.default
            if dimension.name in numbered:
                ordered, choices = False, list(range(len(choices)))
                default = _number_of_value(dimension, default)
            space.Choice(dimension.name, choices, ordered=ordered, default=default)
            continue
        low, high, default = dimension.low, dimension.high, dimension.default
        sampling = "log" if dimension.log else "linear"
        if dimension.name in numbered:
            default = _number_of_value(dimension, default)
            space.Int(dimension.name, 0, int(dimension.size) - 1, default=default)
        elif dimension.integer:
            step = None if dimension.log else int(dimension.step or 1)
            space.Int(dimension.name, int(low), int(high), step, sampling, default=int(default))
        else:
            space.Float(dimension.name, low, high, None, sampling, default=float(default))
    return space


def _is_numbered(dimension: Dimension) -> bool:
    """Return whether KerasTuner gets the numbers of a dimension's values in place of the values.

    KerasTuner's own steps of floats miss the end of a range such as 0..0.6, and its choices have one type.
    """
    if dimension.choices:
        types = {type(choice) for choice in dimension.choices}
        return len(types) > 1 or not types <= {int, float, str, bool}
    return dimension.step is not None and not (dimension.log or dimension.integer)


def _value_of_number(dimension: Dimension, number: int) -> Any:
    return dimension.choices[number] if dimension.choices else dimension.value_at_step(number)


def _number_of_value(dimension: Dimension, value: Any) -> int:
    if dimension.choices:
        return next(
            number
            for number, choice in enumerate(dimension.choices)
            if choice == value and (type(choice) is bool) == (type(value) is bool)
        )
    return round((float(value) - dimension.low) / float(dimension.step or 1))


def _as_json(values: Mapping[str, Any]) -> Any:
    """Return values as the journal has them: with lists in place of tuples."""
    return json.loads(json.dumps(dict(values)))


def _to_python(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with NumPy's numbers converted to Python's, as JSON has them."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
