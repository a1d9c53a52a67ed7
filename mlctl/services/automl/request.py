"""What `mlctl automl` is asked to do, and the validated job that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mlctl.adapters.estimators.spec import NETWORK
from mlctl.adapters.system import extras
from mlctl.errors import UsageError
from mlctl.recipes import Recipe, ResolvedRecipe, Values
from mlctl.services.automl import candidates, metrics
from mlctl.services.models.names import check_name
from mlctl.services.recipes.prepare import check_values

EXTRA_PACKAGES = ("lightgbm", "optuna")
MIN_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class AutomlRequest:
    """Options of `mlctl automl`.

    `overrides` holds values of the recipe by name, and values of a model family as FAMILY.NAME. `metric` and
    `families` are None for the default.
    """

    source: str
    timeout_s: float = 60.0
    metric: str | None = None
    families: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    featurize: bool = True
    data: str | None = None
    rows: int | None = None
    seed: int = 0
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    register: str | None = None

    def to_journal(self) -> dict[str, Any]:
        """Return the request as the first line of the search journal stores it."""
        fields = asdict(self)
        return {"given" if name == "overrides" else name: value for name, value in fields.items()}

    @classmethod
    def from_journal(cls, entry: Mapping[str, Any]) -> AutomlRequest:
        """Return the request that `to_journal` stored, in this or an earlier version."""
        return cls(**{"overrides" if name == "given" else name: value for name, value in entry.items()})


@dataclass(frozen=True, kw_only=True)
class AutomlJob:
    """A validated request: the recipe with its values, the model families, and the parameters set per family."""

    request: AutomlRequest
    resolved: ResolvedRecipe
    values: Values
    families: tuple[str, ...]
    family_params: Mapping[str, Mapping[str, Any]]

    @property
    def recipe(self) -> Recipe:
        """The recipe whose table the models are fitted to."""
        return self.resolved.recipe


def validate(request: AutomlRequest, resolved: ResolvedRecipe) -> AutomlJob:
    """Check a request before any heavy library is imported.

    Raises UsageError, or ConfigurationError if the extra is not installed.
    """
    if request.register is not None:
        check_name(request.register)
    if request.metric is not None:
        metrics.check_metric(request.metric)
    if request.timeout_s < MIN_TIMEOUT_S:
        raise UsageError(
            f"--timeout {request.timeout_s:g}s is too short", f"set it to {MIN_TIMEOUT_S:g}s or more"
        )
    families = candidates.parse_families(request.families)
    recipe_overrides, family_params = candidates.split_overrides(request.overrides)
    values = check_values(resolved, recipe_overrides)
    for family in family_params:
        if family not in families:
            raise UsageError(
                f"--set {family}.… sets a family that --families leaves out", f"add {family} to --families"
            )
    network_params = family_params.get(NETWORK, {})
    resolved.recipe.values({name: value for name, value in network_params.items() if name != "seed"})
    for package in EXTRA_PACKAGES:
        extras.require_extra(package, "automl", "mlctl automl")
    return AutomlJob(
        request=request, resolved=resolved, values=values, families=families, family_params=family_params
    )
