"""A real MariaDB server with a password, on a free port."""

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
from typing import Any

from tests.parts import eventually, free_port

PASSWORD = "maria-Secret/47@11"  # it has characters that a URI must escape
NUMBERS = itertools.count(1)


def program() -> str | None:
    """Return the path of the server; on Debian it is not in every user's path."""
    return shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")


@dataclass
class MariaDb:
    """A running server."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def uri(self, database: str) -> str:
        """Return a database's URI, without the password."""
        return f"mysql://mlflow@127.0.0.1:{self.port}/{database}"

    def new_database(self, characters: str = "utf8mb4 COLLATE utf8mb4_bin") -> str:
        """Create an empty database and return its name."""
        name = f"db{next(NUMBERS)}"
        with contextlib.closing(self.connect()) as connection:
            connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET {characters}")
        return name

    def connect(self, database: str | None = None) -> Any:
        """Return a connection of the driver, which commits each statement."""
        import pymysql

        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="mlflow",
            password=PASSWORD,
            database=database,
            autocommit=True,
        )

    def start(self) -> None:
        """Start the server and return when it accepts connections."""
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [str(program()), "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.folder}/socket",
             "--bind-address=127.0.0.1", f"--port={self.port}", "--innodb-flush-log-at-trx-commit=0",
             "--skip-log-bin", *_run_as()],
            stdout=log, stderr=log,
        )  # fmt: skip
        eventually(self._answers)

    def stop(self) -> None:
        """Stop the server at once, as in a crash."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        import pymysql

        with contextlib.suppress(pymysql.Error):
            self.connect().close()
            return True
        return False


@contextlib.contextmanager
def running() -> Iterator[MariaDb]:
    """Run a MariaDB server for the duration of the block."""
    folder = Path(tempfile.mkdtemp(prefix="mlctl-mariadb-"))
    try:
        if _run_as():
            shutil.chown(folder, "mysql")
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", "--skip-test-db", *_run_as()],
            check=True, capture_output=True,
        )  # fmt: skip
        statements = (
            f"FLUSH PRIVILEGES;\nCREATE USER mlflow@'%' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO mlflow@'%' WITH GRANT OPTION;\n"
        )
        subprocess.run(
            [str(program()), "--no-defaults", "--bootstrap", f"--datadir={folder}/data", *_run_as()],
            input=statements.encode(), check=True, capture_output=True,
        )  # fmt: skip
        server = MariaDb(folder, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_as() -> tuple[str, ...]:
    return ("--user=mysql",) if os.geteuid() == 0 else ()
