"""The record of a script's run: created when it is first needed, and described from the script's code."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from mlctl import settings as settings_of
from mlctl.adapters.runlog.script_calls import ModelRequest, RunChoice, ScriptCalls
from mlctl.adapters.scripts.execution import Program
from mlctl.adapters.system import provenance
from mlctl.data.sources.locate import sha256
from mlctl.domain.note import NOTE_TAG, generated_note
from mlctl.domain.progress import ProgressListener
from mlctl.domain.script import ScriptRequest, parse_arguments
from mlctl.domain.tags import (
    CODE_FILES_TAG,
    RECIPE_SHA256_TAG,
    RECIPE_SOURCE_TAG,
    RECIPE_TAG,
    SCRIPT_TAG,
)
from mlctl.errors import MlctlError
from mlctl.recipes import local_modules
from mlctl.services.runs import select
from mlctl.services.runs.description import describe_new_run
from mlctl.services.training.code_files import CODE_FOLDER, FILE_DIGITS, SCRIPT_FILE
from mlctl.services.training.report import as_json
from mlctl.services.training.resume_point import ResumePoint
from mlctl.services.training.run_environment import log_environment
from mlctl.settings import Settings, absolute_sqlite, mask_passwords

if TYPE_CHECKING:
    from mlctl.adapters.runlog.recorder import Recorder
    from mlctl.adapters.tracking.store import TrackingStore

PARENT_TAG = "mlflow.parentRunId"


class ModelLogger(Protocol):
    """Logs the models of a script: see `result.ScriptResult`."""

    def has_to_log(self, model: Any) -> bool:
        """Return whether a model, None: the one that was trained last, is the run's and is not logged yet."""

    def has_none(self) -> bool:
        """Return whether there is no model to log, now or at the end."""

    def log_now(self, request: ModelRequest) -> bool:
        """Log a model as the script asks; return whether that was possible."""


class ScriptRecord:
    """The run of one execution of a script.

    Attributes:
        experiment: Name of the run's experiment; the script may choose another one before the run is created.
        run_name: Its name; the same.
    """

    def __init__(
        self,
        settings: Settings,
        request: ScriptRequest,
        program: Program,
        listener: ProgressListener,
        resume_point: ResumePoint | None = None,
    ) -> None:
        self.settings = settings
        self.request = request
        self.program = program
        self.listener = listener
        self.resume_point = resume_point
        self.experiment = settings.experiment or request.name
        self.run_name = request.run_name
        self.tracking_uri = absolute_sqlite(settings.tracking_uri)
        self._has_mlflow_run = bool(os.environ.get("MLFLOW_RUN_ID"))
        self.chosen_tags: dict[str, str] = {}  # by the script, when it starts the run
        self.mlflow = ScriptCalls(self)
        self.get_result: Callable[[], ModelLogger] | None = None
        self._store: TrackingStore | None = None
        self._recorder: Recorder | None = None
        self._described_files: set[str] = set()
        self._described_modules = 0
        self.command: str | None = None  # what the user typed, if that was not mlctl train
        self.is_of_search = False  # the run has trials of its own
        self.code_files: Mapping[str, Path] = {}  # modules that are known before they are imported
        self._typed = parse_arguments(request.arguments)  # unless a library tells how it has understood them
        self._early_params: dict[str, str] = {}  # before the run exists

    @property
    def is_open(self) -> bool:
        """Whether the run exists."""
        return self._recorder is not None

    @property
    def store(self) -> TrackingStore:
        """The store of the run; it is opened if it is not yet."""
        if self._store is None:
            self._store = self._open(self.tracking_uri)
        return self._store

    @property
    def recorder(self) -> Recorder:
        """The recorder of the run, which is created if there is none yet."""
        if self._recorder is None:
            # MLflow draws the run's name from the generator that the script may have seeded
            with _undisturbed_random():
                self._recorder = (
                    self._create() if self.resume_point is None else self._reopen(self.resume_point)
                )
            self._recorder.author = "script"
        return self._recorder

    def adopt(self, recorder: Recorder) -> None:
        """Record into a run that exists: that of a search, whose final model the script trains."""
        recorder.author = "script"
        self._recorder, self.is_of_search = recorder, True

    def log_arguments(self) -> None:
        """Record the script's arguments as they were typed, unless the script's parser has told them."""
        typed, self._typed = self._typed, {}
        if typed:
            self.log_params(typed)

    def log_parsed(self, values: Mapping[str, str]) -> None:
        """Record the script's arguments as its parser has understood them."""
        self._typed = {}
        self.log_params(values)

    # -- what the script says of its run through MLflow; see `adapters.runlog.script_calls.ScriptRun` ----------

    @property
    def is_offline(self) -> bool:
        """Whether the run is recorded on this machine only."""
        return self.request.offline

    @property
    def has_fixed_store(self) -> bool:
        """Whether the user chose the store, so that the script cannot."""
        return self.is_started_elsewhere or _is_option(self.settings, "tracking_uri")

    @property
    def has_fixed_experiment(self) -> bool:
        """Whether the user chose the experiment, so that the script cannot."""
        return self.is_started_elsewhere or _is_option(self.settings, "experiment")

    def claim(self, choice: RunChoice) -> None:
        """Create the run in the store and experiment, and with the name and tags, that the script chooses.

        What the user has given as an option stays. If the run exists, because the script has trained before, it is
        created anew if the script has chosen another store or experiment by now. Raises as `recorder` does.
        """
        uri = self.tracking_uri if self.has_fixed_store else absolute_sqlite(check_tracking_uri(choice))
        experiment = self.experiment
        if choice.experiment and choice.experiment != experiment:
            if self.has_fixed_experiment:
                self.mlflow.tell_once(
                    f"experiment: {experiment}; the script's own, {choice.experiment}, is not used"
                )
            else:
                experiment = choice.experiment
        name = self._chosen_name(choice.run_name)
        parent = {} if self.request.parent else {PARENT_TAG: choice.tags.get(PARENT_TAG, "")}
        tags = {name: value for name, value in {**choice.tags, **parent}.items() if value}
        if uri != self.tracking_uri:
            self.message(f"tracking store: {mask_passwords(uri)}, which the script has chosen")
        if self._recorder is None:
            self.tracking_uri, self.experiment, self.run_name = uri, experiment, name
            self.chosen_tags = tags
            self.recorder  # noqa: B018 - it is created
            return
        if (uri, experiment) != (self.tracking_uri, self.experiment):
            store = self.store if uri == self.tracking_uri else self._open(uri)
            self._recorder.move(store, experiment=experiment, run_name=name)
            self._store, self.tracking_uri, self.experiment = store, uri, experiment
        if name and name != self.run_name:
            self._recorder.rename(name)
        self.run_name = name
        new = {name: value for name, value in tags.items() if name not in self.request.tags}
        if new:
            self._recorder.set_tags(new)

    def rename(self, name: str) -> None:
        """Give the run the name that the script chooses, unless the user has given it one."""
        chosen = self._chosen_name(name)
        if chosen and chosen != self.run_name:
            self.recorder.rename(chosen)
            self.run_name = chosen

    def message(self, text: str) -> None:
        """Tell the user something."""
        self.listener.message(text)

    def has_model_to_log(self, model: Any) -> bool:
        """Return whether mlctl logs this model, None: the one that was trained last, and has not logged it yet."""
        return self.get_result is not None and self.get_result().has_to_log(model)

    def has_no_model(self) -> bool:
        """Return whether mlctl has no model to log, now or at the end."""
        return self.get_result is None or self.get_result().has_none()

    def log_model(self, request: ModelRequest) -> bool:
        """Log a model of the script; return whether that was possible."""
        return self.get_result is not None and self.get_result().log_now(request)

    def log_params(self, values: Mapping[str, Any], *, prefix: str | None = None) -> None:
        """Record parameters. None is ever changed: one that the run has with another value is named `prefix` and its name.

        Without a prefix it is left out. Before the run exists they are kept, and written when it is created.
        """
        known = self._recorder.params if self._recorder is not None else self._early_params
        new: dict[str, str] = {}
        for name, value in values.items():
            text = str(value)
            if prefix is not None:
                number, wanted = 1, name
                while wanted in known and not _is_equal(known[wanted], text):
                    wanted = f"{prefix}{name}" if number == 1 else f"{prefix}{number}_{name}"
                    number += 1
                name = wanted
            if name not in known:
                new[name] = text
        if not new:
            return
        if self._recorder is not None:
            self._recorder.log_params(new)
        else:
            self._early_params |= new

    def describe_code(self) -> None:
        """Record the script, and the modules that it has imported from its own folder by now."""
        self.log_arguments()
        if len(sys.modules) == self._described_modules:  # it is called at each `fit`
            return
        self._described_modules = len(sys.modules)
        files = {SCRIPT_FILE: self.program.file}
        modules = self._modules()
        files |= {f"{CODE_FOLDER}/{name}": path for name, path in modules.items()}
        for name, path in files.items():
            if name not in self._described_files and path.is_file():
                self._described_files.add(name)
                self.recorder.artifact_path(name).write_bytes(path.read_bytes())
                self.recorder.log_artifact(name)
        if modules:
            digests = {name: sha256([path])[:FILE_DIGITS] for name, path in modules.items()}
            self.recorder.set_tags({CODE_FILES_TAG: as_json(digests)})

    # -- inside -------------------------------------------------------------------------------------------

    def _create(self) -> Recorder:
        recorder = self.create(self._command())
        if self._early_params:
            recorder.log_params(self._early_params)
        return recorder

    def create(self, command: str, tags: Mapping[str, str] = MappingProxyType({})) -> Recorder:
        """Create the run, with more tags than those of each script; `command` is what the user typed."""
        from mlctl.adapters.runlog.recorder import Recorder

        request = self.request
        tags = {
            **self.source_tags(command),
            RECIPE_SOURCE_TAG: self._source(),
            RECIPE_SHA256_TAG: sha256([self.program.file]),
            SCRIPT_TAG: as_json(request.to_tag()),
            **tags,
        }
        note = generated_note(describe_new_run(tags))
        tags = {**tags, NOTE_TAG: note, **self.chosen_tags, **request.tags}
        if request.parent:
            tags[PARENT_TAG] = select.find_run(self.store, request.parent).run_id
        recorder = Recorder.create(
            self.store,
            experiment=self.experiment,
            run_name=self.run_name,
            tags=tags,
            state_dir=self.settings.state_dir,
            listener=self.listener,
            offline=request.offline,
        )
        git, diff = provenance.git_state(self.program.file.resolve().parent)
        recorder.set_tags(git)
        log_environment(recorder, {})
        for name, text in (("code.diff", diff), ("requirements.txt", provenance.pinned_requirements())):
            if text:
                recorder.artifact_path(name).write_text(text, encoding="utf-8")
                recorder.log_artifact(name)
        return recorder

    def source_tags(self, command: str) -> dict[str, str]:
        """Return the tags that say who has started what."""
        return {
            "mlflow.user": provenance.user_name(),
            "mlflow.source.name": command,
            "mlflow.source.type": "LOCAL",
            RECIPE_TAG: self.request.name,
        }

    def _reopen(self, point: ResumePoint) -> Recorder:
        from mlctl.adapters.runlog.recorder import Recorder

        recorder = Recorder.reopen(
            point.folder, self.store, header=point.header, listener=self.listener, known=point.known_points
        )
        recorder.set_tags(point.tags)
        return recorder

    def _open(self, uri: str) -> TrackingStore:
        from mlctl.adapters.runlog.script_store import open_direct

        try:
            return open_direct(uri, offline=self.request.offline)
        except MlctlError as error:
            if uri != absolute_sqlite(self.settings.tracking_uri):
                error.hint = (
                    "correct the store that the script chooses, or choose another one with --tracking-uri"
                )
            raise

    @property
    def is_started_elsewhere(self) -> bool:
        """Whether the run exists before the script starts: it is resumed, or `mlflow run` has made it."""
        return self.resume_point is not None or self._has_mlflow_run

    def _chosen_name(self, name: str | None) -> str | None:
        given = self.request.run_name
        if given and name and name != given:
            self.mlflow.tell_once(f"run name: {given}; the script's own, {name}, is not used")
        return given or name or self.run_name

    def _source(self) -> str:
        """Return the path of the script where the user has it: a cluster's node runs a copy."""
        request = self.request
        if request.script and Path(request.folder, request.script).is_file():
            return str(Path(request.folder, request.script).resolve())
        return str(self.program.file.resolve())

    def _command(self) -> str:
        if self.command is not None:
            return self.command
        request = self.request
        start = ["-m", request.module] if request.module else [request.script]
        return " ".join(["mlctl train", *start, *(["--", *request.arguments] if request.arguments else [])])

    def _modules(self) -> dict[str, Path]:
        """Return the files that the script has imported from its own folder, by their path in it."""
        folder = self.program.import_folder.resolve()
        starts = (str(folder), str(self.program.import_folder.absolute()))
        found = {}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str) or not file.endswith(".py") or module is sys.modules["__main__"]:
                continue
            if os.path.isabs(file) and not file.startswith(starts):  # thousands of modules of packages
                continue
            path = Path(file).resolve()
            if not path.is_file() or (path.parent / "MLmodel").exists():
                continue  # of a logged model that was loaded
            if local_modules.is_in_folder(path, folder) and path != self.program.file.resolve():
                found[path.relative_to(folder).as_posix()] = path
        return dict(sorted({**self.code_files, **found}.items()))


@contextlib.contextmanager
def _undisturbed_random() -> Iterator[None]:
    """Leave Python's random generator as it was before the block."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def check_tracking_uri(choice: RunChoice) -> str:
    """Return the store that a script chooses; raises ConfigurationError if mlctl cannot write to it."""
    return settings_of.check_tracking_uri(choice.tracking_uri, "the script's own")


def _is_option(settings: Settings, name: str) -> bool:
    return settings.sources.get(name, "").startswith("option")


def _is_equal(one: str, other: str) -> bool:
    """Return whether two parameters have the same value: 1e-3 and 0.001 are equal."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False
