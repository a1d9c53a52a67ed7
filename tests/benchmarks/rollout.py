"""Roll versions out under load: a healthy one, and some that are wrong, fail, are slow, hang or crash.

    python -m tests.benchmarks.rollout [--requests 100000] [--clients 4] [--version wrong …]
    python -m tests.benchmarks.rollout --shadow [--seconds 20]

Every answer is looked at. For each version the first command prints how many of the requests were answered well, how
many got no answer (failures) or a wrong one, how many the new version answered (its exposure), and why the rollout
ended. The second command measures what a shadow costs: the same clients ask an endpoint without a shadow and one with
a shadow of 100 %, in turns, and the latencies of both are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.serving.rollout_versions import BEHAVIOURS, Clients, ask, make_version, post_request

REQUEST = post_request(json.dumps({"inputs": [[[7 * (i + j) for j in range(8)] for i in range(8)]]}).encode())
GUARDS = ("error_rate<=1%", "p95<=3x", "agreement>=95%")
ROUNDS = 40


def mlctl(*arguments: str, check: bool = True) -> dict[str, Any]:
    """Run an mlctl command, and return its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "mlctl", *arguments, "-o", "json"], capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout or "{}")
    return answer


@contextlib.contextmanager
def endpoint(*arguments: str) -> Iterator[int]:
    """Serve a model in the background; yield its port."""
    started = mlctl("serve", *arguments, "--port", "0", "--detach")
    try:
        yield int(started["url"].rpartition(":")[2])
    finally:
        mlctl("endpoints", "stop", started["name"], check=False)


def register_versions(folder: Path) -> dict[str, str]:
    """Save a model and register it and its variants; return the version of each variant."""
    from mlflow import MlflowClient

    from tests.serving.conftest import save_models

    models = folder / "models"
    save_models(models)
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    client.create_registered_model("Pictures")
    client.create_model_version("Pictures", source=str(models / "pictures"))
    return {
        behaviour: str(
            client.create_model_version(
                "Pictures", source=str(make_version(models / "pictures", folder / behaviour, behaviour))
            ).version
        )
        for behaviour in BEHAVIOURS
    }


def roll_out(versions: dict[str, str], behaviours: list[str], requests: int, clients: int) -> None:
    """Roll each version out while the clients send their requests."""
    print(f"{requests:,} requests of {clients} clients in each row; guards: {', '.join(GUARDS)}")
    columns = (
        "version",
        "good",
        "failures",
        "wrong",
        "exposure",
        "p50 ms",
        "p99 ms",
        "max ms",
        "ended after",
        "end",
    )
    print(" | ".join(columns))
    for behaviour in behaviours:
        with endpoint("Pictures/1") as port:
            load = Clients(port, REQUEST, ask(port, REQUEST))
            began = time.monotonic()
            load.start(min(2000, requests // 10), clients)
            load.wait()
            rate = sum(load.answers.values()) / (time.monotonic() - began)
            load = Clients(port, REQUEST, load.expected)
            load.start(10**9, clients)  # until the rollout has ended, and at least `requests`
            began = time.monotonic()
            every = max(1.0, requests / rate / 5)
            guards = [part for guard in GUARDS for part in ("--guard", guard)]
            number = versions[behaviour]
            answer = mlctl(
                "endpoints",
                "rollout",
                "Pictures",
                "--to",
                number,
                "--every",
                f"{every:.1f}s",
                *guards,
                check=False,
            )
            took = time.monotonic() - began
            load.stop(after=requests)
        exposure = sum(count for (by, _), count in load.answers.items() if by == number)
        seconds = sorted(load.seconds)
        milliseconds = [1000 * seconds[int(q * (len(seconds) - 1))] for q in (0.5, 0.99, 1)]
        cells = [
            behaviour,
            f"{load.count('good'):,}",
            str(load.failures),
            str(load.count("wrong")),
            f"{exposure:,}",
            *(f"{value:.1f}" for value in milliseconds),
            f"{took:.0f} s",
            f"{answer.get('status')} at {100 * answer.get('reached', 0):g}%: {answer.get('reason')}",
        ]
        print(" | ".join(cells), flush=True)


def compare_shadow(versions: dict[str, str], seconds: float, clients: int) -> None:
    """Measure latencies without a shadow and with one, in turns."""
    shadow = f"Pictures/{versions['healthy']}"
    with (
        endpoint("Pictures/1", "--name", "plain") as plain,
        endpoint("Pictures/1", "--name", "shadowed", "--shadow", shadow) as shadowed,
    ):
        time.sleep(5)  # until the shadow is ready
        expected = ask(plain, REQUEST)
        latencies: dict[int, list[list[float]]] = {plain: [], shadowed: []}
        for number in range(ROUNDS):
            for port in (plain, shadowed) if number % 2 else (shadowed, plain):
                load = Clients(port, REQUEST, expected)
                load.start(10**9, clients, pause_s=0.005)
                time.sleep(seconds / ROUNDS / 2)
                load.stop()
                latencies[port].append(load.seconds)
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            by_round = [
                _quantile(with_shadow, q) / _quantile(without, q)
                for without, with_shadow in zip(latencies[plain], latencies[shadowed], strict=True)
            ]
            without, with_shadow = (
                _quantile([*itertools.chain(*latencies[port])], q) for port in (plain, shadowed)
            )
            print(
                f"{name}: {1000 * without:.2f} ms, with the shadow {1000 * with_shadow:.2f} ms, ratio of all requests "
                f"{with_shadow / without:.3f}, median of the ratios of {ROUNDS} rounds {statistics.median(by_round):.3f}"
            )
        shown = mlctl("endpoints", "show", "shadowed")
        for version in shown["traffic"]:
            print(version)


def _quantile(seconds: list[float], q: float) -> float:
    return sorted(seconds)[int(q * (len(seconds) - 1))]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--version", action="append", choices=BEHAVIOURS)
    parser.add_argument("--shadow", action="store_true")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/store.db"
        os.environ["MLCTL_STATE_DIR"] = f"{folder}/state"
        versions = register_versions(Path(folder))
        if options.shadow:
            compare_shadow(versions, options.seconds, options.clients)
        else:
            roll_out(versions, options.version or list(BEHAVIOURS), options.requests, options.clients)


if __name__ == "__main__":
    main()
