"""Tell a command or an HTTP address about events: a process of its own sends and retries, so that nothing waits."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.errors import ConfigurationError

if TYPE_CHECKING:
    import subprocess

RUN_FINISHED, RUN_FAILED, RUN_LOST, SEARCH_FINISHED = (
    "run_finished",
    "run_failed",
    "run_lost",
    "search_finished",
)
PROMOTION, ROLLBACK, GATE_REFUSED = "promotion", "rollback", "gate_refused"
DRIFT_FOUND, SERVER_DOWN = "drift_found", "server_down"
EVENTS = (
    RUN_FINISHED,
    RUN_FAILED,
    RUN_LOST,
    SEARCH_FINISHED,
    PROMOTION,
    ROLLBACK,
    GATE_REFUSED,
    DRIFT_FOUND,
    SERVER_DOWN,
)
LOST_WORDS = "is lost: it has sent no sign of life for a minute"
TEST = "test"  # of `mlctl notify test`; nobody can choose it
SECRET_VARIABLE = "MLCTL_NOTIFY_SECRET"  # noqa: S105 - a name
LOG = "notify.log"
SENDER = Path(__file__).with_name("sender.py")
MAX_TEXT = 1000

log = logging.getLogger("mlctl.notes")
_senders: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, kw_only=True)
class NotifyTarget:
    """Who is told, and about what: the table [notify] of mlctl.toml.

    Attributes:
        url: HTTP address that gets a POST; "" for none.
        command: Program and arguments, which gets the message on stdin; () for none.
        events: The events that are told.
        secret_file: File with the key of the signature; "": the variable MLCTL_NOTIFY_SECRET, or no signature.
        log: File that gets a line for each message that was not delivered.
        secret: The key itself, for a process that was given it on stdin.
        hidden_variables: Environment variables of this process that the receiver's command does not get.
    """

    url: str = ""
    command: Sequence[str] = ()
    events: Sequence[str] = EVENTS
    secret_file: str = ""
    log: str = ""
    secret: str = field(default="", repr=False)
    hidden_variables: Collection[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the values that `from_json` needs, with the key. Raises ConfigurationError."""
        try:
            return asdict(replace(self, secret=self.read_secret()))
        except OSError as exc:
            raise ConfigurationError(
                f"the key of notify.secret_file cannot be read: {exc}", "check the path and its permissions"
            ) from exc

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> NotifyTarget | None:
        """Return the target that another process was given."""
        return cls(**values) if values else None

    def read_secret(self) -> str:
        """Return the key of the signature; "" if there is none. Raises OSError if its file cannot be read."""
        if self.secret:
            return self.secret
        if self.secret_file:
            return Path(self.secret_file).expanduser().read_text(encoding="utf-8").strip()
        return os.environ.get(SECRET_VARIABLE, "")


def notify(target: NotifyTarget | None, event: str, text: str, details: Mapping[str, Any]) -> None:
    """Send a message about an event, if the target wants it. Nothing waits for it, and nothing fails because of it.

    Args:
        target: Who is told; None for nobody.
        event: One of EVENTS.
        text: One line for people.
        details: Further keys of the JSON object.
    """
    if target is None or event not in target.events:
        return
    try:
        _send(json.dumps(_order(target, event, text, details)).encode(), target.hidden_variables)
    except OSError as error:
        log.info("nobody was told about %s: %s", event, error)


def try_target(target: NotifyTarget) -> list[str]:
    """Send an example, wait for it, and return why it was not delivered: one line for each receiver that failed."""
    from mlctl.notifications.sender import deliver

    try:
        order = _order(target, TEST, "a test of mlctl notify test", {})
    except OSError as error:
        return [f"the key of notify.secret_file cannot be read: {error}"]
    return [failure.removeprefix(f"{TEST}: ") for failure in deliver(order, pauses_s=(0.0,))]


def _order(target: NotifyTarget, event: str, text: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sender needs. Raises OSError if the key cannot be read."""
    import socket  # most commands have nothing to tell

    # JSON has no NaN and no infinity
    details = json.loads(json.dumps(details, default=str), parse_constant=lambda _constant: None)
    message = {
        "event": event,
        "text": text[:MAX_TEXT],
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "host": socket.gethostname(),
        **details,
    }
    return {
        "url": target.url,
        "command": list(target.command),
        "secret": target.read_secret(),
        "log": target.log,
        "body": json.dumps(message, ensure_ascii=False),
    }


def _send(order: bytes, hidden_variables: Collection[str]) -> None:
    """Start the process that sends a message; it ends after its last attempt."""
    import subprocess

    _senders[:] = [sender for sender in _senders if sender.poll() is None]
    hidden = {SECRET_VARIABLE, *hidden_variables}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    # -P: a file of the working directory must not replace a module of Python
    sender = subprocess.Popen(
        [sys.executable, "-P", str(SENDER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    _senders.append(sender)
    assert sender.stdin is not None
    sender.stdin.write(order)  # less than a pipe's buffer: nothing waits
    sender.stdin.close()
