"""A real PostgreSQL server with a password, on a free port."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts import eventually, free_port

PASSWORD = "pg-Secret-4711"
NUMBERS = itertools.count(1)


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; on Debian it is not in the path."""
    debian_folder = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    program = shutil.which("pg_isready") if debian_folder is None else None
    return Path(program).parent if program else debian_folder


@dataclass
class Postgres:
    """A running server. PostgreSQL refuses to run as root, so a test that does runs its programs as `user`."""

    folder: Path
    port: int
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    def uri(self, database: str) -> str:
        """Return a database's URI, without the password."""
        return f"postgresql://mlflow@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its name."""
        import psycopg2

        name = f"db{next(NUMBERS)}"
        connection = psycopg2.connect(self.uri("postgres"), password=PASSWORD)
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
        connection.close()
        return name

    def start(self) -> None:
        """Start the server and return when it accepts connections."""
        settings = ("fsync=off", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}")
        command = [
            str(_programs() / "postgres"),
            *("-D", str(self.folder / "data")),
            *("-p", str(self.port)),
            *(argument for setting in settings for argument in ("-c", setting)),
        ]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, user=self.user)
        ready = [str(_programs() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        eventually(lambda: subprocess.run(ready, check=False).returncode == 0)

    def stop(self) -> None:
        """Stop the server at once, as in a crash."""
        if self.process:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """Run a PostgreSQL server for the duration of the block."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="mlctl-pg-"))
    if user:
        shutil.chown(folder, user)
    try:
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        subprocess.run(
            [_programs() / "initdb", "-D", folder / "data", "-U", "mlflow", "-A", "scram-sha-256",
             f"--pwfile={password}", "--no-sync", "--locale=C", "-E", "UTF8"],
            check=True, capture_output=True, user=user,
        )  # fmt: skip
        server = Postgres(folder, free_port(), user)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    folder = programs()
    assert folder
    return folder
