"""`mlctl train`: what a run records, that it repeats, how it fails, and what it shows while it works."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.domain.selection import best_epoch
from mlctl.errors import BadDataError, MlctlError, UsageError
from mlctl.services.runs.listing import show_run
from mlctl.serving.traffic.profile import feature_name, read_profile
from tests.trained import COMMAND, TINY, Trained, environment, mlctl, train_here
from tests.warm_server import warm_command

# -- what a run records -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(digits: Trained) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(digits.uri)


@pytest.fixture(scope="module")
def run(digits: Trained, client: mlflow.MlflowClient) -> mlflow.entities.Run:
    return client.get_run(digits.answer["run_id"])


def history(trained: Trained, metric: str) -> list[tuple[int, float]]:
    points = mlflow.MlflowClient(trained.uri).get_metric_history(trained.answer["run_id"], metric)
    return [(point.step, point.value) for point in points]


def artifact(trained: Trained, client: mlflow.MlflowClient, path: str) -> Path:
    return Path(client.download_artifacts(trained.answer["run_id"], path, str(trained.folder)))


def test_the_answer_has_the_documented_keys(digits: Trained) -> None:
    keys = (
        "run_id run_name experiment status recipe params metrics tags data model_uri tracking_uri duration_s"
    )
    assert set(keys.split()) <= set(digits.answer)
    assert {"source", "sha256", "rows"} <= set(digits.answer["data"])
    assert digits.answer["run_name"] == "first digits"
    assert digits.answer["status"] == "FINISHED"
    assert digits.answer["experiment"] == digits.answer["recipe"] == "digits"
    assert digits.answer["data"]["rows"] == 1797


def test_digits_reach_their_accuracy(digits: Trained) -> None:
    assert digits.answer["metrics"]["test_accuracy"] >= 0.975


def test_params_are_all_values_that_were_set(run: mlflow.entities.Run) -> None:
    assert run.data.params == {
        "epochs": "30",
        "batch_size": "64",
        "learning_rate": "0.003",
        "schedule": "cosine",
        "units": "64",
        "dropout": "0.3",
        "split_seed": "7",
        "seed": "0",
        "precision": "float32",
    }


@pytest.mark.parametrize(
    "metric", ["loss", "accuracy", "val_loss", "val_accuracy", "val_f1", "learning_rate"]
)
def test_a_metric_has_one_point_per_epoch(digits: Trained, metric: str) -> None:
    assert [step for step, _ in history(digits, metric)] == list(range(1, 31))


def test_the_kept_epoch_is_the_best_on_validation(digits: Trained) -> None:
    metrics, objective = digits.answer["metrics"], Objective("val_accuracy", maximize=True)
    points = zip(history(digits, "val_accuracy"), history(digits, "val_loss"), strict=True)
    rows = digits.answer["data"]["splits"]["validation"]
    kept = best_epoch(
        [
            Epoch(step, {"val_accuracy": score, "val_loss": loss}, 0.0, rows)
            for (step, score), (_, loss) in points
        ],
        objective,
    )
    assert kept is not None
    assert metrics["best_epoch"] == kept.number
    assert (metrics["best_val_accuracy"], metrics["best_val_loss"]) == (
        kept.metrics["val_accuracy"],
        kept.metrics["val_loss"],
    )


def test_metrics_of_the_model_have_its_id(digits: Trained, client: mlflow.MlflowClient) -> None:
    model_id = digits.answer["model_uri"].removeprefix("models:/")
    model = client.get_logged_model(model_id)
    assert model.status == "READY"
    assert model.source_run_id == digits.answer["run_id"]
    metrics = {metric.key: metric.value for metric in model.metrics}
    assert metrics["test_accuracy"] == digits.answer["metrics"]["test_accuracy"]
    assert {"best_epoch", "best_val_accuracy", "best_val_f1", "test_f1"} <= set(metrics)
    assert "val_accuracy" not in metrics  # of the last epoch, which is not the kept one


def test_tags_describe_data_code_and_machine(run: mlflow.entities.Run) -> None:
    tags = run.data.tags
    assert tags["team"] == "vision"
    assert tags["mlctl.recipe"] == "digits"
    assert tags["mlctl.objective"] == "max:val_accuracy"
    assert tags["mlctl.data"] == "bundled"
    assert json.loads(tags["mlctl.data.splits"]).keys() == {"train", "validation", "test"}
    assert re.fullmatch("[0-9a-f]{64}", tags["mlctl.data.sha256"])
    assert float(tags["mlctl.peak_memory_mb"]) > 100
    assert float(tags["mlctl.duration_s"]) > 0
    assert tags["mlflow.source.type"] == "LOCAL"
    assert tags["mlflow.source.name"].startswith("mlctl train digits")
    assert not [name for name in tags if name.startswith(("mlctl.version.", "mlctl.machine."))]


def test_versions_and_machine_are_one_file(digits: Trained, client: mlflow.MlflowClient) -> None:
    found = json.loads(artifact(digits, client, "environment.json").read_text())
    assert found["version"]["keras"] == version("keras")
    assert found["machine"].keys() == {"cpu", "gpus", "cores", "os"}
    shown = show_run(digits.uri, digits.answer["run_id"]).environment
    assert shown["version.keras"] == version("keras")


def test_mlflow_shows_what_the_run_and_its_model_are(
    run: mlflow.entities.Run, client: mlflow.MlflowClient
) -> None:
    first, *lines = run.data.tags["mlflow.note.content"].splitlines()
    assert re.fullmatch(r"digits: val_accuracy 0.9\d+ in epoch \d+ of 30, test_accuracy 0.9\d+", first)
    assert f"- **Reproduce:** `mlctl reproduce {run.info.run_id[:8]}`" in lines
    (output,) = run.outputs.model_outputs
    assert client.get_logged_model(output.model_id).name == "digits"


def test_what_the_model_reached_is_at_step_0(digits: Trained) -> None:
    """MLflow's charts draw these values as bars; at a later step, each would be a curve of a single dot."""
    for metric in ("best_epoch", "best_val_accuracy", "test_accuracy"):
        assert [step for step, _ in history(digits, metric)] == [0]


def test_the_data_is_an_input_of_the_run(run: mlflow.entities.Run) -> None:
    [data] = run.inputs.dataset_inputs
    assert data.tags[0].value == "train, validation, test"
    assert data.dataset.name == "digits"
    assert run.data.tags["mlctl.data.sha256"].startswith(data.dataset.digest)


def test_the_history_file_has_the_metrics_of_all_epochs(digits: Trained, client: mlflow.MlflowClient) -> None:
    rows = list(csv.DictReader(artifact(digits, client, "history.csv").open()))
    assert [float(row["val_loss"]) for row in rows] == [value for _, value in history(digits, "val_loss")]
    assert all(float(row["seconds"]) > 0 for row in rows)


@pytest.mark.parametrize("path", ["plots/accuracy.png", "plots/loss.png", "plots/confusion_matrix.png"])
def test_plots_are_images(digits: Trained, client: mlflow.MlflowClient, path: str) -> None:
    with Image.open(artifact(digits, client, path)) as picture:
        assert picture.format == "PNG"
        assert picture.width >= 400
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_text_artifacts_have_their_content(digits: Trained, client: mlflow.MlflowClient) -> None:
    report = artifact(digits, client, "report.txt").read_text()
    assert "the logged model on 359 test rows" in report
    assert "macro avg" in report
    assert "conv2d" in artifact(digits, client, "model_summary.txt").read_text()
    assert "class Digits(Recipe)" in artifact(digits, client, "recipe.py").read_text()
    assert "keras==" in artifact(digits, client, "requirements.txt").read_text()


def test_nothing_stays_in_the_state_folder(digits: Trained) -> None:
    assert not [path for path in (digits.folder / "xdg-state").rglob("*") if path.is_file()]


def test_a_pipe_gets_one_plain_line_per_epoch(digits: Trained) -> None:
    lines = [line for line in digits.stderr.splitlines() if line.startswith("epoch")]
    assert len(lines) == 30
    assert lines[0].split()[:2] == ["epoch", "1/30"]
    assert all("val_accuracy" in line for line in lines)
    assert "\x1b" not in digits.stderr
    assert digits.stderr.splitlines()[-1].startswith("next: mlctl runs show")


def test_the_same_seed_gives_the_same_metrics(digits: Trained, tmp_path: Path) -> None:
    """In another process with the same defaults, every value of every epoch is the same."""
    done = mlctl(tmp_path, "train", "digits", "-o", "json")
    assert done.returncode == 0, done.stderr
    again = Trained(tmp_path, json.loads(done.stdout))
    assert again.answer["metrics"] == digits.answer["metrics"]
    for metric in ("loss", "val_loss"):
        assert history(again, metric) == history(digits, metric)


# -- the other recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "metrics"),
    [
        ("imdb", {"best_val_accuracy", "best_val_precision", "best_val_recall", "best_val_f1"}),
        ("housing", {"test_mae", "test_rmse", "test_r2", "best_val_mae"}),
        ("mnist-mlp", {"test_accuracy", "test_f1", "best_val_accuracy"}),
        ("tiny", {"test_accuracy", "test_f1", "best_val_accuracy"}),
    ],
)
def test_every_recipe_finishes(small: dict[str, Trained], recipe: str, metrics: set[str]) -> None:
    answer = small[recipe].answer
    assert answer["status"] == "FINISHED"
    assert metrics <= set(answer["metrics"])
    assert answer["model_uri"].startswith("models:/m-")
    if recipe != "tiny":
        assert answer["tags"]["mlctl.data"] == "synthetic"


def test_imdb_has_no_test_split_and_no_test_metrics(small: dict[str, Trained]) -> None:
    answer = small["imdb"].answer
    assert not [name for name in answer["metrics"] if name.startswith("test_")]
    assert answer["data"]["splits"].keys() == {"train", "validation"}


def test_imdb_learns_from_synthetic_data(small: dict[str, Trained]) -> None:
    assert small["imdb"].answer["metrics"]["best_val_f1"] > 0.7


@pytest.mark.parametrize(
    ("recipe", "features", "answers", "score"),
    [
        ("imdb", ["text: words"], ["answer", "probability"], "accuracy"),
        ("housing", ["longitude", "ocean_proximity"], ["answer"], "mae"),
        ("mnist-mlp", ["brightness", "contrast"], ["answer", "probability"], "accuracy"),
        ("tiny", ["0", "5"], ["answer", "probability"], "accuracy"),
    ],
)
def test_the_model_has_a_profile_of_its_data_and_answers(
    small: dict[str, Trained], recipe: str, features: list[str], answers: list[str], score: str
) -> None:
    profile = read_profile(small[recipe].model)
    assert profile is not None
    names = [
        feature_name(entry["name"], feature) for entry in profile["inputs"] for feature in entry["features"]
    ]
    assert set(features) <= set(names)
    [entry] = profile["answers"]
    assert [name or "answer" for name in entry["features"]] == answers
    metrics = small[recipe].answer["metrics"]
    measured = metrics.get(f"test_{score}", metrics[f"best_val_{score}"])
    assert entry["scores"][score] == pytest.approx(measured, abs=1e-4 * max(1, measured))


def test_a_users_recipe_is_logged_with_its_source_and_tags(small: dict[str, Trained]) -> None:
    trained = small["tiny"]
    assert trained.answer["tags"]["team"] == "vision"
    assert trained.answer["tags"]["mlctl.recipe_source"].endswith("tiny.py")
    client = mlflow.MlflowClient(trained.uri)
    assert artifact(trained, client, "recipe.py").read_text() == TINY


# -- how it fails -------------------------------------------------------------------------------------------


def fail(folder: Path, old: str, new: str) -> tuple[MlctlError, mlflow.entities.Run]:
    """Train a tiny recipe with one change; return the error and the failed run."""
    assert old in TINY
    (folder / "mine.py").write_text(TINY.replace(old, new))
    with pytest.raises(MlctlError) as caught:
        train_here(folder, str(folder / "mine.py"))
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value, run


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(TINY.splitlines(), 1) if text in line)


def test_a_failing_build_names_its_line(tmp_path: Path) -> None:
    error, run = fail(tmp_path, "keras.layers.Dense(hp.units", "keras.layers.Denses(hp.units")
    assert isinstance(error, BadDataError)
    assert f"mine.py, line {line_of('hp.units')}: building its model failed" in error.message
    assert run.info.status == "FAILED"
    assert "building its model failed" in run.data.tags["mlctl.error"]


def test_an_unknown_objective_lists_the_metrics(tmp_path: Path) -> None:
    error, run = fail(tmp_path, 'maximize("val_accuracy")', 'maximize("val_gini")')
    assert isinstance(error, UsageError)
    assert "'val_gini'" in error.message
    assert "val_accuracy" in error.hint
    assert run.info.status == "FAILED"
    assert "val_gini" in run.data.tags["mlctl.error"]


def test_a_diverging_loss_stops_the_run(tmp_path: Path) -> None:
    error, run = fail(tmp_path, "x = rng.normal(size=(120, 6))", "x = 3e37 * rng.normal(size=(120, 6))")
    assert isinstance(error, BadDataError)
    assert "has diverged" in error.message
    assert run.info.status == "FAILED"
    assert "mlctl.error" in run.data.tags


def test_a_failing_load_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TINY.replace("rng.normal(size=(120, 6))", "rng.normals(3)"))
    done = mlctl(tmp_path, "train", "mine.py")
    assert done.returncode == 8
    assert f"mine.py, line {line_of('rng.normal')}: loading its data failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["digits", "--set", "units=1000"], 2, "above its bound 256"),
        (["digits", "--set", "units"], 2, "units"),
        (["digits", "--epochs", "0"], 2, "below its bound 1"),
        (["digit"], 3, "did you mean digits?"),
        (["./none.py"], 3, "there is no recipe file"),
        (["missing.csv"], 3, "there is no file or folder missing.csv"),
        (["missing.csv", "--target", "y"], 3, "there is no file or folder missing.csv"),
        (["./nothing/here"], 3, "there is no file or folder ./nothing/here"),
        (["table.csv"], 2, "add --target COLUMN; the columns are: a, b"),
        (["tabel.csv"], 3, "did you mean table.csv?"),
        (["t.tar.gz"], 8, "t.tar.gz is an archive that mlctl does not open"),
        (["notes.doc"], 8, "notes.doc is no data that mlctl can train on"),
        (["digits", "--rows", "500"], 2, "--data synthetic"),
        (["digits", "--data", "synthetic", "--rows", "10"], 2, "100"),
        (["imdb", "--data", "no-such-folder"], 3, "no-such-folder"),
    ],
)
def test_a_typing_error_is_reported_before_a_store_is_created(
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlctl.cli.app import run as command_line

    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "notes.doc").write_text("text")
    (tmp_path / "t.tar.gz").write_bytes(b"")
    assert command_line(["train", *arguments]) == code
    output = capsys.readouterr()
    assert not output.out
    assert message in output.err
    assert output.err.startswith("error: ")
    assert not list(tmp_path.glob("mlflow.db"))


def test_an_unreachable_store_is_reported_before_training(tmp_path: Path) -> None:
    with socket.socket() as silent:  # bound but not listening: nothing else can answer there
        silent.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = mlctl(tmp_path, "train", "digits", "--tracking-uri", uri)
    assert done.returncode == 6
    assert uri in done.stderr
    assert "epoch" not in done.stderr
    assert "starting TensorFlow" not in done.stderr


def test_missing_data_without_a_network_is_reported_before_training(tmp_path: Path) -> None:
    proxy = "http://127.0.0.1:9"
    done = mlctl(
        tmp_path, "train", "imdb", MLCTL_DATA_DIR=str(tmp_path), https_proxy=proxy, HTTPS_PROXY=proxy
    )
    assert done.returncode == 6
    assert "imdb.npz" in done.stderr
    assert "--data" in done.stderr
    assert "mlctl train digits" in done.stderr
    assert "starting TensorFlow" not in done.stderr


def test_a_recipe_file_is_executed_once(tmp_path: Path) -> None:
    counting = (
        f"from pathlib import Path\n\nwith Path('executions').open('a') as file:\n    file.write('x')\n{TINY}"
    )
    (tmp_path / "mine.py").write_text(counting)
    train_here(tmp_path, "mine.py")
    assert (tmp_path / "executions").read_text() == "x"


def test_ctrl_c_ends_the_run_as_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "train", "digits", "--epochs", "5000"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        assert any(line.startswith("epoch    2/") for line in child.stderr)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert not out
    assert "mlctl resume" in err
    assert "Traceback" not in err
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert run.info.status == "KILLED"
    assert run.info.end_time


# -- what it shows while it works -------------------------------------------------------------------------


def screen(written: str, width: int) -> list[str]:
    """Return a terminal's final lines; carriage returns, cursor movements and erased lines are applied."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part.endswith("A") and part.startswith("\x1b"):
            row = max(0, row - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            assert column + len(part) <= width or row == len(lines) - 1, (
                "a line wrapped while the bar was live"
            )
            lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


def test_a_progress_bar_on_a_terminal_of_80_columns_leaves_nothing_behind(tmp_path: Path) -> None:
    import pexpect

    written = io.StringIO()
    variables = {**environment(tmp_path, TERM="xterm-256color"), "COLUMNS": "80"}
    command = [*warm_command(variables), "train", "digits", "--epochs", "3"]
    child = pexpect.spawn(
        command[0],
        command[1:],
        dimensions=(24, 80),
        cwd=str(tmp_path),
        env=variables,
        encoding="utf-8",
        timeout=180,
        logfile=written,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, written.getvalue()[-2000:]
    assert "━" in written.getvalue(), "there was no bar"
    shown = screen(written.getvalue(), 80)
    assert [line.split()[0] for line in shown if re.match(r"\s*\d/3 ", line)] == ["1/3", "2/3", "3/3"]
    assert not [line for line in shown if "━" in line or "⠋" in line or "…" in line]
    assert "best" in "\n".join(shown)
    assert max(map(len, shown)) <= 80, max(shown, key=len)
    assert written.getvalue().count("\x1b[?25l") == written.getvalue().count("\x1b[?25h")
