"""Four small models, saved as training saves them, and endpoints that serve them in their own processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from tests.shared import make_once

from .named_models import save_named_models

ROOT = Path(__file__).parents[2]


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningEndpoint:
    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def request(
        self,
        path: str = "/invocations",
        body: bytes | str | None = None,
        method: str = "",
        **headers: str,
    ) -> Reply:
        """Send a request on its own connection; a header's name is written with _ instead of -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        names_fixed = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, names_fixed)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return Reply(answer.status, content, {name.lower(): value for name, value in answer.getheaders()})

    def post(self, document: Any, **headers: str) -> Reply:
        """Post a JSON document to /invocations."""
        return self.request(body=json.dumps(document), **{"content_type": "application/json", **headers})

    def workers(self) -> list[int]:
        """Return the pids of the workers."""
        pids = []
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it has just ended
                if "mlctl.serving.worker" in process.cmdline():
                    pids.append(process.pid)
        return pids

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


StartEndpoint = Callable[..., RunningEndpoint]


def open_listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener


def start_endpoint(model: Path, folder: Path, **options: Any) -> RunningEndpoint:
    """Start an endpoint that serves a model's folder, and wait until it is ready; `folder` is for its files."""
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    with open_listener() as listener:
        port = listener.getsockname()[1]
        version = ServedVersion(
            name="pictures",
            version=options.pop("version", "1"),
            uri="models:/pictures/1",
            folder=str(model),
        )
        spec = EndpointSpec(
            serving=version,
            endpoint="pictures",
            url=f"http://127.0.0.1:{port}",
            socket_fd=listener.fileno(),
            workers=options.pop("workers", 1),
            scratch=str(folder / "scratch"),
            ready_fd=writer,
            **options,
        )
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlctl.serving"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno(), writer],
                cwd=ROOT,
            )
    os.close(writer)
    assert process.stdin is not None
    process.stdin.write(spec.to_line())
    process.stdin.close()
    with os.fdopen(reader, "rb") as pipe:
        report = pipe.readline()
    if b"ready" not in report:
        process.wait(20)
        raise AssertionError(report.decode() + log.read_text())
    return RunningEndpoint(spec.url, port, process, log)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of saved models: images of 0..255, images of 0..16, a table with an optional column, texts."""
    folder, names = make_once(tmp_path_factory, "models", save_models)
    return {name: folder / name for name in names}


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of saved models with named inputs and outputs, texts, and rows of any length."""
    folder, names = make_once(tmp_path_factory, "named-models", save_named_models)
    return {name: folder / name for name in names}


def save_models(top: Path) -> list[str]:
    """Save each model in a subfolder; return the names."""
    import keras
    import numpy as np
    import pandas as pd

    from mlctl.adapters.models.load import to_client_input
    from mlctl.adapters.models.save import save_model
    from mlctl.recipes import encoders
    from mlctl.serving.scoring import PixelEncoder, TextEncoder

    keras.utils.set_random_seed(5)
    random = np.random.default_rng(5)
    names: list[str] = []

    def save(
        name: str, layers: list[Any], raw: Any, encoder: Any, optional_columns: Any = (), **metadata: Any
    ) -> None:
        encoded = encoder(raw)
        names.append(name)
        save_model(
            top / name,
            keras.Sequential([keras.Input(encoded.shape[1:]), *layers]),
            encoder=encoder,
            raw=to_client_input(raw, encoder),
            encoded=encoded,
            metadata={"recipe": name, "unit": "", **metadata},
            optional_columns=optional_columns,
        )

    dense, flatten = keras.layers.Dense, keras.layers.Flatten
    pixels = random.integers(0, 256, (64, 8, 8), dtype=np.uint8)
    for name, raw, high in (("pictures", pixels, 255), ("floats", pixels / 16.0, 16)):
        layers = [flatten(), dense(10, activation="softmax")]
        encoder = PixelEncoder((8, 8), high=high)
        save(name, layers, raw, encoder, task="multiclass", classes=list("0123456789"))
    table = pd.DataFrame(
        {
            "rooms": random.uniform(1, 9, 64),
            "age": np.where(random.uniform(size=64) < 0.2, np.nan, random.uniform(1, 50, 64)),
            "place": random.choice(["INLAND", "NEAR BAY"], 64),
        }
    )
    steps = [*encoders.number("rooms", "age"), *encoders.missing("age"), *encoders.category("place")]
    table_encoder = encoders.table(table, steps)
    save("table", [dense(1)], table, table_encoder, ["age"], task="regression", classes=[], unit="USD")
    texts = ["a very good film", "a bad bad film", "nothing"] * 22
    text_encoder = TextEncoder(["a", "film", "good", "bad", "very"])
    sentiments = ["negative", "positive"]
    save("texts", [dense(1, activation="sigmoid")], texts, text_encoder, task="binary", classes=sentiments)
    return names


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartEndpoint]:
    """Start endpoints that run until the tests end, unless a test stops them."""
    endpoints: list[RunningEndpoint] = []

    def start(model: Path, **options: Any) -> RunningEndpoint:
        endpoints.append(start_endpoint(model, tmp_path_factory.mktemp("endpoint"), **options))
        return endpoints[-1]

    yield start
    for endpoint in endpoints:
        if endpoint.process.poll() is None:
            endpoint.stop()


@pytest.fixture(scope="session")
def pictures(models: dict[str, Path], serve: StartEndpoint) -> RunningEndpoint:
    return serve(models["pictures"], max_body=1_000_000, timeout_s=2.0)


@pytest.fixture(scope="session")
def table(models: dict[str, Path], serve: StartEndpoint) -> RunningEndpoint:
    return serve(models["table"])


@pytest.fixture(scope="session")
def texts(models: dict[str, Path], serve: StartEndpoint) -> RunningEndpoint:
    return serve(models["texts"])
