"""The servers of this machine, as they are noted and as they answer."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from mlctl import credentials
from mlctl.adapters.system.local_servers import notes, process_of
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.server import TrackingServer
from mlctl.errors import NotFoundError

ANSWER_WITHIN_S = 4.0
__all__ = ["ask", "described", "notes", "process_of", "ready", "required"]


def required(book: StateFiles, name: str) -> dict[str, Any]:
    """Return a server's note; raises NotFoundError where there is none."""
    note = book.read(name)
    if note is None:
        known = book.names()
        hint = f"there are: {', '.join(known)}" if known else "start one: mlctl server-up"
        raise NotFoundError(f"no server named {name!r} was started on this machine", hint)
    return note


def ready(note: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what /ready says; None where nobody answers, or another instance does."""
    said = ask(note, "/ready")
    return said if said and said.get("instance") == note["instance"] else None


def ask(note: Mapping[str, Any], path: str, as_user: bool = False) -> dict[str, Any] | None:
    """Return a JSON answer of a server on this machine; None where there is none.

    Only `as_user` sends a password: whoever says it knows that this server, and no other program, answers.
    """
    context = None
    if note["url"].startswith("https:"):
        context = ssl.create_default_context()
        context.check_hostname = False  # this machine is asked, and /ready's instance says who answered
        context.verify_mode = ssl.CERT_NONE
    headers = {}
    if as_user and (known := credentials.of(note["url"])):
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(known).encode()).decode()
    request = urllib.request.Request(note["local_url"] + path, headers=headers)  # noqa: S310
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with contextlib.suppress(OSError, ValueError):
        try:
            with opener.open(request, timeout=ANSWER_WITHIN_S) as reply:
                return dict(json.load(reply))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
    return None


def described(note: Mapping[str, Any], status: str, **more: Any) -> TrackingServer:
    """Return a noted server as a value."""
    return TrackingServer(
        name=note["name"],
        url=note["url"],
        pid=note["pid"],
        log=note["log"],
        status=status,
        backend=note["place"]["backend"],
        bucket=note["place"]["bucket"],
        artifacts=note["artifacts"],
        workers=note["workers"],
        auth=note["auth"],
        **more,
    )
