"""`python -m mlctl.serving`: run the endpoint whose specification arrives on stdin."""

from __future__ import annotations

import asyncio
import sys

from mlctl.serving.endpoint_spec import read_spec
from mlctl.serving.supervisor import run_endpoint


def main() -> int:
    """Run the endpoint and return its exit code."""
    return asyncio.run(run_endpoint(read_spec(sys.stdin.buffer.readline())))


if __name__ == "__main__":
    sys.exit(main())
