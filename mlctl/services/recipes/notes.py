"""What is said before a training about a recipe's declarations that have no effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlctl.domain.progress import ProgressListener
from mlctl.recipes import Recipe, Values
from mlctl.recipes.declaration import declaration_notes
from mlctl.recipes.declare import recorded_values
from mlctl.recipes.local_modules import static_sources
from mlctl.recipes.reads import unread_names

TF_RANDOM = re.compile(r"\b(tf|tensorflow)\.random\.(?!Generator|set_seed|stateless)")
TF_RANDOM_NOTE = "resuming is not exact: the numbers that the recipe draws with tf.random start again; keras.random continues"


def announce_notes(
    recipe: Recipe, values: Values, overrides: Mapping[str, Any], listener: ProgressListener
) -> None:
    """Show one line for each declaration, and for each override, that has no effect."""
    for note in (
        *declaration_notes(type(recipe)),
        *_unread(recipe, values),
        *_inactive(recipe, values, overrides),
    ):
        listener.message(note)


def uses_tf_random(recipe: Recipe) -> bool:
    """Return whether a recipe's file, or a module beside it, mentions tf.random, whose state nobody can read."""
    return any(
        TF_RANDOM.search(file.read_text(encoding="utf-8", errors="replace"))
        for file in static_sources(recipe.source_file())
    )


def _unread(recipe: Recipe, values: Values) -> list[str]:
    unread, notes = unread_names(type(recipe)), []
    for name in sorted(unread):
        if name == "learning_rate":
            notes.append(
                "build() does not read learning_rate: it has no effect (use hp.rate in the optimizer)"
            )
        elif name == "schedule":
            if values["schedule"] != "constant":
                notes.append("build() does not read hp.rate: schedule has no effect")
        else:
            notes.append(f"the recipe does not read {name}: it has no effect (read it as hp.{name})")
    return notes


def _inactive(recipe: Recipe, values: Values, overrides: Mapping[str, Any]) -> list[str]:
    declared, recorded = recipe.declared(), recorded_values(values)
    return [
        f"{name}={overrides[name]} has no effect: it counts only if {declared[name].when}"
        for name in overrides
        if name in declared and declared[name].when and name not in recorded
    ]
