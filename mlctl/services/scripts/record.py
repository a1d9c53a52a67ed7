"""The record of a script's run: created when it is first needed, and described from the script's code."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.adapters.scripts.execution import Program
from mlctl.adapters.system import provenance
from mlctl.domain.progress import ProgressListener
from mlctl.domain.script import ScriptRequest, parse_arguments
from mlctl.domain.tags import (
    CODE_FILES_TAG,
    MACHINE_CORES_TAG,
    RECIPE_SHA256_TAG,
    RECIPE_SOURCE_TAG,
    RECIPE_TAG,
    SCRIPT_TAG,
)
from mlctl.recipes import local_modules
from mlctl.services.runs import select
from mlctl.services.training.resume_point import ResumePoint
from mlctl.settings import Settings

if TYPE_CHECKING:
    from mlctl.adapters.runlog.recorder import Recorder
    from mlctl.adapters.tracking.store import TrackingStore

SCRIPT_FILE = "script.py"  # the artifact with the script's own file
CODE_FOLDER = "code"  # the artifact folder with the modules that it imports from its own folder
FILE_DIGITS = 16  # of a file's digest in the run's tag


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
        self.tracking_uri = settings.tracking_uri
        self._store: TrackingStore | None = None
        self._recorder: Recorder | None = None
        self._described_files: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether the run exists."""
        return self._recorder is not None

    @property
    def store(self) -> TrackingStore:
        """The store of the run; it is opened if it is not yet."""
        if self._store is None:
            from mlctl.adapters.runlog.recorder import open_store
            from mlctl.adapters.tracking.store import TrackingStore

            open_ = TrackingStore if self.request.offline else open_store
            self._store = open_(self.tracking_uri)
        return self._store

    @property
    def recorder(self) -> Recorder:
        """The recorder of the run, which is created if there is none yet."""
        if self._recorder is None:
            self._recorder = self._create() if self.resume_point is None else self._reopen(self.resume_point)
        return self._recorder

    def describe_code(self) -> None:
        """Record the script, and the modules that it has imported from its own folder by now."""
        files = {SCRIPT_FILE: self.program.file}
        files |= {f"{CODE_FOLDER}/{name}": path for name, path in self._modules().items()}
        for name, path in files.items():
            if name not in self._described_files and path.is_file():
                self._described_files.add(name)
                self.recorder.artifact_path(name).write_bytes(path.read_bytes())
                self.recorder.log_artifact(name)
        digests = {name: _digest(path)[:FILE_DIGITS] for name, path in self._modules().items()}
        if digests:
            self.recorder.set_tags({CODE_FILES_TAG: _as_json(digests)})

    # -- inside -------------------------------------------------------------------------------------------

    def _create(self) -> Recorder:
        from mlctl.adapters.runlog.recorder import Recorder

        request = self.request
        tags = {
            "mlflow.user": provenance.user_name(),
            "mlflow.source.name": self._command(),
            "mlflow.source.type": "LOCAL",
            RECIPE_TAG: request.name,
            RECIPE_SOURCE_TAG: str(self.program.file.resolve()),
            RECIPE_SHA256_TAG: _digest(self.program.file),
            SCRIPT_TAG: _as_json(request.to_tag()),
            **request.tags,
        }
        if request.parent:
            tags["mlflow.parentRunId"] = select.find_run(self.store, request.parent).run_id
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
        recorder.set_tags(
            {
                MACHINE_CORES_TAG: provenance.available_cores(),
                "mlctl.machine.os": sys.platform,
                **git,
                **provenance.version_tags(),
            }
        )
        for name, text in (("code.diff", diff), ("requirements.txt", provenance.pinned_requirements())):
            if text:
                recorder.artifact_path(name).write_text(text, encoding="utf-8")
                recorder.log_artifact(name)
        if arguments := parse_arguments(request.arguments):
            recorder.log_params(arguments)
        return recorder

    def _reopen(self, point: ResumePoint) -> Recorder:
        from mlctl.adapters.runlog.recorder import Recorder

        recorder = Recorder.reopen(
            point.folder, self.store, header=point.header, listener=self.listener, known=point.known_points
        )
        recorder.set_tags(point.tags)
        return recorder

    def _command(self) -> str:
        request = self.request
        start = ["-m", request.module] if request.module else [request.script]
        return " ".join(["mlctl train", *start, *(["--", *request.arguments] if request.arguments else [])])

    def _modules(self) -> dict[str, Path]:
        """Return the files that the script has imported from its own folder, by their path in it."""
        folder = self.program.import_folder.resolve()
        found = {}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str) or not file.endswith(".py") or module is sys.modules["__main__"]:
                continue
            path = Path(file).resolve()
            if local_modules.is_in_folder(path, folder) and path != self.program.file.resolve():
                found[path.relative_to(folder).as_posix()] = path
        return dict(sorted(found.items()))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _as_json(value: Any) -> str:
    from mlctl.services.training.report import as_json

    return as_json(value)
