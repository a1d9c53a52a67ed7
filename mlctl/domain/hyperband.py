"""What hyperband does: brackets of rungs, each of which goes on with the best third of the trials before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

FACTOR = 3


@dataclass(frozen=True)
class Rung:
    """So many trials, trained up to an epoch, `after` the epoch at which the rung before has left them."""

    trials: int
    epochs: int
    after: int = 0

    @property
    def trained(self) -> int:
        """How many epochs are trained in all."""
        return self.trials * (self.epochs - self.after)


Bracket = tuple[Rung, ...]


def brackets(epochs: int) -> tuple[Bracket, ...]:
    """Return all brackets of trials that have so many epochs at most, by the sizes that KerasTuner gives them."""
    halvings = 0
    while FACTOR ** (halvings + 1) <= epochs:
        halvings += 1
    last = math.ceil(1 + math.log(epochs, FACTOR))  # of a bracket that halves nothing
    return tuple(_bracket(epochs, number, last) for number in range(halvings, -1, -1))


def _bracket(epochs: int, halvings: int, last: int) -> Bracket:
    rungs: list[Rung] = []
    for left in range(halvings, -1, -1):
        trials = math.ceil(last / (halvings + 1) * FACTOR**left)
        rungs.append(Rung(trials, math.ceil(epochs / FACTOR**left), rungs[-1].epochs if rungs else 0))
    return tuple(rungs)


def trials_of(found: Sequence[Bracket]) -> int:
    """Return how many trials there are in brackets, each that goes on counted again."""
    return sum(rung.trials for bracket in found for rung in bracket)


def first_of(found: Sequence[Bracket], trials: int) -> tuple[Bracket, ...]:
    """Return what the first so many trials are of brackets."""
    kept: list[Bracket] = []
    for bracket in found:
        rungs: list[Rung] = []
        for rung in bracket:
            some = min(rung.trials, trials)
            trials -= some
            if some:
                rungs.append(replace(rung, trials=some))
        if rungs:
            kept.append(tuple(rungs))
    return tuple(kept)
