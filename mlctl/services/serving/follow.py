"""Follow a registered model: print a line of JSON on stdout when MODEL means another version.

`mlctl serve --watch` runs this as a child of the endpoint, so that the endpoint need not import MLflow. It ends when
its stdin is closed.
"""

from __future__ import annotations

import json
import select
import sys
from dataclasses import asdict
from pathlib import Path

from mlctl import settings as configuration
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from mlctl.services.models.fetch import fetch_model
from mlctl.services.models.select import resolve_model

POLL_INTERVAL_S = 1.0


def follow(model: str, version: str, scratch: Path) -> None:
    """Poll the registry once a second. Report a failure once, and continue to poll."""
    settings = configuration.load()
    reported = ""
    while not select.select([sys.stdin], [], [], POLL_INTERVAL_S)[0]:
        # a store that was opened earlier would keep reading a database file that has been replaced
        store = TrackingStore(settings.tracking_uri)
        try:
            if (newest := resolve_model(store, model).version or "") == version:
                continue
            served = fetch_model(store, model, scratch)
        except MlctlError as error:
            if error.message != reported:
                reported = error.message
                print(f"the registry cannot be read at the moment: {reported}", file=sys.stderr, flush=True)
            continue
        reported, version = "", newest
        print(json.dumps(asdict(served)), flush=True)


if __name__ == "__main__":
    follow(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
