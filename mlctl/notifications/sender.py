"""Send one message, which is read from stdin, and try again if that fails. It imports the standard library only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

PAUSES_S = (0.0, 1.0, 5.0, 30.0, 120.0)  # before each attempt
TIMEOUT_S = 10.0
RETRIED_STATUSES = {408, 425, 429}  # of those below 500


class UndeliverableError(Exception):
    """The receiver refused the message: sending it again does not help."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would send the message to another address."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Refuse."""


def signature(secret: str, delivery: str, timestamp: str, body: str) -> str:
    """Return the signature of a message, in the form of MLflow's webhooks: v1, and the HMAC-SHA256 in base64."""
    content = f"{delivery}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), content, hashlib.sha256)).decode()


def deliver(order: Mapping[str, Any], pauses_s: Sequence[float] = PAUSES_S) -> list[str]:
    """Send a message to the address and to the command; return why it was not delivered, one line for each."""
    delivery = str(uuid.uuid4())
    event = json.loads(order["body"])["event"]
    failures = []
    for receiver, send in ((order["url"], _post), (order["command"], _run)):
        if not receiver:
            continue
        reason = ""
        for pause_s in pauses_s:
            time.sleep(pause_s)
            try:
                send(order, delivery, event)
                break
            except UndeliverableError as error:
                reason = str(error)
                failures.append(f"{event}: {_name(order, send)}: {reason}")
                break
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                reason = str(error) or type(error).__name__
        else:
            tries = f", after {len(pauses_s)} attempts" if len(pauses_s) > 1 else ""
            failures.append(f"{event}: {_name(order, send)}: {reason}{tries}")
    return failures


def _post(order: Mapping[str, Any], delivery: str, event: str) -> None:
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "mlctl",
        "X-Mlctl-Event": event,
        "X-Mlctl-Delivery-Id": delivery,
        "X-Mlctl-Timestamp": timestamp,
    }
    if order["secret"]:
        headers["X-Mlctl-Signature"] = signature(order["secret"], delivery, timestamp, order["body"])
    request = urllib.request.Request(order["url"], order["body"].encode(), headers, method="POST")  # noqa: S310 - checked
    try:
        urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < 500 and error.code not in RETRIED_STATUSES:
            raise UndeliverableError(f"status {error.code}") from None
        raise OSError(f"status {error.code}") from None
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from None


def _run(order: Mapping[str, Any], delivery: str, event: str) -> None:
    environment = {**os.environ, "MLCTL_EVENT": event, "MLCTL_DELIVERY_ID": delivery}
    done = subprocess.run(
        order["command"],
        input=order["body"].encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise OSError(f"exit code {done.returncode}")


def _name(order: Mapping[str, Any], send: Any) -> str:
    """Return the receiver without what may be secret: many services have a key in the path of their address."""
    if send is _run:
        return str(order["command"][0])
    parts = urlsplit(order["url"])
    return f"{parts.scheme}://{parts.hostname}/***"


def main() -> None:
    """Send the message on stdin, and log what was not delivered."""
    order = json.loads(sys.stdin.buffer.read())
    failures = deliver(order)
    if failures and order["log"]:
        descriptor = os.open(order["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            file.writelines(f"{at} {failure}\n" for failure in failures)


if __name__ == "__main__":
    main()
