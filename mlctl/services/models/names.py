"""What a registered model may be named, and its tags; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

from mlctl.errors import UsageError


def check_name(name: str) -> None:
    """Raise UsageError for what cannot name a registered model."""
    if not name.strip() or set(name) & set("/:@") or name.strip() != name or name in {".", ".."}:
        raise UsageError(
            f"{name!r} cannot name a registered model",
            "use letters, digits, - and _; / : and @ part a name from its version",
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise UsageError for a tag that is ours."""
    for key in tags:
        if key.startswith(("mlctl.log.", "mlctl.void.")):
            raise UsageError(f"the tag {key!r} is kept for the model's history", "choose another")
