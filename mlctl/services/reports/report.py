"""mlctl runs report: runs or registered models as one HTML file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlctl.adapters.pages.report_page import check_page_name, write_page
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.report import Report, ReportSection, WrittenReport
from mlctl.domain.run import Run
from mlctl.errors import NotFoundError, UsageError
from mlctl.services.models.select import resolve_model
from mlctl.services.registry.models import model_history, show_model
from mlctl.services.reports.comparison import comparison_sections
from mlctl.services.reports.model_sections import model_sections
from mlctl.services.reports.run_sections import facts, run_sections
from mlctl.services.reports.texts import moment
from mlctl.services.runs.select import find_run
from mlctl.settings import Settings, mask_passwords

MAX_RUNS = 50


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What a report is about: a run, and the registered model that was named in its place, if there was one."""

    run: Run | None
    model: str = ""
    version: str = ""


def write_report(
    settings: Settings, selectors: Sequence[str], out: Path, *, experiment: str | None = None
) -> WrittenReport:
    """Write a report of runs, or of the runs of registered models, to a file.

    Each selector is a RUN, or a registered model as NAME, NAME/3 or NAME@alias. Raises as `find_run` does, and
    UsageError if `out` is no HTML file or if there are too many runs.
    """
    check_page_name(out)
    store = TrackingStore(settings.tracking_uri)
    subjects = [_find(settings, store, selector, experiment) for selector in dict.fromkeys(selectors)]
    if len(subjects) > MAX_RUNS:
        raise UsageError(f"a report has at most {MAX_RUNS} runs, not {len(subjects)}", "choose some of them")
    with tempfile.TemporaryDirectory(prefix="mlctl-report-") as scratch:
        report = _compose(settings, store, subjects, Path(scratch))
    size = write_page(report, out)
    return WrittenReport(
        file=str(out),
        size_bytes=size,
        title=report.title,
        left_out=tuple(
            f"{section.title}: {section.missing}" for section in report.sections if not section.blocks
        ),
    )


def default_file(settings: Settings, selectors: Sequence[str], experiment: str | None = None) -> Path:
    """Return the file that a report is written to unless the user names one; raises as `write_report` does."""
    name = "runs"
    if len(selectors) == 1:
        subject = _find(settings, TrackingStore(settings.tracking_uri), selectors[0], experiment)
        run_name = subject.run.run_name if subject.run else ""
        name = f"{subject.model}-{subject.version}" if subject.model else run_name
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return Path(f"{plain.strip('-.')[:100] or 'run'}-report.html")


def _find(settings: Settings, store: TrackingStore, selector: str, experiment: str | None) -> _Subject:
    """Return the run or the registered model that a selector names; a model takes precedence, as everywhere."""
    if selector not in ("last", "best") and not selector.startswith("best:") and store.exists:
        name = selector.partition("/")[0].partition("@")[0]
        if name and Registry(store).find_model(name):
            return _of_model(settings, store, selector, name)
    return _Subject(run=find_run(store, selector, experiment))


def _of_model(settings: Settings, store: TrackingStore, selector: str, name: str) -> _Subject:
    """Return a model with the run of the version that is named: of the one in Production, else the newest."""
    versions = show_model(settings, name).model.versions
    if selector != name:
        version = resolve_model(store, selector).version or ""
    else:
        production = (version.version for version in versions if version.stage == "Production")
        version = next(production, versions[0].version if versions else "")
    run_id = next((found.run_id for found in versions if found.version == version), None)
    try:
        run = store.get_run(run_id) if run_id else None
    except NotFoundError:  # a model outlives its run
        run = None
    return _Subject(run=run, model=name, version=version)


def _compose(settings: Settings, store: TrackingStore, subjects: Sequence[_Subject], scratch: Path) -> Report:
    runs = list({subject.run.run_id: subject.run for subject in subjects if subject.run}.values())
    first = subjects[0]
    if len(subjects) == 1:
        run_name = first.run.run_name if first.run else ""
        title = f"{first.model} version {first.version}" if first.version else first.model or run_name
        of_run = f"run {run_name}, " if first.model and run_name else ""
        subtitle = of_run + ", ".join(_where(runs))
    else:
        title, subtitle = f"{len(runs)} runs", ", ".join(_where(runs))
    return Report(
        title=title,
        subtitle=subtitle,
        facts=facts(runs[0]) if len(subjects) == 1 and runs else [],
        sections=list(_sections(settings, store, subjects, runs, scratch)),
        made_by=f"Written by mlctl, {moment(datetime.now().astimezone())}, from"
        f" {mask_passwords(settings.tracking_uri)}",
    )


def _where(runs: Sequence[Run]) -> list[str]:
    return [f"experiment {name}" for name in dict.fromkeys(run.experiment for run in runs)][:3]


def _sections(
    settings: Settings,
    store: TrackingStore,
    subjects: Sequence[_Subject],
    runs: Sequence[Run],
    scratch: Path,
) -> Iterator[ReportSection]:
    for name in dict.fromkeys(subject.model for subject in subjects if subject.model):
        found = model_sections(show_model(settings, name).model, model_history(settings, name))
        for section in found:
            is_single = len(subjects) == 1
            title = section.title if is_single else f"{section.title} of {name}"
            yield ReportSection(title=title, blocks=section.blocks, missing=section.missing)
    if len(runs) > 1:
        yield from comparison_sections(store, runs)
    elif runs:
        yield from run_sections(store, runs[0], scratch)
    else:
        yield ReportSection(title="Run", missing="the run of this version is deleted or unknown")
