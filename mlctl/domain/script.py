"""A user's own training script: what to start, with which arguments, and what the arguments say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_FLAG = re.compile(r"--?(?P<name>[A-Za-z_][\w.-]*)(?:=(?P<value>.*))?", re.DOTALL)
BEST, LAST = "best", "last"  # which epoch's weights a run keeps


@dataclass(frozen=True, kw_only=True)
class ScriptRequest:
    """Options of `mlctl train` for a script.

    Attributes:
        script: Path of the file, as typed; "" with `module`.
        module: Dotted name of a module that is run as `python -m` runs it; "" with `script`.
        arguments: The script's own arguments, as typed.
        folder: The working directory.
        epochs, batch_size, seed: Replace what the script passes to `fit` and `set_random_seed`; None: nothing is changed.
        patience: Ends each `fit` after this many epochs without improvement.
        objective: METRIC, min:METRIC or max:METRIC, which selects the best epoch; None: the loss of the validation.
        keep: BEST or LAST: the epoch whose weights are logged.
        model: Name of the Keras model to log, if the script trains several; None: the one that was trained last.
        checkpoint_every_s: How often the store gets a copy of the checkpoint.
        backend: The Keras backend that KERAS_BACKEND names; "": none.
    """

    script: str = ""
    module: str = ""
    arguments: tuple[str, ...] = ()
    folder: str = ""
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int | None = None
    objective: str | None = None
    keep: str = BEST
    model: str | None = None
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    register: str | None = None
    parent: str | None = None
    offline: bool = False
    checkpoint_every_s: float = 60.0
    backend: str = ""

    @property
    def source(self) -> str:
        """What the user typed: the path of the file, or the name of the module."""
        return self.script or self.module

    @property
    def name(self) -> str:
        """A short name: the file's without its ending, or the module's last part."""
        return Path(self.script).stem if self.script else self.module.rpartition(".")[2]

    @property
    def command(self) -> tuple[str, ...]:
        """How Python itself would start it, without its arguments."""
        return ("python", self.script) if self.script else ("python", "-m", self.module)

    def to_tag(self) -> dict[str, Any]:
        """Return the request as the run's tag stores it."""
        return asdict(self)

    @classmethod
    def from_tag(cls, entry: Mapping[str, Any]) -> ScriptRequest:
        """Return the request that `to_tag` stored, in this or an earlier version."""
        return cls(**{**entry, "arguments": tuple(entry["arguments"])})


def parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """Return arguments by name, whatever library the script reads them with.

    `--lr 0.1`, `--lr=0.1` and `-n 3` are values, a flag without a value is "true", a flag that comes again has all of its
    values, joined by commas. Words that belong to no flag are `argument_1`, `argument_2`, ….
    """
    found: dict[str, list[str]] = {}
    words = list(arguments)
    positional = 0
    while words:
        word = words.pop(0)
        match = None if _is_number(word) else _FLAG.fullmatch(word)
        if match is None:
            if word != "--":
                positional += 1
                found[f"argument_{positional}"] = [word]
            continue
        values = found.setdefault(match["name"], [])
        if match["value"] is not None:
            values.append(match["value"])
        elif words and (not words[0].startswith("-") or _is_number(words[0])):
            values.append(words.pop(0))
            while (
                _is_number(values[-1]) and words and _is_number(words[0])
            ):  # several, as of argparse's nargs="+"
                values.append(words.pop(0))
        else:
            values.append("true")
    return {name: ",".join(values) for name, values in found.items()}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
