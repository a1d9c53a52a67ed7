"""Try the receivers of [notify]."""

from __future__ import annotations

from mlctl.domain.notify import DeliveredExample
from mlctl.errors import ConfigurationError, UnreachableError
from mlctl.notifications import try_target
from mlctl.settings import NOTIFY, PROJECT_FILE, Settings


def try_receivers(settings: Settings) -> DeliveredExample:
    """Send an example to all receivers.

    Raises ConfigurationError if there is none, and UnreachableError if one did not take it.
    """
    if settings.notify is None:
        raise ConfigurationError(
            "the settings name nobody to tell",
            f'add url = "https://…" or command = ["PROGRAM", …] to the table [{NOTIFY}] of {PROJECT_FILE}',
        )
    if failures := try_target(settings.notify):
        raise UnreachableError(
            f"the example was not delivered: {'; '.join(failures)}", "see the receiver's own log"
        )
    shown = [
        (name, value) for name, value, _ in settings.listing() if name in {"notify.url", "notify.command"}
    ]
    return DeliveredExample(
        receivers=tuple(value for _, value in shown), is_signed=bool(settings.notify.read_secret())
    )
