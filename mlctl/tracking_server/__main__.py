"""Run one tracking server: `python -m mlctl.tracking_server`, with its plan on stdin."""

from __future__ import annotations

import os
import sys

from mlctl.tracking_server.server_config import ServerConfig


def main() -> int:
    """Read the plan and serve until told to stop; return the exit code."""
    line = sys.stdin.buffer.readline()
    if not line:  # whoever began this changed their mind
        return 0
    plan = ServerConfig.from_json(line)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if plan.supervise:
        from mlctl.tracking_server.supervisor import supervise

        return supervise(plan)
    from mlctl.tracking_server.launcher import launch

    return launch(plan)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking two thousand modules down in order takes a second and frees nothing
