"""Search of LightGBM's parameters by Optuna's tree-structured Parzen estimator (TPE)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import optuna

MAX_TRIALS = 30  # with a few hundred validation rows, more trials overfit them
RANDOM_TRIALS = 6
SPACE: Mapping[str, tuple[Any, Any, bool]] = {  # low, high, logarithmic
    "learning_rate": (0.02, 0.2, True),
    "num_leaves": (4, 127, True),
    "min_data_in_leaf": (5, 100, True),
    "feature_fraction": (0.2, 0.9, False),
    "bagging_fraction": (0.5, 1.0, False),
    "lambda_l2": (1e-2, 30.0, True),
}


class LightgbmSearch:
    """Proposes parameters by ask and tell: each `ask` is followed by one `tell`."""

    def __init__(self, *, fixed: Collection[str], maximize: bool, seed: int) -> None:
        """Search all parameters of SPACE but those named in `fixed`."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = {name: bounds for name, bounds in SPACE.items() if name not in fixed}
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
        self._study = optuna.create_study(sampler=sampler, direction="maximize" if maximize else "minimize")
        self.trials = 0

    def ask(self) -> dict[str, Any] | None:
        """Return the parameters to fit next; None if the search is exhausted."""
        if self.trials == MAX_TRIALS or not self._space:
            return None
        self.trials += 1
        self._trial = self._study.ask()
        params: dict[str, Any] = {}
        for name, (low, high, log) in self._space.items():
            if isinstance(low, int):
                params[name] = self._trial.suggest_int(name, low, high, log=log)
            else:
                params[name] = float(f"{self._trial.suggest_float(name, low, high, log=log):.4g}")
        return params

    def tell(self, score: float | None) -> None:
        """Report the score of the parameters that the last `ask` returned; None if the model failed."""
        state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
        self._study.tell(self._trial, score, state=state)
