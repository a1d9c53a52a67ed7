"""Hyperband's schedule: brackets of rungs. Each rung continues the best third of the trials of the rung before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

REDUCTION_FACTOR = 3


@dataclass(frozen=True)
class Rung:
    """A number of trials, trained from `start_epoch`, where the rung before stopped, up to `epochs`."""

    trials: int
    epochs: int
    start_epoch: int = 0

    @property
    def total_epochs(self) -> int:
        """Number of epochs that all trials of this rung train together."""
        return self.trials * (self.epochs - self.start_epoch)


Bracket = tuple[Rung, ...]


def hyperband_brackets(max_epochs: int) -> tuple[Bracket, ...]:
    """Return all brackets for trials of at most `max_epochs` epochs, with the sizes that KerasTuner uses."""
    reductions = 0
    while REDUCTION_FACTOR ** (reductions + 1) <= max_epochs:
        reductions += 1
    last_bracket_trials = math.ceil(1 + math.log(max_epochs, REDUCTION_FACTOR))
    return tuple(_bracket(max_epochs, number, last_bracket_trials) for number in range(reductions, -1, -1))


def _bracket(max_epochs: int, reductions: int, last_bracket_trials: int) -> Bracket:
    rungs: list[Rung] = []
    for remaining in range(reductions, -1, -1):
        trials = math.ceil(last_bracket_trials / (reductions + 1) * REDUCTION_FACTOR**remaining)
        epochs = math.ceil(max_epochs / REDUCTION_FACTOR**remaining)
        rungs.append(Rung(trials, epochs, rungs[-1].epochs if rungs else 0))
    return tuple(rungs)


def count_trials(brackets: Sequence[Bracket]) -> int:
    """Return the number of trials in brackets; a trial counts once in each of its rungs."""
    return sum(rung.trials for bracket in brackets for rung in bracket)


def take_trials(brackets: Sequence[Bracket], trials: int) -> tuple[Bracket, ...]:
    """Return the part of the brackets that the first `trials` trials cover."""
    covered: list[Bracket] = []
    for bracket in brackets:
        rungs: list[Rung] = []
        for rung in bracket:
            count = min(rung.trials, trials)
            trials -= count
            if count:
                rungs.append(replace(rung, trials=count))
        if rungs:
            covered.append(tuple(rungs))
    return tuple(covered)
