"""The request to stop a run, which is a tag of that run: whoever reads the run later sees who stopped it, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """Who wants a run to stop, since when (ISO 8601), and why."""

    by: str
    at: str
    reason: str = ""

    def __str__(self) -> str:
        return f"stopped by {self.by}" + (f": {self.reason}" if self.reason else "")

    def to_text(self) -> str:
        """Return the value of the tag."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> StopRequest:
        """Return the request in a tag; its author is unknown if mlctl has not written the tag."""
        try:
            values = json.loads(text)
            return cls(by=str(values["by"]), at=str(values["at"]), reason=str(values.get("reason", "")))
        except (ValueError, TypeError, KeyError, AttributeError):  # anyone can edit a tag
            return cls(by="somebody", at="", reason=text)
