"""Own tables, recipes and projects, and the doctor, with real commands and runs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from mlctl import settings
from mlctl.recipes.lookup import resolve
from mlctl.services.evaluation.predict import predict, predict_to_file
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.request_error import RequestError
from tests.parts.s3 import S3
from tests.recording_listener import RecordingListener
from tests.trained import TINY, Trained, environment, mlctl, trained
from tests.warm_server import server_folder

ROWS = 300


def customers() -> pd.DataFrame:
    """Return customers, of whom about a fifth leave, with missing values, categories and dates."""
    rng = np.random.default_rng(4)
    age = rng.integers(18, 80, ROWS).astype(float)
    frame = pd.DataFrame({
        "id": np.arange(ROWS), "age": age, "plan": rng.choice(["free", "pro"], ROWS),
        "since": pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), "D")).dt.strftime("%Y-%m-%d"),
        "left": np.where(age + rng.normal(0, 6, ROWS) > 62, "yes", "no"),
    })  # fmt: skip
    frame.loc[::9, "age"] = np.nan
    return frame


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train churn.csv with balanced classes."""
    folder = tmp_path_factory.mktemp("churn")
    customers().to_csv(folder / "churn.csv", index=False, sep=";")
    return trained(
        folder,
        "churn.csv",
        "--target",
        "left",
        "--epochs",
        "12",
        "--set",
        "bags=1",
        "--set",
        "class_weight=balanced",
        "--set",
        "column.plan=category",
        "--report",
    )


def test_a_table_is_trained_and_recorded(churn: Trained) -> None:
    answer = churn.answer
    assert answer["status"] == "FINISHED"
    assert answer["recipe"] == "tabular"
    assert answer["data"]["source"].endswith("churn.csv")
    assert answer["data"]["rows"] == ROWS
    assert answer["params"]["target"] == "left"
    assert answer["params"]["column.plan"] == "category"
    assert answer["metrics"]["test_f1"] > 0.5
    assert "numbers: age (" in churn.stderr
    assert "dropped: id" in churn.stderr


def test_run_of_a_table_has_the_importance_of_each_column(churn: Trained) -> None:
    files = list(churn.folder.rglob("importance.csv"))
    assert len(files) == 1
    lines = files[0].read_text().splitlines()
    assert lines[0] == "column,accuracy_lost,spread"
    assert lines[1].startswith("age,")
    assert {line.split(",")[0] for line in lines[1:]} == {"age", "plan", "since"}
    assert (files[0].parent / "plots" / "importance.png").stat().st_size > 5000


def test_the_report_of_a_table_is_logged_and_shows_its_rows(churn: Trained) -> None:
    assert "to read it: mlctl runs artifacts" in churn.stderr
    (report,) = churn.folder.rglob("report.html")
    page = report.read_text(encoding="utf-8")
    for expected in ("importance of columns", "area under ROC", "<th>predicted</th>", "since</th>"):
        assert expected in page


def test_model_of_a_table_accepts_raw_rows_with_missing_values(churn: Trained) -> None:
    model = mlflow.pyfunc.load_model(str(churn.model))
    rows = pd.DataFrame({
        "age": [25.0, 78.0, np.nan], "plan": ["pro", "free", "never seen"], "since": ["2021-03-04", "2020-01-01", "2022-05-05"],
    })  # fmt: skip
    answers = model.predict(rows)
    assert answers.shape == (3, 1)
    assert answers[0, 0] < 0.5 < answers[1, 0]


def test_a_date_in_another_format_is_named_and_answered_as_missing(churn: Trained, tmp_path: Path) -> None:
    rows = pd.DataFrame({"age": [25.0, 78.0], "plan": ["pro", "free"], "since": ["2021-03-04", "31.12.2021"]})
    message = '"31.12.2021" in row 1, column "since" is not a date such as 2021-12-31'
    with pytest.raises(ValueError, match=message):  # for every MLflow client
        mlflow.pyfunc.load_model(str(churn.model)).predict(rows)
    columns = {str(name): values.tolist() for name, values in rows.items()}
    with pytest.raises(RequestError, match=message):
        ServedModel(churn.model).predict_table(columns)
    file = tmp_path / "new.csv"
    pd.concat([rows.iloc[:1]] * 5 + [rows], ignore_index=True).to_csv(file, index=False)
    user_settings, model = settings.load(folder=tmp_path), str(churn.model)
    named = "cells of another kind than in training count as missing: since in row 7 ('31.12.2021')"
    listener = RecordingListener()
    answer = predict(user_settings, model, [str(file)], batch_size=4, listener=listener)
    assert len(answer.predictions) == 7
    out = tmp_path / "out.csv"
    predict_to_file(user_settings, model, [str(file)], out=out, batch_size=4, listener=listener)
    # twice, and with a row number that does not depend on the batch
    assert [line.endswith(named) for line in listener.messages] == [True, True]
    older = shutil.copytree(churn.model, tmp_path / "older")  # a model of an earlier version
    state = (older / "artifacts" / "model" / "encoder.json").read_text()
    (older / "artifacts" / "model" / "encoder.json").write_text(state.replace(', "sure": true', ""))
    assert np.shape(ServedModel(older).predict_table(columns)) == (2, 1)


def test_predict_accepts_the_training_file_as_it_is(churn: Trained) -> None:
    answer = mlctl(churn.folder, "predict", "last", "churn.csv", "-o", "json")
    assert answer.returncode == 0, answer.stderr
    assert len(json.loads(answer.stdout)["predictions"]) == ROWS
    assert "churn.csv: left out, because the model does not take them: id, left" in answer.stderr
    again = mlctl(
        churn.folder, "predict", "last", "-", "-o", "json", piped=(churn.folder / "churn.csv").read_text()
    )
    assert again.returncode == 0, again.stderr
    from_file, from_stdin = (json.loads(result.stdout)["predictions"] for result in (answer, again))
    assert [row["probability"] for row in from_file] == [row["probability"] for row in from_stdin]


def test_a_table_needs_a_target(tmp_path: Path) -> None:
    customers().to_csv(tmp_path / "churn.csv", index=False)
    answer = mlctl(tmp_path, "train", "churn.csv", "-o", "json")
    assert answer.returncode == 2
    assert "--target" in json.loads(answer.stderr.splitlines()[-1])["error"]["hint"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run `mlctl init` in a folder, and train digits there with mlflow run."""
    folder = tmp_path_factory.mktemp("project")
    answer = mlctl(folder, "init", "-o", "json")
    assert answer.returncode == 0, answer.stderr
    assert [file["written"] for file in json.loads(answer.stdout)["files"]] == [True, True, True]
    # MLproject finds mlctl on the path
    path = os.pathsep.join([str(server_folder()), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local", "-e", "train", "-P", "epochs=2"],
        cwd=folder, env=environment(folder, PATH=path), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_mlflow_run_logs_to_its_own_run(project: Path) -> None:
    with sqlite3.connect(project / "mlflow.db") as database:
        runs = database.execute("select run_uuid, status from runs").fetchall()
        assert [status for _, status in runs] == ["FINISHED"]
        params = dict(database.execute("select key, value from params"))
        tags = dict(database.execute("select key, value from tags"))
        metrics = {key for (key,) in database.execute("select distinct key from metrics")}
    assert params["epochs"] == "2"
    assert tags["mlctl.recipe"] == "digits"
    assert tags["mlflow.source.type"] == "PROJECT"
    assert {"test_accuracy", "val_accuracy"} <= metrics


def test_init_keeps_existing_files(project: Path) -> None:
    before = (project / "mlctl.toml").read_text()
    (project / "mlctl.toml").write_text(before + "# mine\n")
    answer = mlctl(project, "init", "-o", "json")
    assert [file["written"] for file in json.loads(answer.stdout)["files"]] == [False, False, False]
    assert (project / "mlctl.toml").read_text().endswith("# mine\n")


def test_every_commented_setting_of_init_is_valid(project: Path, tmp_path: Path) -> None:
    """Each example in mlctl.toml is a known setting when it is uncommented."""
    from mlctl import settings

    lines = (project / "mlctl.toml").read_text().splitlines()
    lines = [
        line[2:] if line.startswith("# ") and ("=" in line or line.startswith("# [")) else line
        for line in lines
    ]
    by_name = {line.partition("=")[0].strip() or index: line for index, line in enumerate(lines)}
    (tmp_path / "mlctl.toml").write_text("\n".join(by_name.values()))  # each setting once
    loaded = settings.load(folder=tmp_path)
    assert loaded.stages == ("Canary",)
    assert loaded.recipes["digits"] == {"epochs": 20, "units": 128}
    assert loaded.models["Digits"]["smoke"] is True


@pytest.mark.unit
def test_defaults_of_recipes_in_a_project(tmp_path: Path) -> None:
    from mlctl.errors import ConfigurationError
    from mlctl.services.recipes.defaults import with_defaults
    from mlctl.settings import load

    (tmp_path / "mlctl.toml").write_text("[recipes.digits]\nepochs = 20\nunits = 128\n")
    assert with_defaults(load(folder=tmp_path), resolve("digits").recipe, {"units": "32"}) == {
        "epochs": "20",
        "units": "32",
    }
    assert with_defaults(load(folder=tmp_path), resolve("imdb").recipe, {}) == {}
    (tmp_path / "mlctl.toml").write_text("[recipes.digits]\nepoch = 20\n")
    with pytest.raises(ConfigurationError, match=r"recipes.digits\].*'epoch'") as error:
        with_defaults(load(folder=tmp_path), resolve("digits").recipe, {})
    assert error.value.hint == "did you mean epochs?"


def test_doctor_finds_no_problem(churn: Trained) -> None:
    answer = mlctl(churn.folder, "doctor", "-o", "json")
    assert answer.returncode == 0, answer.stdout
    diagnosis = json.loads(answer.stdout)
    assert diagnosis["ok"] is True
    assert all(check.keys() >= {"name", "ok", "found", "fix"} for check in diagnosis["checks"])
    assert {"python", "packages", "processor", "memory", "tracking", "registry"} <= {
        check["name"] for check in diagnosis["checks"]
    }
    assert all(setting.keys() >= {"name", "value", "source"} for setting in diagnosis["settings"])


def test_doctor_explains_how_to_fix_problems(tmp_path: Path) -> None:
    (tmp_path / "mlctl.toml").write_text(
        'state_dir = "here"\nbucket = "models"\n[recipes.tabluar]\nepochs = 3\n[recipes.digits]\nepoch = 3\n'
    )
    answer = mlctl(
        tmp_path, "doctor", "-o", "json", MLFLOW_TRACKING_URI="http://me:hush@127.0.0.1:9",
        AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_ACCESS_KEY_ID="me", AWS_SECRET_ACCESS_KEY="hush",
        AWS_DEFAULT_REGION="us-east-1",
    )  # fmt: skip
    assert answer.returncode == 5
    diagnosis: dict[str, Any] = json.loads(answer.stdout)
    tracking = next(check for check in diagnosis["checks"] if check["name"] == "tracking")
    assert not tracking["ok"]
    assert tracking["fix"]
    assert "hush" not in answer.stdout + answer.stderr
    sources = {setting["name"]: setting["source"] for setting in diagnosis["settings"]}
    assert sources["tracking_uri"] == "environment MLFLOW_TRACKING_URI"
    assert sources["state_dir"] == sources["recipes.tabluar.epochs"] == "mlctl.toml"
    recipes = {check["fix"]: check["found"] for check in diagnosis["checks"] if check["name"] == "recipes"}
    assert recipes.keys() == {"did you mean tabular?", "did you mean epochs?"}
    assert "[recipes.tabluar]" in recipes["did you mean tabular?"]
    bucket = next(check for check in diagnosis["checks"] if check["name"] == "bucket models")
    assert not bucket["ok"]
    assert "127.0.0.1:9" in bucket["found"]


@pytest.mark.live
@pytest.mark.needs("s3")
def test_doctor_checks_the_bucket_of_the_project(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    from mlctl import settings
    from mlctl.services.project.doctor import diagnose

    monkeypatch.chdir(tmp_path)
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL": s3.url}.items():
        monkeypatch.setenv(name, value)
    for bucket, exists in ((s3.new_bucket(), True), ("no-such-bucket", False)):
        Path("mlctl.toml").write_text(f'bucket = "{bucket}"\n')
        checks = {check.name: check for check in diagnose(settings.load(), deep=False).checks}
        check = checks[f"bucket {bucket}"]
        assert check.ok is exists
    assert check.fix == "correct bucket in mlctl.toml, or run mlctl server-up --create-bucket"


@pytest.mark.unit
def test_defaults_of_an_unknown_recipe_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlctl.errors import ConfigurationError
    from mlctl.services.recipes.defaults import with_defaults
    from mlctl.settings import load

    monkeypatch.chdir(tmp_path)
    Path("mlctl.toml").write_text("[recipes.tiny]\nepochs = 2\n")
    with pytest.raises(ConfigurationError, match=r"mlctl\.toml, \[recipes\.tiny\]"):
        with_defaults(load(), resolve("digits").recipe, {})
    Path("recipes").mkdir()
    Path("recipes/mine.py").write_text(TINY)  # defines the recipe "tiny"
    assert with_defaults(load(), resolve("digits").recipe, {}) == {}
    assert with_defaults(load(), resolve("recipes/mine.py").recipe, {}) == {"epochs": "2"}
    Path("mlctl.toml").write_text("[recipes.tabluar]\nepochs = 3\n")
    with pytest.raises(ConfigurationError) as error:
        with_defaults(load(), resolve("recipes/mine.py").recipe, {})
    assert error.value.hint == "did you mean tabular?"


@pytest.mark.unit
def test_user_settings_may_name_a_recipe_of_another_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlctl import settings
    from mlctl.errors import ConfigurationError
    from mlctl.services.recipes.defaults import with_defaults

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlctl.settings.platformdirs.user_config_dir", lambda _: str(tmp_path))
    Path("config.toml").write_text("[recipes.wine]\nepochs = 2\n")
    assert with_defaults(settings.load(), resolve("digits").recipe, {}) == {}
    Path("config.toml").write_text("[recipes.digit]\nepochs = 2\n")
    with pytest.raises(ConfigurationError, match=r"config\.toml, \[recipes\.digit\]"):
        with_defaults(settings.load(), resolve("digits").recipe, {})


@pytest.mark.unit
def test_a_dotted_name_can_be_written_in_any_form_of_toml(tmp_path: Path) -> None:
    from mlctl.services.recipes.defaults import with_defaults
    from mlctl.settings import load

    customers().to_csv(tmp_path / "churn.csv", index=False)
    for text in (
        'column.zip = "category"',
        '"column.zip" = "category"',
        '[recipes.tabular.column]\nzip = "category"',
    ):
        (tmp_path / "mlctl.toml").write_text(f"[recipes.tabular]\n{text}\n")
        overrides = with_defaults(load(folder=tmp_path), resolve(str(tmp_path / "churn.csv")).recipe, {})
        assert overrides == {"column.zip": "category"}


def test_recipe_check_runs_every_step(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    answer = mlctl(tmp_path, "recipes", "check", "./tiny.py", "-o", "json")
    assert answer.returncode == 0, answer.stderr
    steps = [step["step"] for step in json.loads(answer.stdout)["steps"]]
    assert steps == ["find", "load", "encode", "build", "step", "save", "load back", "serve"]


@pytest.mark.parametrize(
    ("original", "replacement", "message"),
    [
        ("import keras\n", "import kerras\n", "line 23"),  # an error in build() names the line in it
        ("x.sum(axis=1) > 0", "x.sum(axes=1) > 0", "line 18"),
        ('.astype("int64")', '.astype("int64") + 7', "2 classes need 0 to 1"),
    ],
)
def test_recipe_check_names_the_faulty_line(
    original: str, replacement: str, message: str, tmp_path: Path
) -> None:
    assert original in TINY
    (tmp_path / "tiny.py").write_text(TINY.replace(original, replacement))
    answer = mlctl(tmp_path, "recipes", "check", "./tiny.py")
    assert answer.returncode == 8, answer.stderr
    assert "tiny.py" in answer.stderr
    assert message in " ".join(answer.stderr.split())
