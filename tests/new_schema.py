"""Create the tables of a new SQLite store from a copy, because MLflow's migrations take two seconds of each test."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

MODULE = "mlflow.store.db.utils"


class CopiedSchema:
    """In place of MLflow's `_upgrade_db`: migrates a new SQLite database by copying an earlier one."""

    def __init__(self, migrate: Any, initial_tables: set[str], template: Path) -> None:
        self._migrate, self._initial_tables, self._template = migrate, initial_tables, template

    def __call__(self, engine: Any) -> None:
        if engine.dialect.name != "sqlite" or not engine.url.database or not self._is_new(engine):
            self._migrate(engine)
            return
        with FileLock(f"{self._template}.lock"):
            if not self._template.exists():
                self._migrate(engine)
                unfinished = self._template.with_suffix(".unfinished")
                unfinished.unlink(missing_ok=True)
                with sqlite3.connect(engine.url.database) as made:
                    made.execute("VACUUM INTO ?", (str(unfinished),))
                made.close()
                unfinished.rename(self._template)
                return
        engine.dispose()
        template, target = sqlite3.connect(self._template), sqlite3.connect(engine.url.database)
        template.backup(target)
        template.close()
        target.close()

    def _is_new(self, engine: Any) -> bool:
        with engine.connect() as connection:
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
            if {name for (name,) in names} != self._initial_tables:
                return False
            # a quoted name cannot be a parameter; these come from MLflow's own metadata
            tables = (f'SELECT 1 FROM "{name}" LIMIT 1' for name in self._initial_tables)
            return not any(connection.exec_driver_sql(query).first() for query in tables)


def use_copies(template: Path) -> None:
    """Let MLflow's clients in this process copy the tables, if MLflow is imported already."""
    utils = sys.modules.get(MODULE)
    migrate = getattr(utils, "_upgrade_db", None)  # the module may be about to be imported in a thread
    if migrate is not None and not isinstance(migrate, CopiedSchema):
        assert utils
        utils._upgrade_db = CopiedSchema(migrate, set(utils.InitialBase.metadata.tables), template)


def create_empty(folder: Path, template: Path) -> None:
    """Put an SQLite store without any rows, as MLflow creates it first, into a folder as mlflow.db."""
    import sqlalchemy
    from mlflow.store.db import utils

    use_copies(template)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mlflow.db"
    if not template.exists():
        engine = sqlalchemy.create_engine(f"sqlite:///{file}")
        utils._initialize_tables(engine)
        engine.dispose()
        return
    shutil.copy(template, file)
