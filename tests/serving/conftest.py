"""Three small models, made as training makes them, and endpoints that serve them in processes of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlctl.serving.endpoint_spec import Serving, Spec

ROOT = Path(__file__).parents[2]


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A running endpoint."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    made: list[Any] = field(default_factory=list)

    def ask(
        self, path: str = "/invocations", body: bytes | str | None = None, method: str = "",
        **headers: str,
    ) -> Reply:  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        begun = time.perf_counter()
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        took = time.perf_counter() - begun
        connection.close()
        return Reply(answer.status, content, {k.lower(): v for k, v in answer.getheaders()}, took)

    def send(self, document: Any, **headers: str) -> Reply:
        return self.ask(body=json.dumps(document), **{"content_type": "application/json", **headers})

    def workers(self) -> list[int]:
        import psutil

        found = []
        for one in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it has just ended
                if "mlctl.serving.worker" in one.cmdline():
                    found.append(one.pid)
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


Serve = Callable[..., Served]


def listening() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener


def start(folder: Path, where: Path, **options: Any) -> Served:
    """Start an endpoint of a model's folder and wait until it is ready."""
    where.mkdir(parents=True, exist_ok=True)
    (where / "scratch").mkdir(exist_ok=True)
    reader, writer = os.pipe()
    with listening() as listener:
        port = listener.getsockname()[1]
        serving = Serving("pictures", options.pop("version", "1"), "models:/pictures/1", str(folder))
        spec = Spec(
            serving, "pictures", f"http://127.0.0.1:{port}", listener.fileno(), options.pop("workers", 1),
            str(where / "scratch"), ready_fd=writer, **options,
        )  # fmt: skip
        log = where / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlctl.serving"], stdin=subprocess.PIPE, stdout=output, stderr=output,
                pass_fds=[listener.fileno(), writer], cwd=ROOT,
            )  # fmt: skip
    os.close(writer)
    assert process.stdin is not None
    process.stdin.write(spec.line())
    process.stdin.close()
    with os.fdopen(reader, "rb") as told:
        said = told.readline()
    served = Served(spec.url, port, process, log)
    if b"ready" not in said:
        process.wait(20)
        raise AssertionError(said.decode() + log.read_text())
    return served


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of three saved models: pictures of 0..255, a table with a column of gaps, texts."""
    import keras
    import numpy as np
    import pandas as pd

    from mlctl.adapters.models import save as model_folder
    from mlctl.recipes import encoders as make
    from mlctl.serving.scoring import Pixels, Table, Words

    keras.utils.set_random_seed(5)
    random = np.random.default_rng(5)
    top = tmp_path_factory.mktemp("models")
    folders = {}

    def save(name: str, layers: Any, raw: Any, encoder: Any, about: dict[str, Any], gaps: Any = ()) -> None:
        encoded = encoder(raw)
        model = keras.Sequential([keras.Input(encoded.shape[1:]), *layers])
        folders[name] = top / name
        sent = model_folder.client_input(raw, encoder)
        model_folder.save(folders[name], model, encoder, sent, encoded, {"recipe": name, **about}, gaps)

    dense = keras.layers.Dense
    pixels = random.integers(0, 256, (64, 8, 8), dtype=np.uint8)
    digits = {"task": "multiclass", "classes": list("0123456789"), "unit": ""}
    flat = keras.layers.Flatten
    save("pictures", [flat(), dense(10, activation="softmax")], pixels, Pixels((8, 8), high=255), digits)
    save("floats", [flat(), dense(10, activation="softmax")], pixels / 16.0, Pixels((8, 8), high=16), digits)
    table = pd.DataFrame({
        "rooms": random.uniform(1, 9, 64),
        "age": np.where(random.uniform(size=64) < 0.2, np.nan, random.uniform(1, 50, 64)),
        "place": random.choice(["INLAND", "NEAR BAY"], 64),
    })  # fmt: skip
    steps = [*make.number("rooms", "age"), *make.missing("age"), *make.category("place")]
    save("table", [dense(1)], table, Table.fitted(table, steps),
         {"task": "regression", "classes": [], "unit": "USD"}, ["age"])  # fmt: skip
    texts = ["a very good film", "a bad bad film", "nothing"] * 22
    save("texts", [dense(1, activation="sigmoid")], texts, Words(["a", "film", "good", "bad", "very"]),
         {"task": "binary", "classes": ["negative", "positive"], "unit": ""})  # fmt: skip
    return folders


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start endpoints that last until the tests end; one stopped by its test is left alone."""
    running: list[Served] = []

    def begin(folder: Path, **options: Any) -> Served:
        running.append(start(folder, tmp_path_factory.mktemp("endpoint"), **options))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.stop()


@pytest.fixture(scope="session")
def pictures(models: dict[str, Path], serve: Serve) -> Served:
    return serve(models["pictures"], max_body=1_000_000, timeout_s=2.0)


@pytest.fixture(scope="session")
def table(models: dict[str, Path], serve: Serve) -> Served:
    return serve(models["table"])


@pytest.fixture(scope="session")
def texts(models: dict[str, Path], serve: Serve) -> Served:
    return serve(models["texts"])
