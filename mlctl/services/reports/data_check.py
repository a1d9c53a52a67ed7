"""mlctl data check: what is in data before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.pages.report_page import check_page_name, write_page
from mlctl.data.checks.columns import profile_columns
from mlctl.data.checks.duplicates import Duplicates, find_duplicates
from mlctl.data.checks.labels import Suspects, find_suspects
from mlctl.data.checks.shift import find_shifts
from mlctl.data.dataset import Dataset, Split
from mlctl.data.finding import WARNING
from mlctl.data.tables import copies
from mlctl.data.tables.column_types import set_option
from mlctl.domain.data_check import (
    CheckFinding,
    ClassCount,
    ColumnProfile,
    DataCheck,
    Severity,
    SuspectLabel,
)
from mlctl.domain.progress import ProgressListener, WithoutMessages
from mlctl.domain.short_texts import list_some
from mlctl.errors import UsageError
from mlctl.recipes import resolve
from mlctl.services.recipes.defaults import with_defaults
from mlctl.services.recipes.prepare import check_values, data_source, load_data
from mlctl.services.reports.data_page import data_page
from mlctl.settings import Settings
from mlctl.units import count

MOSTLY_MISSING = 0.5
LISTED_VALUES, LISTED_COLUMNS, LISTED_ROWS = 3, 6, 5
MAX_SUSPECTS = 50
MANY_CONTRADICTIONS = 0.02  # share of the rows from which on there is a warning
CLEAR_ACCURACY, FEW_SUSPECTS = (
    0.9,
    0.05,
)  # of the cheap models; share of contradicted rows that is then suspicious
PROBLEMS = ("leak", "duplicates")  # kinds of warnings that make the score wrong


def check_data(
    settings: Settings,
    source: str,
    *,
    overrides: Mapping[str, Any],
    data: str | None = None,
    html: Path | None = None,
    listener: ProgressListener,
) -> DataCheck:
    """Return what is in the data that `mlctl train` would read; write a page about it if asked to.

    Nothing is trained but small models that look for wrong targets. Raises as `train` does for data that it refuses,
    and UsageError if `html` is no HTML file.
    """
    if html is not None:
        check_page_name(html)
    resolved = resolve(source)
    values = check_values(resolved, with_defaults(settings, resolved.recipe, overrides))
    listener = WithoutMessages(listener)
    source_of_rows = data_source(settings, resolved, values, data=data, listener=listener)
    dataset = load_data(settings, resolved.recipe, source_of_rows, listener)
    if dataset.train.is_stream:
        raise UsageError(
            f"recipe {resolved.recipe.name} streams its data, so mlctl cannot look at all of it",
            "check the files that it reads",
        )
    listener.stage("checking the rows")
    columns = profile_columns(dataset) if dataset.is_table else []
    suspects, of_labels = _check_labels(dataset)
    findings = [
        *_of_reading(dataset),
        *_of_columns(columns),
        *_of_duplicates(dataset, find_duplicates(dataset)),
        *_of_shifts(dataset),
        of_labels,
    ]
    order = list(Severity)
    findings.sort(key=lambda finding: -order.index(finding.severity))
    check = DataCheck(
        source=source if data is None else data,
        recipe=resolved.recipe.name,
        target=str(overrides.get("target") or ""),
        task=dataset.task,
        splits=dataset.splits,
        severity=findings[0].severity,
        findings=tuple(findings),
        columns=tuple(columns),
        classes=tuple(_count_classes(dataset)),
        suspects=tuple(suspects),
    )
    if html is None:
        return check
    write_page(data_page(check, dataset), html)
    return replace(check, file=str(html))


def _of_reading(data: Dataset) -> Iterator[CheckFinding]:
    """Yield what reading found, and what it looked for and did not find."""
    kinds = {finding.kind for finding in data.findings if finding.is_warning}
    for finding in data.findings:
        if finding.kind == "columns" and not finding.columns:
            continue  # how to change a type
        severity = Severity.note
        if finding.is_warning:
            severity = Severity.problem if finding.kind in PROBLEMS else Severity.warning
        elif finding.kind == "question":
            severity = Severity.warning
        yield CheckFinding(
            severity=severity,
            kind=finding.kind,
            text=finding.line,
            columns=finding.columns,
            rows=finding.rows,
        )
    if not data.findings:
        for note in data.notes:
            severity = Severity.warning if note.startswith(WARNING) else Severity.note
            yield CheckFinding(severity=severity, kind="file", text=note.removeprefix(WARNING))
    if data.is_table and "leak" not in kinds:
        yield _ok("leak", "no column alone gives the target away")
    if data.classes and "imbalance" not in kinds:
        yield _of_balance(data)


def _of_balance(data: Dataset) -> CheckFinding:
    counts = np.bincount(np.asarray(data.train.targets), minlength=len(data.classes)) / max(
        1, len(data.train)
    )
    least = int(counts.argmin())
    if counts[least] < 0.2 / len(data.classes):
        text = f"class {data.classes[least]} is {counts[least]:.2%} of the training rows"
        return CheckFinding(severity=Severity.warning, kind="imbalance", text=text)
    return _ok("imbalance", f"every class has at least {counts[least]:.0%} of the training rows")


def _of_columns(columns: Sequence[ColumnProfile]) -> Iterator[CheckFinding]:
    used = [column for column in columns if column.type != "drop"]
    if not used:
        return
    mostly = [column for column in used if column.missing >= MOSTLY_MISSING]
    some = [column for column in used if 0 < column.missing < MOSTLY_MISSING]
    if mostly:
        text = f"more than half is missing: {_listed(f'{column.name} {column.missing:.0%}' for column in mostly)}"
        yield _finding(Severity.warning, "missing", text, mostly)
    if some:
        text = f"missing values: {_listed(f'{column.name} {column.missing:.1%}' for column in some)}"
        yield _finding(Severity.note, "missing", text, some)
    if not mostly and not some:
        yield _ok("missing", "no column that is used has missing values")
    strange = [column for column in used if column.outliers]
    for column in strange:
        different = list(dict.fromkeys(column.outliers))
        values = list_some([f"{value:.6g}" for value in different], LISTED_VALUES)
        text = (
            f"{column.name}: {values} far outside all others ({column.summary}); if it stands for a missing"
            f" value: {set_option(f'sentinel.{column.name}', f'{different[0]:.6g}')}"
        )
        yield _finding(Severity.warning, "outliers", text, [column])
    if not strange and any(column.type == "number" for column in used):
        yield _ok("outliers", "no number is far outside all others of its column")


def _of_duplicates(data: Dataset, found: Duplicates | None) -> Iterator[CheckFinding]:
    if found is None:
        return
    rows = sum(data.splits.values())
    noun = "row" if data.is_table else "example"
    if found.repeated:
        verb = "repeats" if found.repeated == 1 else "repeat"
        text = f"{count(found.repeated, noun)} {verb} an earlier one, target included"
        yield CheckFinding(severity=Severity.note, kind="duplicates", text=text, rows=found.repeated)
    is_said = any(finding.kind == "duplicates" for finding in data.findings)
    for name, shared in found.shared.items():
        if not shared or is_said:
            continue
        share = shared / max(1, data.splits[name])
        if copies.is_by_chance(share, found.expected.get(name, 0.0)):
            continue
        verb = "has" if shared == 1 else "have"
        text = f"{count(shared, f'{name} {noun}')} ({share:.1%}) {verb} the inputs of a training {noun}"
        severity = Severity.warning if share >= copies.MANY else Severity.note
        yield CheckFinding(severity=severity, kind="duplicates", text=text, rows=shared)
    if not found.repeated and not any(found.shared.values()):
        yield _ok("duplicates", f"no {noun} is there twice")
    if found.contradicting:
        verb = "differ only" if data.classes else "differ"
        where = [f"{_name_row(data, a)} and {_name_row(data, b)}" for a, b in found.examples]
        text = (
            f"{count(found.contradicting, noun)} {verb} in the target from another one with the same inputs,"
            f" such as {'; '.join(where)}: no model can tell them apart"
        )
        many = data.classes and found.contradicting > MANY_CONTRADICTIONS * rows
        severity = Severity.warning if many else Severity.note
        yield CheckFinding(severity=severity, kind="contradictions", text=text, rows=found.contradicting)


def _of_shifts(data: Dataset) -> Iterator[CheckFinding]:
    if not data.is_table or not data.extra.get("columns"):
        return
    found = False
    for name, split in (("validation", data.validation), ("test", data.test)):
        shifts = find_shifts(data, split) if split is not None else []
        found = found or bool(shifts)
        if shifts:
            columns = [shift.column for shift in shifts]
            told = "; ".join(f"{shift.column} ({shift.words})" for shift in shifts[:LISTED_COLUMNS])
            more = f"; and {len(shifts) - LISTED_COLUMNS} more" if len(shifts) > LISTED_COLUMNS else ""
            text = f"the {name} rows differ from the training rows: {told}{more}"
            yield CheckFinding(severity=Severity.warning, kind="shift", text=text, columns=columns)
    if not found:
        yield _ok("shift", "training, validation and test rows are alike")


def _check_labels(data: Dataset) -> tuple[list[SuspectLabel], CheckFinding]:
    inputs, targets = _all_rows(data)
    if inputs is None:
        return [], CheckFinding(
            severity=Severity.note, kind="labels", text="labels of this kind of data are not checked"
        )
    found = find_suspects(inputs, targets, data)
    if found.skipped:
        text = f"targets are not checked: {found.skipped}"
        return [], CheckFinding(severity=Severity.note, kind="labels", text=text)
    suspects = list(_suspect_labels(data, targets, found))
    checked = "all rows" if found.checked == len(targets) else f"{found.checked:,} of the rows"
    if not suspects:
        return [], _ok("labels", f"no target contradicts what models of the other rows expect ({checked})")
    total, noun = len(found.rows), "label" if data.classes else "value"
    listed = "; ".join(_describe_suspect(suspect) for suspect in suspects[: 1 + LISTED_ROWS // 2])
    text = f"{count(total, noun)} of the target may be wrong ({checked} checked): {listed}"
    is_clear = found.accuracy is None or found.accuracy >= CLEAR_ACCURACY
    severity = Severity.warning if is_clear and total <= FEW_SUSPECTS * found.checked else Severity.note
    if severity == Severity.note:
        text += "; in data that models explain badly, such rows are often right"
    return suspects, CheckFinding(severity=severity, kind="labels", text=text, rows=total)


def _all_rows(data: Dataset) -> tuple[Any, Any]:
    """Return the inputs of all rows as a table or texts, and their targets; (None, None) for other data."""
    parts = [split for split in (data.train, data.validation, data.test) if split is not None]
    if any(part.targets is None or np.ndim(part.targets) != 1 for part in parts):
        return None, None
    targets = np.concatenate([np.asarray(part.targets) for part in parts])
    if data.is_table:
        import pandas as pd

        return pd.concat([part.inputs for part in parts], ignore_index=True), targets
    if data.as_raw is not None and hasattr(data.train.inputs, "sources"):
        return [text for part in parts for text in data.raw(part.inputs)], targets
    return None, None


def _suspect_labels(data: Dataset, targets: Any, found: Suspects) -> Iterator[SuspectLabel]:
    for place, row in enumerate(found.rows[:MAX_SUSPECTS].tolist()):
        split, number = _place(data, row)
        target, expected = targets[row], found.expected[place]
        yield SuspectLabel(
            split=split,
            row=number,
            target=data.classes[int(target)] if data.classes else float(target),
            expected=data.classes[int(expected)] if data.classes else float(expected),
            probability=None if found.probabilities is None else float(found.probabilities[place]),
        )


def _place(data: Dataset, row: int) -> tuple[str, int | str]:
    """Return the split of a row among all rows, and its number in the file or its own file."""
    splits: list[tuple[str, Split]] = [
        (name, split)
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
        if split is not None
    ]
    for place, (name, split) in enumerate(splits):
        if row < len(split):
            numbers = data.extra.get("row_numbers")
            sources = getattr(split.inputs, "sources", None)
            if sources is None:
                sources = getattr(split.inputs, "files", None)
            file = None if sources is None else getattr(sources[row], "path", sources[row])
            if isinstance(file, Path):
                return name, f"{file.parent.name}/{file.name}"
            return name, int(numbers[place][row]) if numbers is not None else row + 1
        row -= len(split)
    raise IndexError(row)


def _name_row(data: Dataset, row: int) -> str:
    _, number = _place(data, row)
    return f"row {number}" if isinstance(number, int) else number


def _describe_suspect(suspect: SuspectLabel) -> str:
    row = f"row {suspect.row}" if isinstance(suspect.row, int) else suspect.row
    if suspect.probability is None:
        return f"{row} has {suspect.target:.6g}, expected about {suspect.expected:.4g}"
    return f"{row} is {suspect.target}, expected {suspect.expected} ({suspect.probability:.0%})"


def _count_classes(data: Dataset) -> Iterator[ClassCount]:
    if not data.classes:
        return
    counts = {
        name: np.bincount(np.asarray(split.targets).astype(int), minlength=len(data.classes)).tolist()
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
        if split is not None and np.ndim(split.targets) == 1
    }
    for place, name in enumerate(data.classes):
        yield ClassCount(name=name, rows={split: found[place] for split, found in counts.items()})


def _finding(severity: Severity, kind: str, text: str, columns: Sequence[ColumnProfile]) -> CheckFinding:
    return CheckFinding(severity=severity, kind=kind, text=text, columns=[column.name for column in columns])


def _ok(kind: str, text: str) -> CheckFinding:
    return CheckFinding(severity=Severity.ok, kind=kind, text=text)


def _listed(words: Iterator[str]) -> str:
    return list_some(list(words), LISTED_COLUMNS)
