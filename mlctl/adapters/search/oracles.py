"""KerasTuner's oracles, asked and told by one process: no files, and the same answers after a replay.

What an oracle draws depends on the seed and on how many trials there are, and on nothing else that it has
done before; so a search that is rebuilt from its journal goes on as if it had never been interrupted.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine import trial as trials

from mlctl.domain.hyperband import FACTOR, brackets, trials_of
from mlctl.domain.objective import Objective
from mlctl.domain.tune import Dimension
from mlctl.errors import BadDataError

IDLE, EXHAUSTED = "idle", "exhausted"
MOST_COLLISIONS = 20  # draws for each combination of a finite space before it counts as exhausted


class _Replayable:
    """Mixed into an oracle: its draws depend on seed and number of trials alone, and it writes no files."""

    def populate_space(self: Any, trial_id: str) -> Any:
        drawn = hashlib.sha256(f"{self.seed}/{len(self.trials)}".encode()).digest()
        self._seed_state = int.from_bytes(drawn[:4], "big") % (1 << 30)
        if hasattr(self, "gpr"):
            self._random_state = np.random.RandomState(self._seed_state)
            self.gpr = self._make_gpr()
        return super().populate_space(trial_id)  # type: ignore[misc]

    def save(self) -> None:
        """Write nothing: the journal is the truth."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing."""


class _Random(_Replayable, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc] # KerasTuner ships no types
    pass


class _Grid(_Replayable, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc] # the same
    def populate_space(self, trial_id: str) -> Any:
        response = super().populate_space(trial_id)
        if response["values"] is not None:
            # KerasTuner waits for a trial's end before it asks for the next combination, since a trial might
            # declare more hyperparameters; here all are known, so that a grid can run in parallel
            self._populate_next.append(trial_id)
        return response


class _Bayesian(_Replayable, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc] # the same
    trials: dict[str, Any]

    def populate_space(self, trial_id: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn tells of every bound that a kernel's fit touches
            response = super().populate_space(trial_id)
        if response["values"] is not None and self._duplicate(response["values"]):
            return self._random_populate_space()  # small spaces: the same point again teaches nothing
        return response

    def _vectorize_trials(self) -> Any:
        # trials that still run are given the score that the process expects of them: it must be a process that
        # has seen the finished ones, and not one left from the ask before, which a resumed search has not
        everything = self.trials
        self.trials = {key: one for key, one in everything.items() if one.status == "COMPLETED"}
        try:
            self.gpr.fit(*super()._vectorize_trials())
        finally:
            self.trials = everything
        return super()._vectorize_trials()


class _Hyperband(_Replayable, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc] # the same
    pass


class Oracle:
    """One search's oracle: `ask` for the values of the next trial, `tell` how a trial ended."""

    def __init__(
        self, algorithm: str, dimensions: Sequence[Dimension], objective: Objective, trials: int, seed: int,
        epochs: int,
    ) -> None:  # fmt: skip
        """`epochs` is the most that hyperband trains a trial."""
        wanted = {
            "objective": keras_tuner.Objective(objective.metric, "max" if objective.maximize else "min"),
            "seed": seed + 1,  # an oracle takes 0 for no seed
            "hyperparameters": _hyperparameters(dimensions),
            "allow_new_entries": False,
            "tune_new_entries": False,
            "max_consecutive_failed_trials": 1 << 30,  # the search counts them itself
        }
        self.objective = objective
        self._stepped = {one.name: one for one in dimensions if _by_number(one)}
        self._oracle: Any
        self._sweep = trials_of(brackets(epochs)) if algorithm == "hyperband" else 0
        if self._sweep:
            self._oracle = _Hyperband(max_epochs=epochs, factor=FACTOR, **wanted)
        else:
            kinds = {"random": _Random, "grid": _Grid, "bayesian": _Bayesian}
            self._oracle = kinds[algorithm](max_trials=trials, **wanted)
        self._size = math.prod(one.size for one in dimensions)
        if math.isfinite(self._size):
            self._oracle._max_collisions = min(100_000, int(self._size * MOST_COLLISIONS))
        self._oracle.verbose = 0
        self._oracle._set_project_dir(tempfile.gettempdir(), "mlctl-unused")
        self._limit = trials

    def ask(self) -> tuple[str, dict[str, Any]] | str:
        """Return the next trial's id and values; IDLE where one must end first, EXHAUSTED where none is left."""
        if len(self._oracle.trials) >= self._limit:
            return EXHAUSTED
        number = len(self._oracle.trials)
        asked = self._oracle.create_trial(f"{number}")
        if asked.status == trials.TrialStatus.RUNNING:
            values = _plain(asked.hyperparameters.values)
            values |= {name: one.stepped(values[name]) for name, one in self._stepped.items()}
            return f"{number + 1:04d}", values
        return IDLE if asked.status == trials.TrialStatus.IDLE else EXHAUSTED

    def replay(self, trial: str, values: Mapping[str, Any]) -> None:
        """Ask again for what the journal says was asked; raises BadDataError where the answer is another."""
        asked = self.ask()
        if asked != (trial, dict(values)):
            said = asked if isinstance(asked, str) else f"trial {asked[0]} {json.dumps(asked[1])}"
            raise BadDataError(
                f"the journal's trial {trial} {json.dumps(dict(values))} cannot be asked again: now {said}",
                "resume with the versions of mlctl and keras-tuner that began the search",
            )

    def tell(self, trial: str, score: float | None) -> None:
        """Tell a trial's score; None for one that failed."""
        asked = self._oracle.trials[self._own_id(trial)]
        if score is None or not math.isfinite(score):
            asked.status = trials.TrialStatus.FAILED
        else:
            self._oracle.update_trial(asked.trial_id, {self.objective.metric: score})
            asked.status = trials.TrialStatus.COMPLETED
        self._oracle.end_trial(asked)

    def ended(self, done: int, exhausted: bool) -> str:
        """Say what so many trials are of all there could be; `exhausted`: there was nothing more to ask for."""
        finite = math.isfinite(self._size)
        if self._sweep and (done >= self._sweep or (exhausted and not finite)):
            return f"{done} trials, all brackets"
        if exhausted and finite:
            return (
                f"{done} trials, no fresh combination left"
                if self._sweep
                else f"{done} of {self._size:.0f} combinations"
            )
        return f"{done} trials"

    def name_of(self, own_id: str) -> str:
        """Return our name of the trial that hyperband goes on from."""
        return f"{list(self._oracle.trials).index(own_id) + 1:04d}"

    def _own_id(self, trial: str) -> str:
        return str(list(self._oracle.trials)[int(trial) - 1])


def _hyperparameters(dimensions: Sequence[Dimension]) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for one in dimensions:
        if one.choices:
            # an order is what numbers have, and what a Gaussian process can use
            numbers = all(type(choice) in {int, float} for choice in one.choices)
            space.Choice(one.name, list(one.choices), ordered=numbers, default=one.default)
            continue
        sampling = "log" if one.log else "linear"
        if _by_number(one):
            first = round((float(one.default) - one.low) / float(one.step or 1))
            space.Int(one.name, 0, int(one.size) - 1, default=first)
        elif one.integer:
            step = None if one.log else int(one.step or 1)
            space.Int(one.name, int(one.low), int(one.high), step, sampling, default=int(one.default))
        else:
            space.Float(one.name, one.low, one.high, None, sampling, default=float(one.default))
    return space


def _by_number(one: Dimension) -> bool:
    """Whether a dimension's values are told to KerasTuner by their numbers: its own steps lose the end of 0..0.6."""
    return one.step is not None and not (one.choices or one.log or one.integer)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them: NumPy's numbers as Python's."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
