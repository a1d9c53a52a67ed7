"""The epochs of a training as a table on a terminal, and the line of the running epoch below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.text import Text

from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.output.text import format_number
from mlctl.units import format_duration

GAP = "  "
VALUE_WIDTH = 8  # of a number with four digits, such as 1.234e-5
TIME_WIDTH = 8
BEST = "best"
STAR = "*"  # after the objective of an epoch that is the best so far
HIDDEN = frozenset({"learning_rate"})


@dataclass
class EpochTable:
    """Makes the lines of a table whose columns stay: the objective and the best so far are always among them.

    Other metrics follow as far as there is room: validation loss, other validation metrics, metrics of the training
    rows, and the training loss. The header is repeated if the metrics or the terminal's width change.
    """

    objective: Objective
    epochs: int
    _columns: tuple[str, ...] = ()

    def lines(
        self, epoch: int, metrics: Mapping[str, float], best: Epoch, seconds: float, width: int
    ) -> list[Text]:
        """Return the header if it is needed, and the row of an epoch."""
        columns = self._fitting(metrics, width)
        header = [] if columns == self._columns else [self._header(columns, width)]
        self._columns = columns
        row = Text(f"{f'{epoch}/{self.epochs}':>{self._epoch_width}}{GAP}{_duration(seconds):>{TIME_WIDTH}}")
        for name in columns:
            is_objective = name == self.objective.metric
            is_best = is_objective and best.number == epoch
            value = best.metrics.get(self.objective.metric) if name == BEST else metrics.get(name)
            text = format_number(value) + (STAR if is_best else " " if is_objective else "")
            style = "bold green" if is_best else "bold" if is_objective else ""
            row.append(GAP).append(f"{text:>{self._column_width(name, width)}}", style)
        return [*header, row]

    @property
    def _epoch_width(self) -> int:
        return max(len("epoch"), len(f"{self.epochs}/{self.epochs}"))

    @property
    def _first_width(self) -> int:
        return self._epoch_width + len(GAP) + TIME_WIDTH

    def _fitting(self, metrics: Mapping[str, float], width: int) -> tuple[str, ...]:
        """Return the columns that fit, in their order."""
        objective = self.objective.metric
        fixed = (objective, BEST) if objective in metrics else ()
        left = width - self._first_width - sum(len(GAP) + self._column_width(name, width) for name in fixed)
        others = [name for name in metrics if name != objective and name not in HIDDEN]
        fitting = []
        for name in sorted(others, key=_priority):
            left -= len(GAP) + self._column_width(name, width)
            if left < 0:
                break
            fitting.append(name)
        return (*fixed, *fitting)

    def _column_width(self, name: str, width: int) -> int:
        if name != self.objective.metric:
            return max(len(name), VALUE_WIDTH)
        room = width - self._first_width - 2 * len(GAP) - VALUE_WIDTH  # beside the best so far
        return max(VALUE_WIDTH, min(len(name), room - 1)) + 1  # with a star

    def _header(self, columns: tuple[str, ...], width: int) -> Text:
        line = Text(f"{'epoch':>{self._epoch_width}}{GAP}{'time':>{TIME_WIDTH}}", "dim")
        for name in columns:
            column = self._column_width(name, width)
            is_objective = name == self.objective.metric
            title = f"{_shortened(name, column - 1)} " if is_objective else name
            line.append(GAP).append(f"{title:>{column}}", "bold" if is_objective else "dim")
        return line


def running_epoch(
    epoch: str, *, batch: str = "", loss: float | None = None, best: float | None = None, width: int
) -> str:
    """Return what is shown of a running epoch; the loss is left out first if there is no room."""
    shown = [epoch, batch]
    if best is not None:
        shown.append(f"best {format_number(best)}")
    if loss is not None:
        with_loss = [epoch, batch, f"loss {format_number(loss)}", *shown[2:]]
        if len(_joined(with_loss)) <= width:
            shown = with_loss
    return _joined(shown)


def _joined(parts: list[str]) -> str:
    return GAP.join(filter(None, parts))


def _priority(name: str) -> tuple[int, bool]:
    """Return what sorts metrics: validation loss, validation metrics, training metrics, training losses."""
    if name.startswith("val_"):
        return (0 if name == "val_loss" else 1), False
    return (2, name == "loss")


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 100 else format_duration(seconds)


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else f"…{name[1 - width :]}"
