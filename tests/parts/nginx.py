"""The files of `mlctl export server --to nginx`, run by a real nginx on a free port."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.parts import eventually, free_port


def program() -> str:
    """Return the path of nginx; on Debian it is not in every user's path."""
    return shutil.which("nginx") or "/usr/sbin/nginx"


def make_certificate(folder: Path) -> Path:
    """Write tls/cert.pem and tls/key.pem for localhost; return the certificate."""
    (folder / "tls").mkdir(exist_ok=True)
    cert = folder / "tls" / "cert.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-keyout", folder / "tls" / "key.pem", "-out", cert),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert


def free_ports(conf: Path) -> int:
    """Let the exported files listen on free ports; return that of TLS."""
    port = free_port()
    text = conf.read_text().replace("listen 443", f"listen 127.0.0.1:{port}")
    conf.write_text(text.replace("listen 80", f"listen 127.0.0.1:{free_port()}"))
    return port


def without_passwords(conf: Path) -> None:
    """Remove nginx's own password protection, as for a server with --auth."""
    conf.write_text(re.sub(r"  auth_basic .*\n  auth_basic_user_file .*\n", "", conf.read_text()))


@contextlib.contextmanager
def running(folder: Path, ready_url: str, cert: Path) -> Iterator[None]:
    """Run nginx with the files of a folder until the block ends."""
    # as another user, nginx's workers could not read these files
    user = "user root;" if os.geteuid() == 0 else ""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program(), "-p", folder, "-c", "nginx.conf", "-g", f"daemon off; {user}"], stdout=log, stderr=log
        )
    try:
        ask = ["curl", "-sf", "--noproxy", "*", "--cacert", cert, ready_url]
        eventually(lambda: subprocess.run(ask, capture_output=True).returncode == 0, 10)
        yield
    finally:
        process.terminate()
        process.wait()
