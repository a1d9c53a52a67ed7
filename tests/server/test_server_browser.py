"""What a person sees: a browser opens the UI of a server and finds the run that has just been trained there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.parts.command_line import CommandLine


def seen(url: str, profile: Path) -> str:
    """Return the page's document, as it is once its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server",
            f"--user-data-dir={profile}", "--virtual-time-budget=30000", "--dump-dom", url,
        ],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.needs("browser")
def test_the_browser_shows_the_run_and_its_plot(mlctl: CommandLine, tmp_path: Path) -> None:
    up = mlctl.json("server-up", "--port", "0", "--workers", "2")
    mlctl.environment = {"MLFLOW_TRACKING_URI": up["url"], "MLCTL_CACHE_DIR": str(tmp_path / "cache")}
    run = mlctl.json("train", "digits", "--set", "epochs=2")
    experiment = MlflowClient(up["url"]).get_experiment_by_name("digits").experiment_id
    runs = f"{up['url']}/#/experiments/{experiment}/runs"
    listing = seen(runs, tmp_path / "profile")
    assert run["run_name"] in listing
    assert run["run_id"] in listing
    plot = seen(f"{runs}/{run['run_id']}/artifacts/plots/accuracy.png", tmp_path / "profile")
    assert 'alt="plots/accuracy.png" src="blob:' in plot

    # another machine's folder: what is trained there over HTTP would be lost
    MlflowClient(up["url"]).create_experiment("theirs", artifact_location="/home/somebody/mlruns/7")
    assert "would be lost" in mlctl.fails(4, "train", "digits", "--set", "epochs=1", "-e", "theirs")
