"""What mlctl found in data before training: facts that it says, and warnings."""

from __future__ import annotations

from dataclasses import dataclass

WARNING = "warning: "


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: What it is about, such as "file", "target", "columns", "splits", "duplicates", "imbalance", "leak".
        text: A sentence for people.
        columns: The columns that it is about.
        rows: Number of rows that it is about; 0 if it is about all of them.
        is_warning: Whether the user should look at it before they trust a score.
    """

    kind: str
    text: str
    columns: tuple[str, ...] = ()
    rows: int = 0
    is_warning: bool = False

    @property
    def line(self) -> str:
        """The text without the line breaks that the names of columns may have."""
        return " ".join(self.text.splitlines())

    @property
    def note(self) -> str:
        """The line as it is shown before training."""
        return f"{WARNING}{self.line}" if self.is_warning else self.line
