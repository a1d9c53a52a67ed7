"""The transcript that opens README, run as it stands there: five commands from nothing to a drawn digit."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
ALL_OF_IT_S = 90.0
PORT = 8000  # the one that the transcript's endpoint has by default


def told() -> list[str]:
    """Return the commands of the first block that shows a terminal."""
    found = re.search(r"^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, "README opens without its transcript"
    return [line[2:] for line in found[1].splitlines() if line.startswith("$ ")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    program = Path(sys.executable).parent  # where mlctl is installed beside this Python
    monkeypatch.setenv("PATH", f"{program}{os.pathsep}{os.environ['PATH']}")
    end = time.monotonic() + ALL_OF_IT_S

    def one(command: str) -> str:
        left = end - time.monotonic()
        done = subprocess.run(
            shlex.split(command), cwd=tmp_path, capture_output=True, text=True, timeout=max(left, 1)
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    return one


@pytest.mark.needs("browser")
def test_readmes_transcript(run: Callable[[str], str], tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"another program listens on port {PORT}, which the transcript's endpoint has")
    train, promote, serve, predict = told()
    assert "Digits version 1" in run(train)
    assert "Production" in run(promote)
    try:
        url = re.search(r"http://\S+", run(serve))
        assert url
        rows = [line.split() for line in run(predict).splitlines() if re.match(r"\s*\d+  \d", line)]
        assert len(rows) == 3
        assert sum(row[1] == row[-1] for row in rows) >= 2  # what it says, and what is true
        from tests.serving.browser import Browser

        browser = Browser(tmp_path / "browser")
        try:
            browser.open(url[0])
            browser.draw((0.36, 0.3), (0.52, 0.14), (0.52, 0.86))
            browser.until("/This number is a \\d/.test(document.getElementById('answer').innerText)")
            assert browser.run("document.getElementById('answer').innerText").endswith("1")
        finally:
            browser.close()
    finally:
        run("mlctl endpoints stop Digits")
