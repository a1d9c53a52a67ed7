"""A browser opens the UI of a server and finds a run that was just trained there."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.parts.command_line import CommandLine

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("empty_database")]


def rendered_page(url: str, profile: Path) -> str:
    """Return the page's document after its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=30000",
        "--dump-dom",
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.needs("browser")
def test_the_browser_shows_a_run_and_its_plot(mlctl: CommandLine, tmp_path: Path) -> None:
    server = mlctl.json("server-up", "--port", "0", "--workers", "2")
    mlctl.environment = {
        "MLFLOW_TRACKING_URI": server["url"],
        "MLCTL_CACHE_DIR": str(tmp_path / "cache"),
    }
    trainer = replace(mlctl, zygote=None, warm=True)
    run = trainer.json("train", "digits", "--set", "epochs=2")
    experiment = MlflowClient(server["url"]).get_experiment_by_name("digits").experiment_id
    runs = f"{server['url']}/#/experiments/{experiment}/runs"
    listing = rendered_page(runs, tmp_path / "profile")
    assert run["run_name"] in listing
    assert run["run_id"] in listing
    plot = rendered_page(f"{runs}/{run['run_id']}/artifacts/plots/accuracy.png", tmp_path / "profile")
    assert 'alt="plots/accuracy.png" src="blob:' in plot

    # a folder of another machine: the artifacts of a run that is trained here would be lost
    MlflowClient(server["url"]).create_experiment("theirs", artifact_location="/home/somebody/mlruns/7")
    assert "would be lost" in trainer.fails(4, "train", "digits", "--set", "epochs=1", "-e", "theirs")
