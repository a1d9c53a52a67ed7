"""Ten files as people have them: each is trained, registered, served, predicted and evaluated without any option.

tests/data/test_own_files_again.py reads all of them in every run.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.own_files import FILES
from tests.serving.conftest import start_endpoint
from tests.trained import mlctl, trained

pytestmark = pytest.mark.live

IN_EVERY_RUN = ("german", "chinese")


@pytest.mark.parametrize(
    "name", [name if name in IN_EVERY_RUN else pytest.param(name, marks=pytest.mark.long) for name in FILES]
)
def test_from_a_file_to_an_endpoint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = FILES[name]
    monkeypatch.chdir(tmp_path)
    own.write(np.random.default_rng(0))

    model = trained(tmp_path, own.source, "--target", own.target, "--epochs", "1", "--register", "Own")
    for note in own.notes:
        assert note in model.stderr
    assert model.answer["status"] == "FINISHED"

    predicted = mlctl(tmp_path, "predict", "Own/1", own.new, *(own.more or ("-o", "json")))
    assert predicted.returncode == 0, predicted.stderr
    if own.more:
        assert pd.read_csv("submission.csv").columns.tolist() == ["PassengerId", "Survived"]
        assert len(pd.read_csv("submission.csv")) == own.rows
    else:
        assert len(json.loads(predicted.stdout)["predictions"]) == own.rows

    evaluated = mlctl(tmp_path, "evaluate", "Own/1", own.source, "-o", "json")
    assert evaluated.returncode == 0, evaluated.stderr

    endpoint = start_endpoint(model.model, tmp_path / "endpoint")
    try:
        if not own.row:
            assert endpoint.post({"inputs": [own.new]}).status == 200
            return
        by_json = endpoint.post({"dataframe_records": [own.row]})
        assert by_json.status == 200, by_json.json
        by_csv = endpoint.request(body=own.csv.encode(), content_type="text/csv")
        assert by_csv.status == 200, by_csv.json
        if name != "kaggle":
            assert by_csv.json == by_json.json
    finally:
        endpoint.stop()
