"""A model of two inputs and three outputs behind `mlctl serve`, and loaded by MLflow in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.live

STOCK = """
import json, sys
import mlflow.pyfunc
import numpy as np

rows = json.loads(sys.argv[2])
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict({"ids": np.array(rows["ids"], "int32"), "flags": np.array(rows["flags"], "float32")})
assert "mlctl" not in sys.modules and "tensorflow" not in sys.modules
print(json.dumps({name: array.tolist() for name, array in answers.items()}))
"""
ROWS = {"ids": [[1, 2, 3], [4, 5, 6]], "flags": [[0.0, 1.5, -2.0], [1.0, 0.0, 0.5]]}


def mlctl(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlctl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def post(url: str, document: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_endpoint_answers_what_mlflow_answers(
    named: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    folder = named["tickets"]
    stock = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STOCK, str(folder), json.dumps(ROWS)],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=tmp_path,
    )
    assert stock.returncode == 0, stock.stderr
    expected = json.loads(stock.stdout)
    done = mlctl("serve", folder, "--port", 0, "--detach", "-o", "json")
    assert done.returncode == 0, done.stderr
    endpoint = json.loads(done.stdout)
    url = endpoint["url"]
    try:
        rows = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
        for document in ({"inputs": ROWS}, {"instances": rows}):
            status, answer = post(url, document)
            assert status == 200, answer
            assert list(answer["predictions"]) == ["priority", "department", "delay"]
            for name, values in answer["predictions"].items():
                np.testing.assert_allclose(values, expected[name], atol=1e-6)
        status, answer = post(url, {"inputs": {**ROWS, "ids": [[1], [4, 5, 6]]}})
        assert status == 200
        np.testing.assert_allclose(answer["predictions"]["priority"][1], expected["priority"][1], atol=1e-6)
        status, answer = post(url, {"inputs": {"idz": ROWS["ids"], "flags": ROWS["flags"]}})
        assert (status, answer["hint"]) == (400, "did you mean ids?")
        with urllib.request.urlopen(f"{url}/metrics", timeout=20) as reply:
            assert b"mlctl" in reply.read()
        (tmp_path / "rows.json").write_text(json.dumps(ROWS))
        shown = mlctl("predict", url, tmp_path / "rows.json", "-o", "json")
        assert shown.returncode == 0, shown.stderr
        predictions = json.loads(shown.stdout)["predictions"]
        assert np.allclose(predictions["delay"][0]["value"], expected["delay"][0])
    finally:
        stopped = mlctl("endpoints", "stop", endpoint["name"], "-o", "json")
    assert json.loads(stopped.stdout)["how"] == "gracefully"
