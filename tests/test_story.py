"""The first transcript of README, run as it is: from nothing to a digit drawn in a browser."""

from __future__ import annotations

import functools
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TIMEOUT_S = 300  # for one command; it only ends a test that hangs
PORT = 8000  # default port of the transcript's endpoint


def transcript_commands() -> list[str]:
    """Return the commands of the first console block in README."""
    block = re.search(r"^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block, "README has no console block"
    return [line[2:] for line in block[1].splitlines() if line.startswith("$ ")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    scripts = Path(sys.executable).parent  # mlctl is installed next to this Python
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    return functools.partial(_run, tmp_path)


def _run(folder: Path, command: str) -> str:
    process = subprocess.run(
        shlex.split(command), cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}{process.stderr}"
    return process.stdout


@pytest.mark.live
@pytest.mark.needs("browser")
def test_the_transcript_of_readme(run: Callable[[str], str], tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"port {PORT}, which the transcript's endpoint needs, is in use")
    train, promote, serve, predict = transcript_commands()
    assert "Digits version 1" in run(train)
    assert "Production" in run(promote)
    try:
        url = re.search(r"http://\S+", run(serve))
        assert url
        rows = [line.split() for line in run(predict).splitlines() if re.match(r"\s*\d+  \d", line)]
        assert len(rows) == 3
        assert sum(row[1] == row[-1] for row in rows) >= 2  # predicted and true label
        from tests.serving.browser import Browser

        browser = Browser(tmp_path / "browser")
        try:
            browser.open(url[0])
            browser.draw((0.36, 0.3), (0.52, 0.14), (0.52, 0.86))
            browser.wait_until("/This number is a \\d/.test(document.getElementById('answer').innerText)")
            assert browser.evaluate("document.getElementById('answer').innerText").endswith("1")
        finally:
            browser.close()
    finally:
        run("mlctl endpoints stop Digits")
