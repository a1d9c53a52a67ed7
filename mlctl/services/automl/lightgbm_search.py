"""LightGBM's parameters, searched by Optuna's tree of Parzen estimators while there is time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from mlctl.domain.objective import Objective
from mlctl.services.automl.models import Spec

MOST = 30  # on a few hundred validation rows, more trials find luck
SPACE: Mapping[str, tuple[Any, Any, bool]] = {
    "learning_rate": (0.02, 0.2, True),
    "num_leaves": (7, 127, True),
    "min_data_in_leaf": (5, 100, True),
    "feature_fraction": (0.2, 0.9, False),
    "bagging_fraction": (0.5, 1.0, False),
    "lambda_l2": (1e-2, 30.0, True),
}


class Search:
    """Asks for the next parameters; what is fixed stays as it is."""

    def __init__(self, base: Spec, fixed: Mapping[str, Any], objective: Objective, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.base = base
        self.space = {name: bounds for name, bounds in SPACE.items() if name not in fixed}
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6)
        self.study = optuna.create_study(
            sampler=sampler, direction="maximize" if objective.maximize else "minimize"
        )
        self.asked = 0

    def ask(self) -> Spec | None:
        """Return the next model to fit; None when there is nothing more to look for."""
        if self.asked == MOST or not self.space:
            return None
        self.asked += 1
        trial = self.study.ask()
        found: dict[str, Any] = {}
        for name, (low, high, log) in self.space.items():
            if isinstance(low, int):
                found[name] = trial.suggest_int(name, low, high, log=log)
            else:
                found[name] = float(f"{trial.suggest_float(name, low, high, log=log):.4g}")
        self._trial = trial
        return Spec(
            f"lightgbm-{self.asked:02d}", self.base.family, self.base.loss, {**self.base.params, **found}
        )

    def tell(self, score: float | None) -> None:
        """Tell how the model that was asked for last has done; None: it failed."""
        state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
        self.study.tell(self._trial, score, state=state)
