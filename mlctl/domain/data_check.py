"""What mlctl data check finds in data before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlctl.domain.drift import DistributionBin


class Severity(StrEnum):
    """How much a finding matters, the least first."""

    ok = "ok"
    note = "note"
    warning = "warning"
    problem = "problem"


@dataclass(frozen=True, kw_only=True)
class CheckFinding:
    """One thing that was checked.

    Attributes:
        severity: ok: nothing was found. note: worth knowing. warning: look at it before you trust a score. problem:
            the score will be wrong.
        kind: What it is about, such as "file", "columns", "missing", "outliers", "duplicates", "leak", "labels".
        text: One line for people.
        columns: The columns that it is about.
        rows: Number of rows that it is about; 0 if it is about all of them.
    """

    severity: Severity
    kind: str
    text: str
    columns: Sequence[str] = ()
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """One column of a table, over all its rows.

    Attributes:
        type: number, category, boolean, date, text, or drop.
        reading: How its cells are read, or why the column is dropped; "" if there is nothing to say.
        missing: Share of the rows without a value.
        distinct: Number of different values; None if they were not counted.
        summary: Its values in a few words, such as "18 to 79, median 41".
        bins: Its distribution in the training rows (`trained`) and in the test rows (`live`).
        outliers: Values that are far outside all others, the farthest first.
    """

    name: str
    type: str
    reading: str = ""
    missing: float = 0.0
    distinct: int | None = None
    summary: str = ""
    bins: Sequence[DistributionBin] = ()
    outliers: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class SuspectLabel:
    """A row whose target contradicts what the other rows say about such rows.

    Attributes:
        split: train, validation or test.
        row: Its number in the file, from 1, without the header; or its file.
        target: The target as it is.
        expected: What models that have not seen the row expect.
        probability: Their probability of it; None of a regression.
    """

    split: str
    row: int | str
    target: str | float
    expected: str | float
    probability: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """The rows of a class by split."""

    name: str
    rows: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What was found in data that a recipe would train on.

    Attributes:
        source: File or folder.
        recipe: The recipe that would train on it.
        target: Column to predict; "" if it has no name.
        task: Regression, binary or multiclass.
        splits: Number of rows by split.
        severity: The highest severity of all findings.
        findings: All findings, the most severe first.
        columns: Columns of a table.
        classes: Rows of each class.
        suspects: Rows whose target may be wrong, the most suspicious first.
        file: The page about it, if one was written.
    """

    source: str
    recipe: str
    target: str
    task: str
    splits: Mapping[str, int]
    severity: Severity
    findings: Sequence[CheckFinding]
    columns: Sequence[ColumnProfile] = ()
    classes: Sequence[ClassCount] = ()
    suspects: Sequence[SuspectLabel] = ()
    file: str = ""

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)
