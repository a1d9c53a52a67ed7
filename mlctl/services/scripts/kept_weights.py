"""Which of a model's weights a run keeps: those of the best epoch, unless the script has chosen others itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlctl.domain.progress import Epoch
from mlctl.domain.selection import describe_near_tie
from mlctl.services.scripts.fitted import FittedModel


@dataclass(frozen=True, kw_only=True)
class KeptWeights:
    """The weights that are logged.

    Attributes:
        values: The arrays; None: those that the model has.
        epoch: The epoch after which the model had them; None: the script has set them itself.
        why: What they are, in a few words.
        note: A line for the user; "": nothing unexpected.
    """

    values: list[Any] | None
    epoch: Epoch | None
    why: str
    note: str = ""


def choose_weights(fitted: FittedModel) -> KeptWeights:
    """Return the weights to log of a model, as it is after the script's last line."""
    from mlctl.adapters.scripts.fit_progress import fingerprint

    progress, model = fitted.progress, fitted.model
    if not progress.epochs:
        return KeptWeights(values=None, epoch=None, why="as the script left them")
    present = model.get_weights()
    now, best, last = fingerprint(present), progress.best, progress.epochs[-1]
    if best is not None and now in (
        progress.fingerprints.get(best.number),
        fingerprint(progress.best_weights),
    ):
        return KeptWeights(values=None, epoch=best, why=f"of epoch {best.number}, {_best(fitted)}")
    if progress.last_fingerprint is not None and now != progress.last_fingerprint:
        return _of_script(fitted, progress.epoch_of(now))
    if _is_averaged(model) and progress.last_fingerprint is not None:
        return KeptWeights(
            values=None,
            epoch=None,
            why="the averages of all epochs",
            note="the optimizer's averaged weights (use_ema) are logged, as the script's training ends with them",
        )
    if best is None or best is last or progress.keep_last or not progress.best_weights:
        return KeptWeights(values=None, epoch=last, why=f"of the last epoch, {last.number}")
    if [array.shape for array in progress.best_weights] != [array.shape for array in present]:
        note = "the model has other layers now than at its best epoch: the last epoch is logged"
        return KeptWeights(values=None, epoch=last, why=f"of the last epoch, {last.number}", note=note)
    return KeptWeights(
        values=progress.best_weights,
        epoch=best,
        why=f"of epoch {best.number}, {_best(fitted)}",
        note=describe_near_tie(progress.epochs, best, progress.objective),
    )


def _of_script(fitted: FittedModel, number: int | None) -> KeptWeights:
    """Return the weights that the script has set itself: it wants these."""
    if number is None:
        note = "the script has set other weights after its training: these are logged"
        return KeptWeights(values=None, epoch=None, why="set by the script", note=note)
    epoch = next(epoch for epoch in fitted.progress.epochs if epoch.number == number)
    best = fitted.progress.best
    note = f"the script has restored the weights of epoch {number} itself: these are logged"
    if best is not None and not fitted.progress.keep_last:
        note += f" (the best by {fitted.progress.objective} is epoch {best.number})"
    return KeptWeights(values=None, epoch=epoch, why=f"of epoch {number}, restored by the script", note=note)


def _best(fitted: FittedModel) -> str:
    return "the last one" if fitted.progress.keep_last else f"the best by {fitted.progress.objective}"


def _is_averaged(model: Any) -> bool:
    return bool(getattr(getattr(model, "optimizer", None), "use_ema", False))
