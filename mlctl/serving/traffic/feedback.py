"""POST /feedback: the truth about answered requests, kept in lines of JSON and joined with the log when it is read.

A truth may arrive before its request is in the log, more than once, or for a request that is not logged: it is kept,
and the last one for a request counts.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from mlctl.serving.executor import PredictionExecutor
from mlctl.serving.http_messages import Request, Response
from mlctl.serving.payloads.request_error import RequestError, bad_request, quote
from mlctl.serving.router import Router

PATH = "/feedback"
PATTERN = "feedback-*.jsonl"
MAX_ENTRIES, MAX_TRUTH_BYTES = 10_000, 100_000
MAX_FILE_BYTES, MAX_FILES = 10_000_000, 20
REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
EXAMPLE = '{"request_id": "5f3c-1a", "truth": "setosa"}'


class FeedbackRoute:
    """Keeps what clients report; without a request log there is nothing to join it with, and it refuses."""

    def __init__(self, folder: Path | None, executor: PredictionExecutor) -> None:
        self._folder = folder
        self._executor = executor

    def add_to(self, router: Router) -> None:
        """Add the route."""
        router.add(PATH, self, methods=("POST",))

    async def __call__(self, request: Request) -> Response:
        """Store the truth about one request, or a list of them."""
        if self._folder is None:
            raise RequestError(
                404,
                "NOT_FOUND",
                "this endpoint logs no requests, so that feedback has nothing to belong to",
                "start it with --log-requests 1%",
            )
        body = await request.body()
        work = partial(_store, self._folder, body)
        stored = await self._executor.run(work, size=len(body), kind=PATH)
        return Response(body=orjson.dumps({"stored": stored}))


def read_truths(folder: Path) -> dict[str, Any]:
    """Return the last truth of each request."""
    truths: dict[str, Any] = {}
    for entry in _entries(folder):
        truths[entry["request_id"]] = entry["truth"]
    return truths


def truths_of_rows(
    truths: Mapping[str, Any], request_ids: Sequence[str], places: Sequence[int], output: str = ""
) -> list[Any]:
    """Return the truth of each row about one output; None if it is unknown.

    The truth of a request with several rows is a list, and that of a model with several outputs a dictionary.
    """
    found = []
    for request_id, place in zip(request_ids, places, strict=True):
        truth = truths.get(request_id)
        if output and isinstance(truth, dict):
            truth = truth.get(output)
        if isinstance(truth, list):
            truth = truth[place] if place < len(truth) else None
            if output and isinstance(truth, dict):
                truth = truth.get(output)
        elif place:
            truth = None
        found.append(truth)
    return found


def _store(folder: Path, body: bytes) -> int:
    entries = _parse(body)
    now = round(time.time(), 3)
    lines = b"".join(orjson.dumps({**entry, "time": now}) + b"\n" for entry in entries)
    path = folder / f"feedback-{time.strftime('%Y%m%d', time.gmtime())}-{os.getpid()}.jsonl"
    # one write at the end of the file: a killed worker leaves whole lines, and at most one torn one
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, lines)
        is_full = os.fstat(descriptor).st_size > MAX_FILE_BYTES
    finally:
        os.close(descriptor)
    if is_full:
        path.rename(path.with_stem(f"{path.stem}-{int(now * 1000)}"))
        for oldest in _files(folder)[:-MAX_FILES]:
            oldest.unlink(missing_ok=True)
    return len(entries)


def _parse(body: bytes) -> list[dict[str, Any]]:
    """Return the entries of a request's body. Raises RequestError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise bad_request(f"the body is not JSON: {exc}", f"send {EXAMPLE}, or a list of these") from None
    entries = document if isinstance(document, list) else [document]
    if not entries:
        raise bad_request("the list is empty", f"send {EXAMPLE}, or a list of these")
    if len(entries) > MAX_ENTRIES:
        raise bad_request(f"the list has {len(entries):,} entries", f"send at most {MAX_ENTRIES:,} at a time")
    for number, entry in enumerate(entries):
        where = f" in entry {number}" if isinstance(document, list) else ""
        if not isinstance(entry, dict) or set(entry) != {"request_id", "truth"}:
            raise bad_request(f"request_id and truth are needed, and no other key{where}", f"send {EXAMPLE}")
        request_id = entry["request_id"]
        if not isinstance(request_id, str) or not REQUEST_ID.fullmatch(request_id):
            raise bad_request(
                f"{quote(str(request_id))} is no request id{where}",
                "send the header X-Request-ID of the answer",
            )
        if len(orjson.dumps(entry["truth"])) > MAX_TRUTH_BYTES:
            raise bad_request(f"the truth is too long{where}", f"send at most {MAX_TRUTH_BYTES:,} bytes")
    return entries


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield all entries, the oldest first."""
    found = []
    for path in _files(folder):
        with contextlib.suppress(OSError):
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(orjson.JSONDecodeError):  # a torn line of a killed worker
                    found.append(orjson.loads(line))
    yield from sorted(found, key=lambda entry: entry["time"])


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN), key=lambda path: path.name)
