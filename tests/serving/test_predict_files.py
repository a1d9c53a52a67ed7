"""`mlctl predict` with folders, lists of files, several files, and prefixes of a bucket."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlctl import settings as configuration
from mlctl.adapters.predict.cluster_output import JOB_FILE, MODEL_FILE, ClusterOutput
from mlctl.cli import predict as predict_command
from mlctl.errors import BadDataError, NotFoundError, RefusedError, UsageError
from mlctl.services.evaluation import cluster_predict
from mlctl.services.evaluation.input_files import digest
from mlctl.services.evaluation.inputs import list_inputs
from mlctl.services.evaluation.predict import predict, predict_to_file
from mlctl.services.evaluation.predictor import LocalModel
from mlctl.serving.endpoint_spec import ServedVersion
from tests.parts.s3 import S3

RANDOM = np.random.default_rng(5)
NAMES = ("cat/1.png", "cat/2.png", "dog/1.png")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> configuration.Settings:
    monkeypatch.chdir(tmp_path)
    return configuration.load()


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Return a folder as training takes it, with files that are none of its pictures."""
    folder = tmp_path / "pets"
    for name in (*NAMES, ".hidden.png", "_draft/3.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name)
    (folder / "notes.md").write_text("not a picture")
    return folder


def make_rows(count: int) -> pd.DataFrame:
    return pd.DataFrame({
        "rooms": RANDOM.uniform(1, 9, count), "age": RANDOM.uniform(1, 50, count), "place": RANDOM.choice(["INLAND", "x"], count),
    })  # fmt: skip


def test_a_folder_of_pictures_is_answered_by_file_name(
    models: dict[str, Path], settings: Any, pets: Path
) -> None:
    model = str(models["pictures"])
    one_by_one = [predict(settings, model, [str(pets / name)]).predictions[0] for name in NAMES]
    answer = predict(settings, model, ["pets"])
    assert answer.input_names == NAMES
    assert [each.label for each in answer.predictions] == [each.label for each in one_by_one]
    (pets.parent / "list.csv").write_text(
        "picture,label\n" + "".join(f"pets/{name},cat\n" for name in reversed(NAMES))
    )
    listed = predict(settings, model, ["list.csv"])
    assert listed.input_names == tuple(f"pets/{name}" for name in reversed(NAMES))
    assert [each.label for each in listed.predictions] == [each.label for each in reversed(one_by_one)]
    done = predict_to_file(settings, model, ["pets"], out=Path("answers.csv"), batch_size=2)
    assert (done.rows, done.resumed) == (3, 0)
    table = pd.read_csv("answers.csv")
    assert table["file"].tolist() == list(NAMES)
    assert table["label"].astype(str).tolist() == [each.label for each in one_by_one]
    (pets / "cat" / "2.png").write_text("no picture")
    with pytest.raises(BadDataError, match=r"^cat/2.png cannot be read as an image"):
        predict(settings, model, ["pets"])
    (pets.parent / "list.csv").write_text("picture\npets/gone.png\n")
    with pytest.raises(
        NotFoundError, match=r"1 files in column picture do not exist; the first is pets/gone.png"
    ):
        predict(settings, model, ["list.csv"])
    with pytest.raises(NotFoundError, match="holds no files that this model takes"):
        predict(settings, str(models["table"]), ["pets"])


def test_a_folder_of_texts(models: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    for name, text in (
        ("a.txt", "a very good film"),
        ("b.txt", "bad"),
        ("table.csv", "text\nnot this one\n"),
    ):
        (tmp_path / "reviews").mkdir(exist_ok=True)
        (tmp_path / "reviews" / name).write_text(text)
    answer = predict(settings, str(models["texts"]), ["reviews"])
    assert answer.input_names == ("a.txt", "b.txt")
    alone = predict(settings, str(models["texts"]), ["bad"])
    assert answer.predictions[1].probability == pytest.approx(alone.predictions[0].probability)


def test_several_tables_are_resumed_in_their_order(
    models: dict[str, Path], settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    frames = [make_rows(count) for count in (30, 5, 40)]
    frames[0].to_parquet(folder / "1.parquet")
    frames[1].to_parquet(folder / "2.parquet")
    frames[2].to_parquet(folder / "3.parquet")
    model = str(models["table"])
    expected = [
        prediction.value
        for number in (1, 2, 3)
        for prediction in predict(settings, model, [f"rows/{number}.parquet"]).predictions
    ]
    out = tmp_path / "answers.parquet"
    from mlctl.adapters.predict.prediction_parts import PredictionParts

    write = PredictionParts.write

    def write_or_stop(self: Any, first: int, columns: Any) -> None:
        if first >= 33:
            raise KeyboardInterrupt
        write(self, first, columns)

    with monkeypatch.context() as patch:
        patch.setattr(PredictionParts, "write", write_or_stop)
        with pytest.raises(KeyboardInterrupt):
            predict_to_file(settings, model, ["rows"], out=out, batch_size=8)
    frames[1].to_parquet(folder / "4.parquet")
    with pytest.raises(RefusedError, match="another model, version or input"):
        predict_to_file(settings, model, ["rows"], out=out)
    (folder / "4.parquet").unlink()
    done = predict_to_file(settings, model, ["rows"], out=out)
    assert (done.rows, done.resumed) == (75, 35)
    table = pd.read_parquet(out)
    assert table["row"].tolist() == list(range(75))
    assert table["value"].tolist() == pytest.approx(expected)
    assert table["file"].tolist() == ["1.parquet"] * 30 + ["2.parquet"] * 5 + ["3.parquet"] * 40


@pytest.mark.live
@pytest.mark.needs("s3")
def test_the_objects_below_a_prefix_of_a_bucket(
    models: dict[str, Path], settings: Any, s3: S3, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL_S3": s3.url}.items():
        monkeypatch.setenv(name, value)
    bucket = s3.new_bucket()
    make_rows(20).to_parquet("rows.parquet")
    client = s3.client()
    for name in NAMES:
        client.upload_file(str(pets / name), bucket, f"data/pets/{name}")
    client.upload_file("rows.parquet", bucket, "data/rows/1.parquet")
    here = predict(settings, str(models["pictures"]), ["pets"])
    there = predict(settings, str(models["pictures"]), [f"s3://{bucket}/data/pets"])
    assert there.input_names == here.input_names
    assert there.predictions == here.predictions
    table = str(models["table"])
    local = predict(settings, table, ["rows.parquet"]).predictions
    for url in (f"s3://{bucket}/data/rows", f"s3://{bucket}/data/rows/1.parquet"):
        assert predict(settings, table, [url]).predictions == local
    for url, message in (
        (f"s3://{bucket}/none", "holds no files"),
        (f"s3://{bucket}/a.csv", "there is no object"),
    ):
        with pytest.raises(NotFoundError, match=message):
            predict(settings, table, [url])
    output = ClusterOutput(f"s3://{bucket}/answers.parquet")
    assert output.start({"model": "m"}) == set()
    assert output.write("part-0.parquet", [{"value": np.arange(3.0)}]) == 3
    assert output.start({"model": "m"}) == {"part-0.parquet"}
    assert output.count_rows("part-0.parquet") == 3
    output.finish()
    assert output.storage.names() == ["part-0.parquet"]


def test_a_node_answers_a_file_with_one_part(models: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    """What a node does, without a cluster; doing it again changes nothing."""
    (tmp_path / "rows").mkdir()
    make_rows(30).to_parquet(tmp_path / "rows" / "a.parquet")
    make_rows(9).to_csv(tmp_path / "rows" / "b.csv", index=False)
    served = ServedVersion(name="table", version="1", uri="", folder=str(models["table"]))
    output = ClusterOutput(str(tmp_path / "answers.parquet"))
    files = list_inputs(LocalModel(served).info, ["rows"]).files
    output.start({"files": digest(files)})
    cluster_predict._store_model(output.storage, models["table"])
    shutil.rmtree(tmp_path / "model", ignore_errors=True)
    tasks = [cluster_predict._task(file, number, output, served) for number, file in enumerate(files)]
    assert [cluster_predict.answer_file(task) for task in [*tasks, tasks[0]]] == [30, 9, 30]
    assert {MODEL_FILE, JOB_FILE} < set(output.storage.names())
    output.finish()
    assert output.storage.names() == ["part-000000-a.parquet", "part-000001-b.parquet"]
    table = pd.read_parquet(tmp_path / "answers.parquet")
    assert table.groupby("file")["row"].apply(list).to_dict() == {
        "a.parquet": list(range(30)), "b.csv": list(range(9)),
    }  # fmt: skip
    with pytest.raises(RefusedError, match="already exists"):
        output.start({})


def test_what_a_cluster_does_not_predict(models: dict[str, Path], settings: Any, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save("one.png")
    served = ServedVersion(name="pictures", version="1", uri="", folder=str(models["pictures"]))
    files = list_inputs(LocalModel(served).info, ["one.png"]).files
    with pytest.raises(UsageError, match="--cluster predicts tables"):
        cluster_predict._require_tables(files, ["one.png"])
    for options, message in (
        ({"cluster": "local:2"}, "needs an INPUT, and an --out"),
        ({"cluster": "local:2", "out": "a.parquet", "batch_size": 9}, "--cluster and --batch-size cannot"),
        ({"out": "s3://data/a.parquet"}, "needs --cluster"),
    ):
        with pytest.raises(UsageError, match=message):
            predict_command.predict(None, "M", ["rows"], **options)  # type: ignore[arg-type]
