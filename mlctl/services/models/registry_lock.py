"""A lock of a registered model that needs nothing but the model's tags: Lamport's bakery algorithm.

No store offers "change this tag if nobody else has", and a stock tracking server offers no lock. So each writer adds a
tag of its own, takes a number that is higher than all it can read, and waits until no other writer has a lower one.
Tags are read in one query, so all writers agree on the order.

A writer that was killed leaves its tag behind. The others ignore it once its process is gone or, if it ran on another
machine, once its tag has not changed for `LEASE_S`. The next holder completes or voids what that writer had begun, and
deletes the tag (see `registry_state`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import time
from collections.abc import Iterator, Mapping

from mlctl import machine
from mlctl.adapters.tracking.registry import Registry
from mlctl.domain.tags import LOCK_PREFIX
from mlctl.errors import RefusedError

LEASE_S, RENEW_S = 12.0, 3.0
GRACE_S = 0.5  # a request of a killed process may still reach the store
WAIT_S, PAUSE_S = 120.0, 0.02
CHOOSING = 0


class ModelLock:
    """The turn of this process to write to a model. Its `id` ends the key of the record that it writes."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.id = secrets.token_hex(6)
        self.is_writing = (
            False  # from the first write of a move to its last: what happens then must be finished
        )
        self._registry, self._name = registry, name
        self._number, self._renewals, self._written_at = CHOOSING, 0, 0.0
        self._seen: dict[str, tuple[str, float]] = {}  # another writer's tag -> its value, and since when

    def acquire(self) -> None:
        """Wait for this writer's turn. Raises RefusedError if it does not come within `WAIT_S`."""
        self._write()
        tags = self._read()
        self._number = 1 + max((_number(value) for value in tags.values()), default=0)
        self._write()
        deadline = time.monotonic() + WAIT_S
        while self._must_wait():
            if time.monotonic() > deadline:
                self.release()
                raise RefusedError(f"other processes keep changing {self._name}", "try again")
            time.sleep(PAUSE_S * random.uniform(1, 2))  # noqa: S311 - no secret
            self.renew()

    def renew(self) -> None:
        """Show the others that this writer is alive. Raises RefusedError if they have given it up meanwhile."""
        if time.monotonic() - self._written_at < RENEW_S:
            return
        if self._tag not in self._read():
            raise RefusedError(
                f"the store answered too slowly, and another process has changed {self._name} meanwhile",
                "try again",
            )
        self._renewals += 1
        self._write()

    def release(self) -> None:
        """Let the next writer go on."""
        self._registry.delete_model_tag(self._name, self._tag)

    def abandoned(self, tags: Mapping[str, str]) -> list[str]:
        """Return the tags of writers that were killed."""
        return [tag for tag, value in tags.items() if self._is_other(tag) and self._is_abandoned(tag, value)]

    @property
    def _tag(self) -> str:
        return LOCK_PREFIX + self.id

    def _is_other(self, tag: str) -> bool:
        return tag.startswith(LOCK_PREFIX) and tag != self._tag

    def _must_wait(self) -> bool:
        """Return whether a living writer is choosing its number, or has a lower one."""
        own = (self._number, self._tag)
        waiting = False
        for tag, value in self._read().items():
            if self._is_other(tag) and not self._is_abandoned(tag, value):
                waiting |= _number(value) == CHOOSING or (_number(value), tag) < own
        return waiting

    def _is_abandoned(self, tag: str, value: str) -> bool:
        now = time.monotonic()
        known, since = self._seen.setdefault(tag, (value, now))
        if known != value:
            self._seen[tag] = value, now
            return False
        return now - since > (GRACE_S if _has_ended(value) else LEASE_S)

    def _read(self) -> dict[str, str]:
        tags = self._registry.get_model(self._name).tags
        return {tag: value for tag, value in tags.items() if tag.startswith(LOCK_PREFIX)}

    def _write(self) -> None:
        entry = {
            "number": self._number,
            "machine": machine.identity(),
            "pid": os.getpid(),
            "birth": machine.birth(os.getpid()),
            "renewals": self._renewals,
        }
        self._registry.set_model_tag(self._name, self._tag, json.dumps(entry))
        self._written_at = time.monotonic()


@contextlib.contextmanager
def model_lock(registry: Registry, name: str) -> Iterator[ModelLock]:
    """Hold the lock of a model; raises as `ModelLock.acquire` does, and NotFoundError if there is no such model."""
    lock = ModelLock(registry, name)
    try:
        lock.acquire()
        yield lock
    finally:
        if not lock.is_writing:  # otherwise the next writer finishes or voids the move
            with contextlib.suppress(
                Exception
            ):  # the model may be gone, or the store; the others will notice
                lock.release()


def lock_ids(tags: Mapping[str, str]) -> set[str]:
    """Return the ids of all writers that hold a model's lock, wait for it, or were killed meanwhile."""
    return {tag.removeprefix(LOCK_PREFIX) for tag in tags if tag.startswith(LOCK_PREFIX)}


def _entry(value: str) -> dict[str, object]:
    with contextlib.suppress(ValueError):  # anyone can edit a tag
        if isinstance(entry := json.loads(value), dict):
            return entry
    return {}


def _number(value: str) -> int:
    number = _entry(value).get("number")
    return number if isinstance(number, int) else CHOOSING


def _has_ended(value: str) -> bool:
    """Return whether a writer's process ran on this machine and is gone."""
    entry = _entry(value)
    pid, birth = entry.get("pid"), entry.get("birth")
    if entry.get("machine") != machine.identity() or not isinstance(pid, int) or birth is None:
        return False
    return machine.birth(pid) != birth
