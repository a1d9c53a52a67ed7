"""Resuming a killed run, with torn files and on another machine; it is refused if it would be another run."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.parts import eventually
from tests.trained import TINY
from tests.training_run import assert_complete, client, kinds, only_run, record
from tests.zygote import MlctlProcess, Zygote

EmptyStore = Callable[[Path], str]
EPOCHS = 12
# with dropout, whose random numbers a resumed training continues; it waits in epoch 9 as long as there is a file `hold`
RECIPE = f"""{TINY}
    def callbacks(self, hp, data):
        import time
        from pathlib import Path

        import keras

        def hold(epoch, logs):
            time.sleep(0.02)
            while epoch >= 8 and Path("hold").exists():
                time.sleep(0.01)

        return [keras.callbacks.LambdaCallback(on_epoch_begin=hold)]
""".replace("outputs = keras", "hidden = keras.layers.Dropout(0.3)(hidden)\n        outputs = keras")


@dataclass
class Killed:
    """A killed run: a store, its artifacts, and the state folder of its machine."""

    zygote: Zygote
    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def run_id(self) -> str:
        return str(only_run(self.uri, "killed").info.run_id)

    def mlctl(self, *arguments: str, state: Path | None = None) -> MlctlProcess:
        log = self.folder / f"log-{len(list(self.folder.glob('log-*')))}"
        return self.zygote.start(arguments, state or self.state, log, self.uri)

    def tag(self, name: str, value: str) -> None:
        client(self.uri).set_tag(self.run_id, name, value)

    def histories(self) -> dict[str, Any]:
        mlflow_client, run = client(self.uri), only_run(self.uri, "killed")
        return {
            name: sorted(
                (point.step, point.value) for point in mlflow_client.get_metric_history(run.info.run_id, name)
            )
            for name in run.data.metrics
        }


@pytest.fixture(scope="module")
def original(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory, empty_store: EmptyStore) -> Killed:
    """Train in a folder of code with uncommitted changes; kill it after its checkpoint was uploaded."""
    killed = Killed(zygote, tmp_path_factory.mktemp("killed"))
    empty_store(killed.folder)
    killed.state.mkdir()
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "-C", str(killed.state)]
    (killed.state / "notes.txt").write_text("before\n")
    for command in (["init", "-q"], ["add", "notes.txt"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    (killed.state / "notes.txt").write_text("after\n")
    (killed.state / "tiny.py").write_text(RECIPE)
    (killed.state / "hold").touch()
    run = killed.mlctl(
        "train",
        "tiny.py",
        "--epochs",
        str(EPOCHS),
        "--set",
        "schedule=constant",
        "--experiment",
        "killed",
        "--checkpoint-every",
        "0.01s",
    )

    def uploaded() -> bool:
        folder = record(killed.state)
        if folder is None or kinds(killed.state)["metrics"] < 4:
            return False
        entries = [
            json.loads(line)
            for line in (folder / "journal.jsonl").read_bytes().splitlines(True)
            if line.endswith(b"\n")
        ]
        paths = [entry.get("path", "") for entry in entries]
        sent = int((folder / "sent").read_text() or 0) if (folder / "sent").exists() else 0
        return sum("checkpoint/" in path and path.endswith(".ckpt") for path in paths[:sent]) >= 4

    eventually(lambda: uploaded() or run.poll() is not None, 120, 0.005)
    run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, run.output
    (killed.state / "hold").unlink()
    return killed


@pytest.fixture
def killed(original: Killed, tmp_path: Path) -> Killed:
    """A copy of the killed run that a test may change."""
    return copied(original, tmp_path / "copy")


def copied(original: Killed, folder: Path) -> Killed:
    shutil.copytree(original.folder, folder, ignore=shutil.ignore_patterns("log-*"))
    with sqlite3.connect(folder / "mlflow.db") as store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(original.folder), str(folder))
            )
    for path in folder.glob("state/runs/*/run.json"):
        path.write_text(path.read_text().replace(str(original.folder), str(folder)))
    return Killed(original.zygote, folder)


@pytest.fixture(scope="module")
def histories(original: Killed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The histories of the same training, resumed on its own machine by one of two simultaneous resumes."""
    here = copied(original, tmp_path_factory.mktemp("resumed") / "copy")
    (here.state / "hold").touch()
    first = here.mlctl("resume", "last")
    eventually(lambda: kinds(here.state)["resume"] == 1, 60, 0.005)
    second = here.mlctl("resume", "last")
    assert second.wait() == 4, second.output
    assert "another process is writing run" in second.output
    (here.state / "hold").unlink()
    assert first.wait() == 0, first.output
    assert "resuming after epoch" in first.output
    assert_complete(here.uri, "killed", EPOCHS)
    assert record(here.state) is None

    again = here.mlctl("resume", "last", "-o", "json")
    assert again.wait() == 0, again.output
    assert "is finished" in again.output
    assert '"status": "FINISHED"' in again.output
    return here.histories()


def test_two_simultaneous_resumes_train_each_epoch_once(histories: dict[str, Any]) -> None:
    assert [step for step, _ in histories["loss"]] == list(range(1, EPOCHS + 1))


def test_a_lost_run_is_resumed_on_another_machine(
    killed: Killed, histories: dict[str, Any], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    killed.tag("mlctl.heartbeat", f"{time.time():.0f}")
    alive = killed.mlctl("resume", "last", state=elsewhere)
    assert alive.wait() == 4, alive.output
    assert "alive on another machine" in alive.output
    killed.tag("mlctl.heartbeat", "1000")
    run = killed.mlctl("resume", "last", state=elsewhere)
    assert run.wait() == 0, run.output
    assert "resuming after epoch" in run.output
    assert_complete(killed.uri, "killed", EPOCHS)
    assert killed.histories() == histories
    assert record(elsewhere) is None


def test_torn_files_and_more_epochs_do_not_change_earlier_epochs(
    killed: Killed, histories: dict[str, Any]
) -> None:
    folder = record(killed.state)
    assert folder
    newest = max((folder / "checkpoints").glob("0*.ckpt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind":"metrics","val')
    run = killed.mlctl("resume", "last", "--epochs", str(EPOCHS + 2))
    assert run.wait() == 0, run.output
    assert f"resuming after epoch {int(newest.stem[:5]) - 1}" in run.output
    assert_complete(killed.uri, "killed", EPOCHS + 2)
    assert killed.histories()["val_loss"][:EPOCHS] == histories["val_loss"]


def test_changes_are_refused_and_recorded_with_force(killed: Killed) -> None:
    killed.tag("mlctl.version.keras", "0.1")
    killed.tag("mlctl.data.sha256", "0" * 64)
    killed.tag("mlctl.recipe_sha256", "0" * 64)
    refused = killed.mlctl("resume", "last")
    assert refused.wait() == 4, refused.output
    for change in ("keras (0.1 then", "data (SHA-256 000000000000 then", "tiny.py", "--force"):
        assert change in refused.output
    forced = killed.mlctl("resume", "last", "--force")
    assert forced.wait() == 0, forced.output
    assert (
        "keras (0.1 then"
        in assert_complete(killed.uri, "killed", EPOCHS).data.tags["mlctl.resumed_in_spite_of"]
    )


def test_a_cosine_schedule_takes_no_more_epochs(killed: Killed) -> None:
    request = only_run(killed.uri, "killed").data.tags["mlctl.request"]
    killed.tag("mlctl.request", request.replace('"constant"', '"cosine"'))
    refused = killed.mlctl("resume", "last", "--epochs", "20")
    assert refused.wait() == 4, refused.output
    assert f"the cosine schedule spans {EPOCHS} epochs" in refused.output


def test_a_damaged_line_is_reported(killed: Killed) -> None:
    folder = record(killed.state)
    assert folder
    lines = (folder / "journal.jsonl").read_bytes().splitlines(True)
    lines[2] = b"\0" * 40 + b"\n"
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    run = killed.mlctl("resume", "last")
    assert run.wait() == 8, run.output
    assert "line 3 is damaged" in run.output
    assert "Traceback" not in run.output


def test_code_and_requirements_can_be_downloaded(killed: Killed, tmp_path: Path) -> None:
    for name, part in (("code.diff", "+after"), ("requirements.txt", "tensorflow==")):
        run = killed.mlctl("runs", "artifacts", "last", "--get", name, "--to", str(tmp_path))
        assert run.wait() == 0, run.output
        assert part in (tmp_path / name).read_text()


def test_an_offline_run_is_resumed_and_sent(zygote: Zygote, tmp_path: Path, empty_store: EmptyStore) -> None:
    state, uri = tmp_path / "state", empty_store(tmp_path)
    run = zygote.start(
        ["train", "digits", "--epochs", "4", "--offline", "--experiment", "off"], state, tmp_path / "log", uri
    )
    eventually(lambda: kinds(state)["metrics"] >= 2, 120, 0.005)
    run.send(signal.SIGKILL)
    run.wait()
    folder = record(state)
    assert folder
    resumed = zygote.start(["resume", folder.name[:8]], state, tmp_path / "log2", uri)
    assert resumed.wait() == 0, resumed.output
    synced = zygote.start(["sync", "-o", "json"], state, tmp_path / "log3", uri)
    assert synced.wait() == 0, synced.output
    assert_complete(uri, "off", 4)
    assert record(state) is None


def test_reproduce_compares_metrics_and_refuses_changed_data(
    zygote: Zygote, tmp_path: Path, empty_store: EmptyStore
) -> None:
    state, uri = tmp_path / "state", empty_store(tmp_path)
    state.mkdir()
    (state / "tiny.py").write_text(TINY)

    def mlctl(*arguments: str) -> MlctlProcess:
        return zygote.start(arguments, state, tmp_path / f"log-{len(list(tmp_path.glob('log-*')))}", uri)

    assert mlctl("train", "tiny.py", "--epochs", "2", "--experiment", "again").wait() == 0
    run_id = only_run(uri, "again").info.run_id
    same = mlctl("reproduce", run_id, "-o", "json")
    assert same.wait() == 0, same.output

    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        store.execute(
            "UPDATE metrics SET value = 0.5 WHERE run_uuid = ? AND key = 'loss' AND step = 2", (run_id,)
        )
    differs = mlctl("reproduce", run_id)
    assert differs.wait() == 4, differs.output
    assert "metrics differ on the same versions" in differs.output

    client(uri).set_tag(run_id, "mlctl.data.sha256", "0" * 64)
    changed = mlctl("reproduce", run_id)
    assert changed.wait() == 4, changed.output
    assert "this has changed since the run was made: data" in changed.output
