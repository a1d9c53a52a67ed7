"""What a run records of a call of `fit` before its first epoch: parameters and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.domain.run import DataReference
from mlctl.domain.tags import DATA_ROWS_TAG, DATA_SPEC_TAG
from mlctl.errors import RefusedError
from mlctl.recipes.keras_import import TENSORFLOW
from mlctl.services.recipes.user_code import describe
from mlctl.services.scripts.fitted import MAX_RECORDED, FittedModel
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.training import report

if TYPE_CHECKING:
    from mlctl.adapters.scripts.fit_data import DataReader

# files that were opened, by name, and files in folders that were listed
ReadFiles = Callable[[], tuple[Mapping[str, Path], Mapping[str, Path]]]

MAX_DATASETS = 10  # that a run lists; the data of further calls of `fit` is counted
MAX_FITS = 10  # of one model, whose parameters are recorded
MAX_SOURCES = 3  # files that are named as the source of the data


def _no_files() -> tuple[Mapping[str, Path], Mapping[str, Path]]:
    """Return no files: nothing is watched."""
    return {}, {}


class FitRecord:
    """Writes what the script passes to `fit` to its run.

    Attributes:
        read_files: Returns the files that the script has read so far.
    """

    def __init__(self, record: ScriptRecord) -> None:
        self._record = record
        self.read_files: ReadFiles = _no_files
        self._known_data: set[str] = set()
        self._known_params: dict[int, dict[str, Any]] = {}  # of each model's last fit
        self._fits = 0
        self._left_out = 0

    def begin(self, fitted: FittedModel, model: Any, arguments: dict[str, Any]) -> None:
        """Record parameters and data; generators in the arguments are replaced by ones that show their first batch."""
        self._fits += 1
        if fitted.is_compiled and (not fitted.phases or fitted.progress.epochs):
            self._begin_phase(fitted)
        fitted.data = self._read(arguments)
        self._record_params(fitted, model, arguments)
        if fitted.data is not None:
            self._record_data(fitted)
        fitted.is_compiled = False

    def first_epoch_ended(self, fitted: FittedModel) -> None:
        """Record the form of a generator's batches, which is known now."""
        data = fitted.data
        if data is not None and fitted is not None and any(part.first_batch for part in data.parts.values()):
            self._record.recorder.set_tags({DATA_SPEC_TAG: _spec(data)})

    def end(self, fitted: FittedModel) -> None:
        """Let the script's training arrays go."""
        if fitted.data is not None:
            try:
                fitted.data.train.release()
            except Exception:  # rows that cannot be read
                fitted.data = None

    def _read(self, arguments: dict[str, Any]) -> Any:
        try:
            return self.reader.of_fit(arguments)
        except Exception as error:  # a script does not fail because its data cannot be described
            self._record.listener.message(f"the data of fit is not recorded: {describe(error)}")
            return None

    @cached_property
    def reader(self) -> DataReader:
        """Reads what the script passes as data."""
        from mlctl.adapters.scripts.fit_data import DataReader

        return DataReader(files=self.read_files)

    # -- parameters ---------------------------------------------------------------------------------------

    def _begin_phase(self, fitted: FittedModel) -> None:
        epochs = fitted.progress.epochs
        number = len(fitted.phases) + 1
        resumed = [epoch.number for epoch in epochs if epoch.metrics.get("phase") == number]
        first = resumed[0] if resumed else (epochs[-1].number if epochs else 0) + 1
        if (
            len(fitted.phases) == 1 and fitted.number < MAX_RECORDED
        ):  # now it is known that the first phase was one
            for epoch in epochs:
                self._record.recorder.log_metrics({f"{fitted.prefix}phase": 1}, step=epoch.number)
        fitted.phases.append(first)

    def _record_params(self, fitted: FittedModel, model: Any, arguments: dict[str, Any]) -> None:
        from mlctl.adapters.keras.runtime import current_backend
        from mlctl.adapters.scripts.fit_params import params_of_fit, params_of_model

        has_arrays = (
            fitted.data.train.kind == "arrays"
            if fitted.data is not None
            else not hasattr(arguments.get("x"), "element_spec")
        )
        params = params_of_fit(model, arguments, has_arrays=has_arrays)
        if (backend := current_backend()) != TENSORFLOW:
            params["backend"] = backend
        if fitted.is_compiled:
            params |= params_of_model(model, fitted.compile_params)
            params |= _trainable(model)
        known = self._known_params.setdefault(fitted.number, {})
        changed = {name: value for name, value in params.items() if known.get(name) != value}
        known.update(params)
        fitted.params = dict(known)
        if not changed or fitted.fits > MAX_FITS or fitted.number >= MAX_RECORDED:
            return
        if fitted.fits == 1 and not fitted.number:
            self._record.log_params(changed, prefix="fit_")
            return
        first = {name: value for name, value in self._known_params.get(0, {}).items() if fitted.number}
        new = {name: value for name, value in changed.items() if first.get(name) != value}
        prefix = fitted.prefix if fitted.fits == 1 else f"{fitted.prefix}fit_{fitted.fits}_"
        self._record.log_params({f"{prefix}{name}": value for name, value in new.items()}, prefix="fit_")

    # -- data ---------------------------------------------------------------------------------------------

    def _record_data(self, fitted: FittedModel) -> None:
        data = fitted.data
        if data.content in self._known_data:
            return
        is_first = not self._known_data
        if is_first:
            self._check_unchanged(data.content)
        if len(self._known_data) >= MAX_DATASETS:
            if not self._left_out:
                self._record.listener.message(
                    f"fit gets other data each time: the run lists the first {MAX_DATASETS} of them"
                )
            self._left_out += 1
            return
        self._known_data.add(data.content)
        reference = self.reference(fitted, name="" if is_first else f"{fitted.name}, fit {self._fits}")
        self._record.recorder.log_data(reference)
        if is_first:
            self.tag(fitted, reference)
            self._report_unknown(data)

    def _check_unchanged(self, sha256: str) -> None:
        """Raise RefusedError if a resumed script trains on other data than before."""
        point = self._record.resume_point
        if point is not None and point.data_sha256 not in {"", sha256}:
            raise RefusedError(
                f"the script passes other data to fit than before (SHA-256 {point.data_sha256[:12]} then,"
                f" {sha256[:12]} now)",
                "set a seed before the data is made or split; or resume it anyway: --force",
            )

    def tag(self, fitted: FittedModel, reference: DataReference) -> None:
        """Record the data in the run's tags."""
        tags = {**report.data_tags(reference), DATA_SPEC_TAG: _spec(fitted.data)}
        if not reference.rows:  # rows of a part are unknown
            tags.pop(DATA_ROWS_TAG)
        self._record.recorder.set_tags(tags)

    def reference(self, fitted: FittedModel, *, name: str = "") -> DataReference:
        """Return what the run records about a model's data."""
        data = fitted.data
        splits = {part: found.rows for part, found in data.parts.items() if found.rows is not None}
        files = {key: digest for part in data.parts.values() for key, digest in part.files.items()}
        files = files or self.reader.opened_digests()
        request = self._record.request
        source = ", ".join(files) if 0 < len(files) <= MAX_SOURCES else request.source
        return DataReference(
            name=f"{request.name}: {name}" if name else request.name,
            source=source,
            sha256=data.content,
            rows=sum(splits.values()) if len(splits) == len(data.parts) else 0,
            size_bytes=sum({part.content: part.size_bytes for part in data.parts.values()}.values()),
            splits=splits,
            files=files,
        )

    def _report_unknown(self, data: Any) -> None:
        partial = [name for name, part in data.parts.items() if part.is_partial]
        if partial:
            self._record.listener.message(
                f"the content of the {' and '.join(partial)} data is not recorded: it is made by code, and no file"
                " was read below the working directory so far"
            )


def _spec(data: Any) -> str:
    parts = data.parts
    if len(parts) == 1:
        return str(data.train.describe_batch())
    return " | ".join(f"{name}: {part.describe_batch()}" for name, part in parts.items())


def _trainable(model: Any) -> dict[str, Any]:
    """Return how much of a model is trained, if not all of it: a phase of fine-tuning differs by that."""
    try:
        frozen = [variable for variable in model.weights if not variable.trainable]
        is_frozen = any(not layer.trainable for layer in model._flatten_layers())
        return {"frozen_weights": len(frozen)} if is_frozen and frozen else {}
    except Exception:  # a model that is not built yet
        return {}
