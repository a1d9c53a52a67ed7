"""A Ray cluster of this machine's own: a head and some nodes, kept by a process that leaves none of them behind.

    python -m mlctl.adapters.ray_nodes NODES CPUS GPUS     prints the address; ends all when stdin closes

Ray's agents outlive a raylet that was killed. Here they become the keeper's children (Linux), and go with it.
"""

from __future__ import annotations

import contextlib
import ctypes
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

PR_SET_CHILD_SUBREAPER = 36
STORE_BYTES = 80 << 20  # of shared memory a node: trials' data does not go through it
LIVELY = {  # a node that dies is noticed within three seconds
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "1000",
}


class LocalNodes:
    """The keeper, as the process that wants the nodes sees it."""

    def __init__(self, nodes: int, cpus: int, gpus: int) -> None:
        """Start them; raises ChildFailedError with the last line that Ray said."""
        self.folder = Path(tempfile.mkdtemp(prefix="mlctl-ray-", dir="/tmp"))  # a socket's path must be short
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        with (self.folder / "log").open("w+") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "mlctl.adapters.ray.local_cluster", str(nodes), str(cpus), str(gpus), str(self.folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
                # a folder of its own: Ray notes there which cluster a user's plain ray.init() is to join
                env={**os.environ, **LIVELY, **self.environment, "RAY_USAGE_STATS_ENABLED": "0",
                    "RAY_TMPDIR": str(self.folder), "TF_CPP_MIN_LOG_LEVEL": "3"},
            )  # fmt: skip
            assert self._keeper.stdout
            for line in self._keeper.stdout:  # Ray, too, writes there
                with contextlib.suppress(ValueError, TypeError):
                    self.address = str(json.loads(line)["address"])
                    return
            self.close()
            log.seek(0)
            said = log.read().strip().splitlines() or ["nothing"]
        raise ChildFailedError(
            f"Ray's nodes do not start: {said[-1][:300]}", "is /tmp full, or a port refused?"
        )

    def close(self) -> None:
        """End all of them."""
        if self._keeper.stdin:
            self._keeper.stdin.close()
        self._keeper.wait()


def keep(nodes: int, cpus: int, gpus: int, folder: str) -> None:
    """Start the nodes, print the address, and end them when whoever wanted them is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        from ray.cluster_utils import Cluster  # whoever wants nodes imports this module, and no Ray yet

        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus, num_gpus=gpus, object_store_memory=STORE_BYTES, wait=False)
        cluster.wait_for_nodes()
        print(json.dumps({"address": cluster.address}), flush=True)
        sys.stdin.read()
    finally:
        _end_children()
        shutil.rmtree(folder, ignore_errors=True)


def _end_children() -> None:
    """Kill all that descends from this process, and what it leaves behind, until there is none."""
    while children := [one for one in psutil.Process().children(recursive=True) if not _is_zombie(one)]:
        for one in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(children, 1)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
