"""What the first version wrote still loads, resumes, syncs, serves and promotes. README.md lists what it is."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.warm_server import warm_command

ARCHIVE = Path(__file__).with_name("version_0_1.tar.xz")
WRITTEN_IN = "/tmp/compat"


@dataclass(frozen=True)
class EarlierProject:
    """The unpacked archive, with its paths rewritten to where it lies now."""

    root: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run mlctl in the project, and require that it succeeds."""
        environment = {**os.environ, "MLCTL_STATE_DIR": str(self.root / "state")}
        done = subprocess.run(
            [*warm_command(environment), *arguments],
            cwd=self.root / "project",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """Return the JSON answer of a command."""
        return json.loads(self.run(*arguments, "-o", "json").stdout)


def rewrite_database(file: Path, new: str) -> None:
    """Replace the archive's folder in every text of every table."""
    with sqlite3.connect(file) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                    connection.execute(
                        f'UPDATE {table} SET "{column}" = REPLACE("{column}", ?, ?) WHERE "{column}" LIKE ?',
                        (WRITTEN_IN, new, f"%{WRITTEN_IN}%"),
                    )
    connection.close()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> EarlierProject:
    root = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    for file in root.rglob("*"):
        if file.suffix in {".json", ".jsonl", ".yaml", ""} and file.is_file():
            content = file.read_bytes()
            if WRITTEN_IN.encode() in content:
                file.write_bytes(content.replace(WRITTEN_IN.encode(), str(root).encode()))
    rewrite_database(root / "project" / "mlflow.db", str(root))
    return EarlierProject(root)


def test_runs_are_listed_and_shown(earlier: EarlierProject) -> None:
    runs = {run["run_name"]: run for run in earlier.json("runs", "list", "--limit", "50")}
    assert {"first", "second", "whole"} <= set(runs)
    whole = json.loads((earlier.root / "whole.json").read_text())
    assert runs["whole"]["metrics"] == whole["metrics"]
    shown = earlier.json("runs", "show", "whole")
    assert shown["data"]["sha256"] == whole["data"]["sha256"]
    assert shown["environment"]["version.keras"] == whole["tags"]["mlctl.version.keras"]


def test_a_killed_run_resumes_to_the_same_values(earlier: EarlierProject) -> None:
    resumed = earlier.json("resume", "killed", "--force")  # packages may have changed since
    whole = json.loads((earlier.root / "whole.json").read_text())
    assert resumed["status"] == "FINISHED"
    added = set(resumed["metrics"]) - set(whole["metrics"])  # scores that the earlier version did not have
    scores = ("auc", "average_precision", "brier", "log_loss")
    assert added == {f"{of}_{score}" for of in ("val", "best_val", "test") for score in scores}
    kept = {name: value for name, value in resumed["metrics"].items() if name not in added}
    assert kept == pytest.approx(whole["metrics"], rel=1e-4)


def test_an_offline_run_is_synced(earlier: EarlierProject) -> None:
    synced = earlier.json("sync")
    assert "FINISHED" in {run["status"] for run in synced}
    assert earlier.json("runs", "show", "offline")["status"] == "FINISHED"


@pytest.mark.long
def test_a_killed_search_continues_after_its_finished_trials(earlier: EarlierProject) -> None:
    search = earlier.json("resume", "search", "--force")
    assert search["status"] == "FINISHED"
    assert [trial["state"] for trial in search["trials"]] == ["done"] * 4


def test_the_history_of_a_model_is_read_and_continued(earlier: EarlierProject) -> None:
    before = earlier.json("models", "history", "Tiny")
    assert [(move["version"], move["reason"]) for move in before] == [("1", "first"), ("2", "second")]
    answer = earlier.json("rollback", "Tiny", "Production", "--reason", "back")
    assert (answer["version"], answer["replaced"]) == ("1", "2")
    promoted = earlier.json("promote", "Tiny", "2", "Production")
    assert (promoted["version"], promoted["replaced"]) == ("2", "1")
    assert [move["version"] for move in earlier.json("models", "history", "Tiny")] == ["1", "2", "1", "2"]


@pytest.mark.live
def test_a_logged_model_serves_and_an_api_key_holds(earlier: EarlierProject) -> None:
    key = (earlier.root / "key.txt").read_text().strip()
    endpoint = earlier.json("serve", "Tiny/2", "--detach", "--port", "0", "--api-key-file", "keys")
    try:
        request = urllib.request.Request(
            f"{endpoint['url']}/invocations",
            data=json.dumps({"inputs": [[1.0] * 6, [-1.0] * 6]}).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            (positive,), (negative,) = json.load(response)["predictions"]
        assert positive > 0.5 > negative
    finally:
        earlier.run("endpoints", "stop", endpoint["name"])


def test_state_files_of_processes_that_are_gone_are_read(earlier: EarlierProject) -> None:
    servers = earlier.json("server-status")
    assert (servers["name"], servers["status"]) == ("main", "gone")
    assert isinstance(earlier.json("endpoints", "list"), list)
