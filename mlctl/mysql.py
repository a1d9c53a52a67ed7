"""MySQL and MariaDB: a connection, and what MLflow's own code lacks for them.

PostgreSQL's driver reads PGPASSWORD; PyMySQL reads no such variable. So that a URI never needs a password, which
logs and lists of processes would show, the functions here add it when SQLAlchemy connects.
"""

from __future__ import annotations

import os
import re
from typing import Any

SCHEME = "mysql+pymysql"
PASSWORD_VARIABLE = "MYSQL_PWD"  # noqa: S105  # MySQL's own programs read it
CONNECT_TIMEOUT_S = 2
SSL_OPTIONS = {  # MLflow's own variables
    "ssl_ca": "MLFLOW_MYSQL_SSL_CA",
    "ssl_cert": "MLFLOW_MYSQL_SSL_CERT",
    "ssl_key": "MLFLOW_MYSQL_SSL_KEY",
}
_installed: set[str] = set()


def is_mysql(uri: str) -> bool:
    """Return whether a URI names a database of MySQL or MariaDB."""
    return uri.startswith(("mysql:", "mysql+", "mariadb:", "mariadb+"))


def connect(
    uri: str, password: str | None = None, *, timeout_s: float = CONNECT_TIMEOUT_S, autocommit: bool = False
) -> Any:
    """Return a connection of PyMySQL in which `||` joins texts, as in other databases.

    Args:
        uri: The database's URI.
        password: The password, if the URI has none; by default MYSQL_PWD.
        timeout_s: Time limit for connecting; a query may take longer.
        autocommit: Whether each statement is a transaction.
    """
    import pymysql  # belongs to an extra
    from sqlalchemy import create_engine, make_url

    url = make_url(uri)
    _, options = create_engine(url).dialect.create_connect_args(url)
    options.update(
        {name: value for name, variable in SSL_OPTIONS.items() if (value := os.environ.get(variable))}
    )
    if password or os.environ.get(PASSWORD_VARIABLE):
        options.setdefault("password", password or os.environ[PASSWORD_VARIABLE])
    options.pop("client_flag", None)  # SQLAlchemy counts the rows that were found, not changed
    connection = pymysql.connect(
        **options,
        connect_timeout=timeout_s,
        read_timeout=timeout_s,  # a host that accepts the connection and says nothing
        autocommit=autocommit,
        init_command="SET SESSION sql_mode = concat(@@sql_mode, ',PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO')",
    )
    connection._read_timeout = None  # type: ignore[attr-defined]
    return connection


def use_password_variable() -> None:
    """Let all engines of this process use MYSQL_PWD if their URI has no password."""
    if "password" in _installed:
        return
    _installed.add("password")
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "do_connect")
    def _add_password(dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        if dialect.name in {"mysql", "mariadb"} and PASSWORD_VARIABLE in os.environ:
            options.setdefault("password", os.environ[PASSWORD_VARIABLE])


def allow_auth_migrations() -> None:
    """Let the migrations of basic-auth's tables work on MySQL.

    They give two foreign keys one name, which is unique in MySQL; no later migration uses that name.
    """
    if "migrations" in _installed:
        return
    _installed.add("migrations")
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "before_cursor_execute", retval=True)
    def _drop_name(
        connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        if connection.dialect.name in {"mysql", "mariadb"} and "CREATE TABLE" in statement:
            statement = re.sub(r"CONSTRAINT fk_user_id (?=FOREIGN KEY)", "", statement)
        return statement, parameters
