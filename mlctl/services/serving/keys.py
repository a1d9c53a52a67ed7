"""API keys of endpoints: create, list and revoke them in a file that running endpoints read again."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock

from mlctl.domain.serving import KeyList, NewKey
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UsageError, did_you_mean
from mlctl.files import write_atomically
from mlctl.serving.keys import ApiKey, hash_secret, parse_keys
from mlctl.settings import Settings

KEY_NAME = re.compile(r"[\w.-]{1,64}")
LOCK_TIMEOUT_S = 10


def default_key_file(settings: Settings) -> Path:
    """Return the key file that is used if the user names none."""
    return settings.state_dir / "api-keys"


def create_key(file: Path, name: str) -> NewKey:
    """Create a key. Raises RefusedError if the name is taken."""
    if not KEY_NAME.fullmatch(name):
        raise UsageError(f"invalid key name {name!r}", "use at most 64 letters, digits, - _ and .")
    secret = "mlk_" + secrets.token_urlsafe(32)
    with _edit_keys(file) as keys:
        if any(key.name == name for key in keys):
            raise RefusedError(
                f"there is already a key {name!r}", f"mlctl keys revoke {name}, or choose another name"
            )
        keys.append(ApiKey(name, hash_secret(secret), datetime.now(UTC).date().isoformat()))
    return NewKey(name, secret, str(file))


def list_keys(file: Path) -> KeyList:
    """Return the keys of a file, without their secrets. A file that does not exist has none."""
    return KeyList(str(file), tuple((key.name, key.sha256[:12], key.created) for key in read_keys(file)))


def revoke_key(file: Path, name: str) -> KeyList:
    """Delete a key. Raises NotFoundError if there is none of this name."""
    with _edit_keys(file) as keys:
        names = [key.name for key in keys]
        if name not in names:
            hint = did_you_mean(name, names) or (
                f"keys: {', '.join(names)}"
                if names
                else "the file has no keys; create one: mlctl keys new NAME"
            )
            raise NotFoundError(f"there is no key {name!r} in {file}", hint)
        keys[:] = [key for key in keys if key.name != name]
    return list_keys(file)


def read_keys(file: Path) -> list[ApiKey]:
    """Return the keys of a file. Raises BadDataError if it is not a key file."""
    try:
        return parse_keys(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (ValueError, UnicodeDecodeError) as exc:
        raise BadDataError(
            f"{file} is not a key file: {exc}", "mlctl keys new NAME --api-key-file FILE creates one"
        ) from exc


@contextmanager
def _edit_keys(file: Path) -> Iterator[list[ApiKey]]:
    """Yield the keys of a file, and write the changed list if the block raises nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT_S):
        keys = read_keys(file)
        yield keys
        text = "".join(f"{key.name} {key.sha256} {key.created}\n" for key in keys)
        write_atomically(file, text.encode(), durable=False, mode=0o600)
