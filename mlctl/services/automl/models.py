"""The models that are tried, in their order, and what may be told to each family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlctl.errors import UsageError, did_you_mean
from mlctl.recipes import Recipe

LIGHTGBM, FOREST, HISTOGRAM, LINEAR, NETWORK = "lightgbm", "extratrees", "histgradient", "linear", "network"
FAMILIES = {
    LIGHTGBM: "gradient boosting by LightGBM, with several losses, then with parameters that are searched",
    FOREST: "scikit-learn's extremely randomized trees",
    HISTOGRAM: "scikit-learn's histogram gradient boosting",
    LINEAR: "ridge or logistic regression",
    NETWORK: "the Keras network of the recipe, by the code that mlctl train runs",
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    LIGHTGBM: {
        "learning_rate": 0.08, "num_leaves": 31, "min_data_in_leaf": 20, "feature_fraction": 0.5,
        "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "rounds": 4000, "patience": 80,
    },
    FOREST: {"n_estimators": 60, "min_samples_leaf": 2, "max_features": 0.4},
    HISTOGRAM: {"learning_rate": 0.1, "max_leaf_nodes": 31, "max_iter": 1000, "l2_regularization": 1.0},
    LINEAR: {"strength": 1.0},
    NETWORK: {},
}  # fmt: skip
L1, L2, LOG = "l1", "l2", "log"
FEWEST_PER_LEAF = 60  # a tree of 31 leaves needs so many rows a leaf's least count


@dataclass(frozen=True)
class Spec:
    """One model to fit; `loss` is l1, l2 or log (l1 of the target's logarithm), "" for classes."""

    name: str
    family: str
    loss: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """What the model's run records."""
        return {"family": self.family, **({"loss": self.loss} if self.loss else {}), **self.params}


def chosen(text: str | None) -> tuple[str, ...]:
    """Return the families that --families names; raises UsageError for one that is not there."""
    names = [one.strip() for one in (text or ",".join(FAMILIES)).split(",") if one.strip()]
    for name in names:
        if name not in FAMILIES:
            raise UsageError(
                f"there is no family {name!r}",
                did_you_mean(name, FAMILIES) or f"there are: {', '.join(FAMILIES)}",
            )
    return tuple(names)


def divided(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Divide --set into what is the recipe's, and what is a family's: lightgbm.num_leaves=63."""
    recipes: dict[str, Any] = {}
    families: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        family, dot, own = name.partition(".")
        if dot and family in FAMILIES:
            families.setdefault(family, {})[own] = _typed(family, own, value)
        else:
            recipes[name] = value
    return recipes, families


def line_up(
    recipe: Recipe, task: str, positive: bool, rows: int, wanted: Sequence[str], fixed: Mapping[str, Mapping[str, Any]],
    metric: str,
) -> list[Spec]:  # fmt: skip
    """Return the models to fit before anything is searched, what promises most first.

    `positive` says that all targets are above nothing, `rows` how many train, `fixed` what was set on families.
    """

    def spec(name: str, family: str, loss: str = "", **own: Any) -> Spec:
        return Spec(name, family, loss, {**DEFAULTS[family], **own, **fixed.get(family, {})})

    small: dict[str, Any] = {}
    if rows < 31 * FEWEST_PER_LEAF:
        small = {"learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": max(2, min(20, rows // 50))}
    networks = [
        spec(f"network-{number}", NETWORK, seed=number, **_wider(recipe, number)) for number in (1, 2, 3)
    ]
    if task == "regression":
        first, second = (L1, L2) if metric == "mae" else (L2, L1)
        logs = [LOG] if positive else []
        forest_loss = LOG if positive and metric == "mae" else L2
        found = [
            spec("linear", LINEAR, L2), spec("extratrees", FOREST, forest_loss), networks[0],
            spec(f"lightgbm-{first}", LIGHTGBM, first, **small),
            spec(f"lightgbm-{second}", LIGHTGBM, second, **small), networks[1],
            *(spec(f"lightgbm-{loss}", LIGHTGBM, loss, **small) for loss in logs),
            spec("histgradient", HISTOGRAM, L2), networks[2],
        ]  # fmt: skip
    else:
        found = [
            spec("linear", LINEAR), spec("lightgbm", LIGHTGBM, **small), spec("extratrees", FOREST), networks[0],
            spec("histgradient", HISTOGRAM),
            spec("lightgbm-shallow", LIGHTGBM, **{**small, "num_leaves": 5, "learning_rate": 0.1}), networks[1],
        ]  # fmt: skip
    if small:  # folds make a network five times as slow, and on few rows it seldom wins
        found.sort(key=lambda one: one.family == NETWORK)
    return [one for one in found if one.family in wanted]


def _wider(recipe: Recipe, number: int) -> dict[str, Any]:
    """Return what the second and third network have that the recipe's own has not: twice the width."""
    declared = recipe.declared()
    widths = [name for name in ("units", "units2") if name in declared]
    if number == 1 or not widths:
        return {}
    return {name: min(2 * declared[name].default, int(declared[name].high or 1e9)) for name in widths}


def _typed(family: str, name: str, text: Any) -> Any:
    known = DEFAULTS[family]
    if family in {NETWORK, LIGHTGBM} and name not in known:
        return _plain(text)  # a hyperparameter of the recipe, or one of LightGBM's hundred
    if name not in known:
        raise UsageError(
            f"{family} is not told {name!r}", did_you_mean(name, known) or f"it is told: {', '.join(known)}"
        )
    found = _plain(text)
    if isinstance(found, str):
        raise UsageError(f"{family}.{name}={text} is no number", f"its default is {known[name]}")
    return found


def _plain(text: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
