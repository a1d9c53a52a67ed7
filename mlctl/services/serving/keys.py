"""API keys of endpoints: made, listed and revoked in a file that running endpoints read again."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import filelock

from mlctl.domain.serving import KeyList, NewKey
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UsageError, did_you_mean
from mlctl.serving.keys import Key, digest, parse
from mlctl.settings import Settings


def default_file(settings: Settings) -> Path:
    """Return the key file that is used where none is named."""
    return settings.state_dir / "api-keys"


def new(file: Path, name: str) -> NewKey:
    """Make a key; raises RefusedError where the name is taken."""
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise UsageError(f"{name!r} cannot be a key's name", "letters, digits, - _ and ., at most 64")
    secret = "mlk_" + secrets.token_urlsafe(32)

    def add(keys: list[Key]) -> list[Key]:
        if any(key.name == name for key in keys):
            raise RefusedError(
                f"there is a key {name!r} already", f"mlctl keys revoke {name}, or another name"
            )
        return [*keys, Key(name, digest(secret), datetime.now(UTC).date().isoformat())]

    _change(file, add)
    return NewKey(name, secret, str(file))


def listed(file: Path) -> KeyList:
    """Return the keys of a file; one that is not there has none."""
    return KeyList(str(file), tuple((key.name, key.sha256[:12], key.made) for key in read(file)))


def revoke(file: Path, name: str) -> KeyList:
    """Take a key away; raises NotFoundError where there is none of this name."""

    def take(keys: list[Key]) -> list[Key]:
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            names = [key.name for key in keys]
            hint = did_you_mean(name, names) or f"there are: {', '.join(names) or 'none'}"
            raise NotFoundError(f"there is no key {name!r} in {file}", hint)
        return left

    _change(file, take)
    return listed(file)


def read(file: Path) -> list[Key]:
    """Return the keys of a file; raises BadDataError where it is no key file."""
    try:
        return parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (ValueError, UnicodeDecodeError) as exc:
        raise BadDataError(
            f"{file} is no key file: {exc}", "mlctl keys new NAME --api-key-file FILE makes one"
        ) from exc


def _change(file: Path, change: Callable[[list[Key]], list[Key]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{file}.lock", timeout=10):
        lines = [f"{key.name} {key.sha256} {key.made}\n" for key in change(read(file))]
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as output:
            output.writelines(lines)
        part.replace(file)
