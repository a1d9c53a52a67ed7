"""See the searches of KerasTuner inside a script: every trial of every tuner class.

The methods of `BaseTuner`, from which all tuners inherit, are replaced as soon as the script has imported KerasTuner.
Its objects are known by their attributes alone; nothing is imported here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from mlctl.adapters.system.import_hooks import after_import

BASE_MODULE = "keras_tuner.src.engine.base_tuner"
COMPLETED = "COMPLETED"
DISTRIBUTED = (
    "KERASTUNER_ORACLE_IP"  # environment variable of a search on several machines, which is left alone
)


class TunerObserver(Protocol):
    """Is called in place of KerasTuner's methods, and calls them."""

    def make(self, tuner: Any, arguments: dict[str, Any], original: Callable[[dict[str, Any]], None]) -> None:
        """A tuner is made; the arguments are those of `BaseTuner`, by name."""

    def run_trial(self, tuner: Any, trial: Any, original: Callable[[], None]) -> None:
        """A trial is trained, unless the observer knows its result."""

    def best_models(self, tuner: Any, models: list[Any]) -> None:
        """The script gets the best models of a search."""


@contextlib.contextmanager
def observed_tuners(observer: TunerObserver) -> Iterator[None]:
    """Let every tuner's trials reach the observer while the block runs, as soon as KerasTuner is imported."""
    with contextlib.ExitStack() as stack, after_import("keras_tuner", lambda: _replace(observer, stack)):
        yield


def _replace(observer: TunerObserver, stack: contextlib.ExitStack) -> None:
    base = getattr(sys.modules.get(BASE_MODULE), "BaseTuner", None)
    if base is None or DISTRIBUTED in os.environ:
        return
    make, run, best = base.__init__, base._try_run_and_update_trial, base.get_best_models
    signature, process = inspect.signature(make), os.getpid()

    @functools.wraps(make)
    def replaced_make(tuner: Any, *positional: Any, **named: Any) -> None:
        if os.getpid() != process:
            make(tuner, *positional, **named)
            return
        arguments = dict(signature.bind(tuner, *positional, **named).arguments)
        del arguments["self"]
        arguments.update(arguments.pop("kwargs", {}))
        observer.make(tuner, arguments, lambda given: make(tuner, **given))

    @functools.wraps(run)
    def replaced_run(tuner: Any, trial: Any, *positional: Any, **named: Any) -> None:
        observer.run_trial(tuner, trial, lambda: run(tuner, trial, *positional, **named))

    @functools.wraps(best)
    def replaced_best(tuner: Any, *positional: Any, **named: Any) -> Any:
        models = best(tuner, *positional, **named)
        observer.best_models(tuner, models)
        return models

    for name, before, after in (
        ("__init__", make, replaced_make),
        ("_try_run_and_update_trial", run, replaced_run),
        ("get_best_models", best, replaced_best),
    ):
        stack.callback(setattr, base, name, before)
        setattr(base, name, after)


def project_folder(arguments: Mapping[str, Any]) -> Path:
    """Return the folder of a tuner that is made with these arguments."""
    return Path(arguments.get("directory") or ".") / (arguments.get("project_name") or "untitled_project")


def forget_progress(folder: Path) -> None:
    """Delete what KerasTuner would reload, and keep the weights of the trials."""
    for file in folder.glob("*.json"):
        file.unlink()


def is_of_tuner(callback: Any) -> bool:
    """Return whether a callback is one that KerasTuner adds."""
    return type(callback).__module__.startswith("keras_tuner.")


def set_seed(oracle: Any, seed: int) -> None:
    """Let an oracle draw what it draws with this seed from its beginning."""
    oracle.seed = oracle._seed_state = seed
    if hasattr(oracle, "gpr"):
        import numpy as np

        oracle._random_state = np.random.RandomState(seed)
        oracle.gpr = oracle._make_gpr()


@contextlib.contextmanager
def captured_results(oracle: Any) -> Iterator[dict[str, Any]]:
    """Yield a dictionary that gets the `metrics` and the `step` that are reported to the oracle in this block."""
    captured: dict[str, Any] = {}
    original = oracle.update_trial

    def update_trial(trial_id: str, metrics: Mapping[str, Any], step: int = 0) -> Any:
        captured.update(metrics={name: float(value) for name, value in metrics.items()}, step=int(step or 0))
        return original(trial_id, metrics, step=step)

    oracle.update_trial = update_trial
    try:
        yield captured
    finally:
        del oracle.update_trial


def state_of(trial: Any) -> dict[str, Any]:
    """Return a trial's values and status, as JSON has them."""
    return {
        "hyperparameters": trial.hyperparameters.get_config(),
        "status": trial.status,
        "message": trial.message,
    }


def restore(oracle: Any, trial: Any, state: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Give a trial the values, the status and the results that it has had before."""
    trial.hyperparameters = type(trial.hyperparameters).from_config(state["hyperparameters"])
    trial.status, trial.message = state["status"], state["message"]
    if results:
        oracle.update_trial(trial.trial_id, results["metrics"], step=results["step"])


def objective_of(oracle: Any) -> tuple[str, bool]:
    """Return the name of a search's objective, and whether it is maximized."""
    objective = oracle.objective
    return str(objective.name), getattr(objective, "direction", "min") == "max"
