"""A Ray cluster on this machine: a head and some nodes, started by a keeper process that ends all of them.

    python -m mlctl.adapters.ray.local_cluster NODES CPUS GPUS FOLDER

prints the address, and ends all processes when stdin closes. Ray's agents outlive a raylet that was killed. On
Linux they become children of the keeper, which kills them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from mlctl.errors import ChildFailedError
from mlctl.machine import adopt_orphans

OBJECT_STORE_BYTES = 80 << 20  # shared memory of each node; trials' data does not use it
HEALTH_CHECKS = {  # the death of a node is detected within three seconds
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "1000",
}


class LocalCluster:
    """The keeper process; `address` is the cluster's address."""

    def __init__(self, *, nodes: int, cpus: int, gpus: int) -> None:
        """Start the nodes, each with so many CPUs and GPUs.

        Raises ChildFailedError with the last line of Ray's output.
        """
        # in /tmp, because the path of a socket must be short
        self.folder = Path(tempfile.mkdtemp(prefix="mlctl-ray-", dir="/tmp"))
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        arguments = (str(nodes), str(cpus), str(gpus), str(self.folder))
        with (self.folder / "log").open("w+") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "mlctl.adapters.ray.local_cluster", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    **HEALTH_CHECKS,
                    **self.environment,
                    "RAY_USAGE_STATS_ENABLED": "0",
                    # a separate folder: a user's plain ray.init() joins the cluster that Ray's default folder names
                    "RAY_TMPDIR": str(self.folder),
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
            )
            assert self._keeper.stdout
            for line in self._keeper.stdout:  # Ray also writes to it
                with contextlib.suppress(ValueError, TypeError):
                    self.address = str(json.loads(line)["address"])
                    return
            self.close()
            log.seek(0)
            output = log.read().strip().splitlines() or ["no output"]
        raise ChildFailedError(
            f"Ray's nodes do not start: {output[-1][:300]}",
            "check that /tmp has space and that ports are free",
        )

    def close(self) -> None:
        """End all nodes."""
        if self._keeper.stdin:
            self._keeper.stdin.close()
        self._keeper.wait()


def run_nodes(nodes: int, cpus: int, gpus: int, folder: str) -> None:
    """Start the nodes, print the address, and end all of them when stdin closes."""
    adopt_orphans()
    try:
        from ray.cluster_utils import Cluster  # LocalCluster imports this module before Ray is needed

        head = {
            "num_cpus": 0,
            "num_gpus": 0,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus, num_gpus=gpus, object_store_memory=OBJECT_STORE_BYTES, wait=False)
        cluster.wait_for_nodes()
        print(json.dumps({"address": cluster.address}), flush=True)
        sys.stdin.read()
    finally:
        _kill_descendants()
        shutil.rmtree(folder, ignore_errors=True)


def _kill_descendants() -> None:
    """Kill this process's descendants, and those that they leave behind, until there are none."""
    while children := [child for child in psutil.Process().children(recursive=True) if not _is_zombie(child)]:
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, 1)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


if __name__ == "__main__":
    run_nodes(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
