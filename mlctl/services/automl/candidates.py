"""The models that automl tries, in order, and the parameters that can be set on each family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlctl.adapters.estimators.spec import (
    FOREST,
    HISTOGRAM,
    L1,
    L2,
    LIGHTGBM,
    LINEAR,
    LOG,
    NETWORK,
    ModelSpec,
)
from mlctl.errors import UsageError, did_you_mean
from mlctl.recipes import Recipe

FAMILIES = {
    LIGHTGBM: "gradient boosting by LightGBM: several losses first, then a search of its parameters",
    FOREST: "extremely randomized trees by scikit-learn",
    HISTOGRAM: "histogram gradient boosting by scikit-learn",
    LINEAR: "ridge or logistic regression",
    NETWORK: "the recipe's Keras network, trained as mlctl train does",
}
DEFAULT_PARAMS: Mapping[str, Mapping[str, Any]] = {
    LIGHTGBM: {
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "rounds": 4000,
        "patience": 60,
    },
    FOREST: {"n_estimators": 60, "min_samples_leaf": 2, "max_features": 0.4},
    HISTOGRAM: {"learning_rate": 0.1, "max_leaf_nodes": 31, "max_iter": 1000, "l2_regularization": 1.0},
    LINEAR: {"strength": 1.0, "bent": 0},
    NETWORK: {},
}
SMALL_TABLE_ROWS = 31 * 60  # training rows; with fewer, trees of 31 leaves have too few rows in a leaf


def parse_families(text: str | None) -> tuple[str, ...]:
    """Return the families of --families (None: all); raise UsageError for an unknown one."""
    names = [name.strip() for name in (text or ",".join(FAMILIES)).split(",") if name.strip()]
    for name in names:
        if name not in FAMILIES:
            raise UsageError(
                f"there is no family {name!r}",
                did_you_mean(name, FAMILIES) or f"families: {', '.join(FAMILIES)}",
            )
    return tuple(names)


def split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Split the values of --set into those of the recipe and those of families (lightgbm.num_leaves=63)."""
    recipe_overrides: dict[str, Any] = {}
    family_params: dict[str, dict[str, Any]] = {}
    for name, value in overrides.items():
        family, dot, param = name.partition(".")
        if dot and family in FAMILIES:
            family_params.setdefault(family, {})[param] = _parse_param(family, param, value)
        else:
            recipe_overrides[name] = value
    return recipe_overrides, family_params


def candidate_models(
    recipe: Recipe,
    *,
    task: str,
    metric: str,
    positive: bool,
    rows: int,
    has_large_targets: bool = False,
    families: Sequence[str],
    family_params: Mapping[str, Mapping[str, Any]],
    texts: bool = False,
) -> list[ModelSpec]:
    """Return the models to fit before any search, the most promising first.

    Args:
        recipe: builds the networks.
        task: "regression", or another task for classes.
        metric: name without `val_`.
        positive: whether all targets are greater than 0.
        rows: number of training rows.
        has_large_targets: whether a few targets are far larger than the others. Then trees that see all rows, and so
            these, too, come before the network.
        families: names of the families to try.
        family_params: parameters set by the user, by family.
        texts: whether the rows are texts, for which trees are too slow, and no better.
    """

    def spec(name: str, family: str, loss: str = "", **params: Any) -> ModelSpec:
        merged = {**DEFAULT_PARAMS[family], **params, **family_params.get(family, {})}
        return ModelSpec(name=name, family=family, loss=loss, params=merged)

    small: dict[str, Any] = {}
    if rows < SMALL_TABLE_ROWS:
        small = {"num_leaves": 8, "min_data_in_leaf": max(2, min(20, rows // 50))}
    elif task == "regression":  # with a lower rate, many rows take thousands of trees
        small = {"learning_rate": 0.1}
    networks = [
        spec(f"network-{number}", NETWORK, seed=number, **_network_widths(recipe, number))
        for number in (1, 2, 3)
    ]
    if texts:
        strengths = {"linear": 0.2, "linear-weak": 0.02, "linear-strong": 1.0}
        specs = [spec(name, LINEAR, strength=strength) for name, strength in strengths.items()]
        specs[1:1] = networks[:1]
        return [spec for spec in specs if spec.family in families]
    shallow = {**small, "num_leaves": 4, "learning_rate": 0.1}
    deep = {**small, "num_leaves": 4 * small.get("num_leaves", 31), "feature_fraction": 0.5}
    if task == "regression":
        all_rows = [spec("histgradient", HISTOGRAM, L2)]
        first, second = (L1, L2) if metric == "mae" else (L2, L1)
        forest_loss = LOG if positive and metric == "mae" else L2
        specs = [
            spec("linear", LINEAR, L2),
            spec(f"lightgbm-{first}", LIGHTGBM, first, **small),
            *([spec("linear-log", LINEAR, LOG, strength=3.0)] if positive else []),
            *(all_rows if has_large_targets else []),
            networks[0],
            spec("extratrees", FOREST, forest_loss),
            *([spec(f"lightgbm-{LOG}", LIGHTGBM, LOG, **small)] if positive else []),
            spec("linear-bent", LINEAR, L2, strength=3.0, bent=1),
            spec(f"lightgbm-{second}", LIGHTGBM, second, **small),
            spec("lightgbm-deep", LIGHTGBM, first, **deep),
            spec("linear-strong", LINEAR, L2, strength=100.0),
            spec("lightgbm-shallow", LIGHTGBM, first, **shallow),
            networks[1],
            *([] if "members" in recipe.declared() else networks[2:]),
            *([] if has_large_targets else all_rows),
        ]
    else:
        specs = [
            spec("linear", LINEAR),
            spec("lightgbm", LIGHTGBM, **small),
            spec("linear-bent", LINEAR, strength=3.0, bent=1),
            networks[0],
            spec("extratrees", FOREST),
            spec("linear-strong", LINEAR, strength=30.0),
            spec("lightgbm-shallow", LIGHTGBM, **shallow),
            spec("lightgbm-deep", LIGHTGBM, **deep),
            networks[1],
            spec("histgradient", HISTOGRAM),
        ]
    return [spec for spec in specs if spec.family in families]


def _network_widths(recipe: Recipe, number: int) -> dict[str, Any]:
    """Return other layer widths than the recipe's for the second and third network, nothing for the first.

    They are twice as wide, or half as wide in a network of members, which takes long already.
    """
    declared = recipe.declared()
    widths = [name for name in ("units", "units2") if name in declared]
    if number == 1 or not widths:
        return {}
    if "members" in declared:
        return {name: max(declared[name].default // 2, int(declared[name].low or 1)) for name in widths}
    return {name: min(2 * declared[name].default, int(declared[name].high or 1e9)) for name in widths}


def _parse_param(family: str, name: str, text: Any) -> Any:
    defaults = DEFAULT_PARAMS[family]
    value = _parse_number(text)
    if family in {NETWORK, LIGHTGBM} and name not in defaults:
        return value  # a hyperparameter of the recipe, or one of LightGBM's hundred
    if name not in defaults:
        raise UsageError(
            f"{family} has no parameter {name!r}",
            did_you_mean(name, defaults) or f"its parameters: {', '.join(defaults)}",
        )
    if isinstance(value, str):
        raise UsageError(f"{family}.{name}={text} is not a number", f"its default is {defaults[name]}")
    return value


def _parse_number(text: Any) -> Any:
    for number_type in (int, float):
        try:
            return number_type(text)
        except ValueError:
            continue
    return text
