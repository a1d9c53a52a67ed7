"""Run MLflow's own test suites of a server against the server of `mlctl server-up`, and against stock.

    python tests/peers/mlflow_suites.py --source https://github.com/mlflow/mlflow
    python tests/peers/mlflow_suites.py --source ~/src/mlflow --suites registry

The tests are those of the tag of the installed MLflow. `--source` names where they are: the URL of a git repository,
a local clone (bare or not), a folder with a checkout, or a .tar.gz of one. Nothing of them is kept in this project.

Each suite runs three times: as MLflow itself runs it, with its application in the test's own process where the suite
does so; with stock in a process of its own; and with the process that `mlctl server-up` starts. What fails only with
the last one is a fault of mlctl. What fails with both processes looks into the server's memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

SUITES = {
    "tracking": ["tests/tracking/test_rest_tracking.py"],
    "registry": ["tests/tracking/test_model_registry.py"],
    "artifacts": ["tests/tracking/test_mlflow_artifacts.py"],
    "auth": ["tests/server/auth/test_auth.py", "tests/server/auth/test_client.py"],
}
SERVERS = ("as MLflow runs it", "stock process", "mlctl server-up")
PATHS = ("tests", "pyproject.toml", "pytest.ini", "conftest.py")
HERE = Path(__file__).resolve().parent


def fetch(source: str, tag: str, folder: Path) -> str:
    """Put MLflow's tests into a folder; return what was taken."""
    path = Path(source).expanduser()
    if path.is_dir() and (path / "tests" / "tracking").is_dir():
        for name in PATHS:
            if (path / name).is_dir():
                shutil.copytree(path / name, folder / name, symlinks=True)
            elif (path / name).is_file():
                shutil.copy(path / name, folder / name)
        return f"the folder {path}"
    if path.is_file():
        with tarfile.open(path) as tar:
            members = [member for member in tar if set(Path(member.name).parts[1:2]) & set(PATHS)]
            for member in members:
                member.name = str(Path(*Path(member.name).parts[1:]))
            tar.extractall(folder, members, filter="data")
        return f"the archive {path}"
    git = ["git", "--git-dir", str(path)] if path.is_dir() else None
    if git is None:
        clone = folder.with_name("clone")
        command = [
            "git",
            "clone",
            "-q",
            "--depth",
            "1",
            "--filter=blob:none",
            "--bare",
            "--branch",
            tag,
            source,
        ]
        subprocess.run([*command, str(clone)], check=True)
        git = ["git", "--git-dir", str(clone)]
    known = subprocess.run([*git, "rev-parse", "-q", "--verify", f"{tag}^{{commit}}"], capture_output=True)
    commit = tag if known.returncode == 0 else "HEAD"
    names = subprocess.run(
        [*git, "ls-tree", "--name-only", commit], check=True, capture_output=True, text=True
    )
    present = [name for name in PATHS if name in names.stdout.split()]
    archive = subprocess.Popen([*git, "archive", commit, *present], stdout=subprocess.PIPE)
    subprocess.run(["tar", "x", "-C", folder], stdin=archive.stdout, check=True)
    if archive.wait():
        raise SystemExit(f"{source} has not all files of {commit}")
    return f"{commit} of {source}"


def run_suite(
    folder: Path, files: list[str], server: str, timeout_s: float, extra: list[str]
) -> dict[str, str]:
    """Return the outcome of each test."""
    results = folder / "outcomes.jsonl"
    results.unlink(missing_ok=True)
    plugins = ["-p", "outcomes_plugin", *([] if server == SERVERS[0] else ["-p", "server_plugin"])]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLCTL_"))},
        "PYTHONPATH": os.pathsep.join([str(folder), str(HERE), str(HERE.parent.parent)]),
        "PEER_OUTCOMES": str(results),
        "MLFLOW_AUTH_ADMIN_PASSWORD": "password-of-the-suites",  # newer versions have no default
        "PEER_SERVER": "mlctl" if server == SERVERS[2] else "stock",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (
        (folder / f"{server.replace(' ', '-')}.log").open("ab") as log,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):
        subprocess.run(
            [sys.executable, "-m", "pytest", *files, "-q", "-p", "no:cacheprovider", *plugins, "-o", "addopts=",
             "-o", "timeout=0", "--continue-on-collection-errors", *extra],
            cwd=folder, env=environment, stdout=log, stderr=log, timeout=timeout_s, check=False,
        )  # fmt: skip
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    outcomes = dict(json.loads(line) for line in lines)
    if not outcomes.pop("", None):
        outcomes["(the suite did not run to its end: its log says why)"] = "error"
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="git URL, clone, checkout or .tar.gz of MLflow")
    parser.add_argument(
        "--tag", default=f"v{version('mlflow')}", help="tag (default: that of the installed MLflow)"
    )
    parser.add_argument("--suites", nargs="*", choices=SUITES, default=list(SUITES))
    parser.add_argument("--servers", nargs="*", choices=SERVERS, default=SERVERS)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for each run of a suite")
    parser.add_argument("-k", default="", help="pytest's -k")
    parser.add_argument("--json", type=Path, help="file for all outcomes")
    arguments = parser.parse_args()
    extra = ["-k", arguments.k] if arguments.k else []
    everything: dict[str, dict[str, dict[str, str]]] = {}
    with tempfile.TemporaryDirectory(prefix="mlctl-peers-") as scratch:
        folder = Path(scratch) / "mlflow"
        folder.mkdir()
        print(
            f"tests: {fetch(arguments.source, arguments.tag, folder)}; MLflow {version('mlflow')}", flush=True
        )
        print(
            "| suite | server | passed | failed | skipped | time |\n| --- | --- | --- | --- | --- | --- |",
            flush=True,
        )
        for suite in arguments.suites:
            everything[suite] = {}
            for server in arguments.servers:
                started = time.monotonic()
                outcomes = run_suite(folder, SUITES[suite], server, arguments.timeout, extra)
                everything[suite][server] = outcomes
                counts = Counter(outcomes.values())
                failed = counts["failed"] + counts["error"]
                seconds = time.monotonic() - started
                print(
                    f"| {suite} | {server} | {counts['passed']} | {failed} | {counts['skipped']} | {seconds:.0f} s |",
                    flush=True,
                )
        if arguments.json:
            arguments.json.write_text(json.dumps(everything, indent=1))
            for log in folder.glob("*.log"):
                shutil.copy(log, arguments.json.parent)
    for suite, by_server in everything.items():
        stock, ours = by_server.get(SERVERS[1], {}), by_server.get(SERVERS[2], {})
        for name, outcome in ours.items():
            if outcome in {"failed", "error"} and stock.get(name) == "passed":
                print(f"only with mlctl: {suite} {name}")


if __name__ == "__main__":
    main()
