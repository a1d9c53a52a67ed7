"""MySQL and MariaDB: a connection, and what MLflow's own code lacks for them.

PostgreSQL's driver reads PGPASSWORD; PyMySQL reads no such variable. So that a URI never needs a password, which
logs and lists of processes would show, the functions here add it when SQLAlchemy connects. They also add the variables
of TLS, which MLflow gives only to its own engines.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from typing import Any

SCHEME = "mysql+pymysql"
PASSWORD_VARIABLE = "MYSQL_PWD"  # noqa: S105  # MySQL's own programs read it
CONNECT_TIMEOUT_S = 2
ENVIRONMENT = {  # option of PyMySQL: variable
    "password": PASSWORD_VARIABLE,
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
    if password:
        options.setdefault("password", password)
    _add_environment(options)
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


def use_environment() -> None:
    """Let all engines of this process use MYSQL_PWD and the variables of TLS, if their URI has no such option."""
    if "environment" in _installed:
        return
    _installed.add("environment")
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "do_connect")
    def _connect(dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        if dialect.name in {"mysql", "mariadb"}:
            _add_environment(options)


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


def _add_environment(options: MutableMapping[str, Any]) -> None:
    for name, variable in ENVIRONMENT.items():
        if value := os.environ.get(variable):
            options.setdefault(name, value)
