"""Run one tracking server: `python -m mlctl.tracking_server`, with its configuration on stdin."""

from __future__ import annotations

import os
import sys

from mlctl.tracking_server.server_config import ServerConfig


def main() -> int:
    """Read the configuration and serve until a signal stops the server; return the exit code."""
    line = sys.stdin.buffer.readline()
    if not line:  # the parent ended before it sent a configuration
        return 0
    config = ServerConfig.from_json(line)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    if config.supervise:
        from mlctl.tracking_server.supervisor import supervise

        return supervise(config)
    from mlctl.tracking_server.launcher import launch

    return launch(config)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to unload two thousand modules in order takes a second and frees nothing
