"""Run a user's script in the test's own process, as `mlctl train --offline` runs it."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.scripts.execution import find_program
from mlctl.domain.outputs import Output
from mlctl.domain.progress import NullProgress
from mlctl.domain.script import ScriptRequest
from mlctl.services.scripts.script_run import run_script
from mlctl.settings import load


@dataclass
class Lines(NullProgress):
    """Keeps the messages for the user."""

    messages: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        """Keep it."""
        self.messages.append(text)


@dataclass(frozen=True, kw_only=True)
class ScriptRun:
    """The record of a script's run.

    Attributes:
        journal: The record.
        messages: What the user was told.
        names: The script's global names.
        logged: The weights of the logged model; None: none was logged.
    """

    journal: Journal
    messages: list[str]
    names: Mapping[str, Any] = field(default_factory=dict)
    logged: list[Any] | None = None

    def _values(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for entry in self.journal.entries():
            if entry["kind"] == kind:
                if kind == "params":  # a parameter is written once
                    assert not found.keys() & entry["values"].keys()
                found.update(entry["values"])
        return found

    @property
    def params(self) -> dict[str, str]:
        """The run's parameters."""
        return self._values("params")

    @property
    def metrics(self) -> dict[str, float]:
        """The run's last metrics."""
        return self._values("metrics")

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return self._values("tags")

    @property
    def status(self) -> str:
        """How the run has ended."""
        return str([entry["status"] for entry in self.journal.entries() if entry["kind"] == "finish"][-1])

    @property
    def datasets(self) -> list[str]:
        """The names of the datasets that the run lists."""
        return [entry["name"] for entry in self.journal.entries() if entry["kind"] == "data"]

    def history(self, metric: str) -> dict[int, float]:
        """Return a metric's values by step; each step has one."""
        points: dict[int, float] = {}
        for entry in self.journal.entries():
            if entry["kind"] == "metrics" and metric in entry["values"]:
                assert entry["step"] not in points
                points[entry["step"]] = entry["values"][metric]
        return dict(sorted(points.items()))

    def artifacts(self) -> set[str]:
        """Return the paths of the logged artifacts."""
        return {entry["path"] for entry in self.journal.entries() if entry["kind"] == "artifact"}

    def text(self, path: str) -> str:
        """Return an artifact's text."""
        return (self.journal.files / path).read_text(encoding="utf-8")

    def load_model(self) -> Any:
        """Return the logged model, loaded as pyfunc."""
        import mlflow

        return mlflow.pyfunc.load_model(str(self.journal.model))

    def said(self, *words: str) -> bool:
        """Return whether one message has all of these words."""
        return any(all(word in message for word in words) for message in self.messages)


def run_here(
    folder: Path, code: str, *arguments: str, name: str = "train.py", save: bool = False, **options: Any
) -> ScriptRun:
    """Write a script to a folder and run it there.

    Unless `save`, its model is not saved and checked, which takes most of the time.
    """
    path = folder / name
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    settings = load({"tracking_uri": f"sqlite:///{folder}/none.db", "state_dir": str(folder / ".state")})
    options = {"offline": True, **options}
    request = ScriptRequest(script=str(path), arguments=arguments, folder=str(folder), **options)
    lines, logged = Lines(), []
    with program_here(folder), logging_here(logged, save=save):
        record, _ = run_script(settings, request, find_program(str(path), ""), lines)
        names = dict(vars(sys.modules["__main__"]))
    return ScriptRun(
        journal=Journal(record.recorder.journal.folder),
        messages=lines.messages,
        names=names,
        logged=logged[-1] if logged else None,
    )


@contextmanager
def program_here(folder: Path) -> Iterator[None]:
    """Let the block run a program in this folder, and forget it afterwards."""
    import mlflow

    mlflow.tensorflow.autolog(disable=True)  # a recipe of another test may have turned it on in this process
    main, arguments, path, where = sys.modules["__main__"], list(sys.argv), list(sys.path), Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        sys.modules["__main__"], sys.argv, sys.path[:] = main, arguments, path
        for module in list(sys.modules):
            if (getattr(sys.modules[module], "__file__", None) or "").startswith(f"{folder}/"):
                del sys.modules[module]


@contextmanager
def logging_here(logged: list[Any], *, save: bool) -> Iterator[None]:
    """Add the weights of each logged model to a list; without `save`, the model is only noted."""
    from mlctl.services.scripts import result

    original = result.log_keras_model

    def log(recorder: Any, prepared: Any, model: Any, split: Any, **options: Any) -> Any:
        logged.append([weights.copy() for weights in model.get_weights()])
        if save:
            return original(recorder, prepared, model, split, **options)
        return unscored_model()

    result.log_keras_model = log
    try:
        yield
    finally:
        result.log_keras_model = original


def unscored_model() -> Any:
    """Return what is known of a logged model that was not scored."""
    from mlctl.services.training.logged_model import LoggedModel, SavedModel

    return LoggedModel(
        saved=SavedModel(runtime="keras"),
        outputs=(Output(kind="none"),),
        answers=None,
        targets=None,
        weights=None,
        scores={},
    )
