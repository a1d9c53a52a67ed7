"""Following a registered model: a line of JSON on stdout whenever MODEL means another version.

The child of an endpoint that was started with --watch: it holds MLflow, so that the endpoint need not. It ends
when its stdin does.
"""

from __future__ import annotations

import json
import select
import sys
from dataclasses import asdict
from pathlib import Path

from mlctl import settings as configuration
from mlctl.errors import MlctlError
from mlctl.services.models.fetch import located
from mlctl.services.models.select import resolve

EVERY_S = 1.0


def follow(model: str, version: str, scratch: Path) -> None:
    """Look once a second; what fails is said once, and looked at again."""
    settings = configuration.load()
    said = ""
    while not select.select([sys.stdin], [], [], EVERY_S)[0]:
        try:
            if (found := resolve(settings, model).version or "") == version:
                continue
            serving = located(settings, model, scratch)
        except MlctlError as error:
            if error.message != said:
                said = error.message
                print(f"the registry cannot be followed for now: {said}", file=sys.stderr, flush=True)
            continue
        said, version = "", found
        print(json.dumps(asdict(serving)), flush=True)


if __name__ == "__main__":
    follow(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
