"""`python -m mlctl.serving`: run the endpoint whose spec is on stdin."""

from __future__ import annotations

import asyncio
import sys

from mlctl.serving.endpoint_spec import Spec, read_spec
from mlctl.serving.supervisor import Endpoint


def main() -> int:
    """Return the endpoint's exit code."""
    spec = read_spec(sys.stdin.buffer.readline())
    return asyncio.run(_run(spec))


async def _run(spec: Spec) -> int:
    return await Endpoint(spec).run()  # made inside a loop, as its locks want


if __name__ == "__main__":
    sys.exit(main())
