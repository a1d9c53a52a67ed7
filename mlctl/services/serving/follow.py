"""Follow a registered model: print a line of JSON on stdout when MODEL means another version.

`mlctl serve --watch` runs this as a child of the endpoint, so that the endpoint need not import MLflow. A line holds the
version to serve, or the version that cannot be fetched and the reason. It ends when its stdin is closed.
"""

from __future__ import annotations

import json
import select
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from mlctl import settings as configuration
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import MlctlError
from mlctl.services.models.fetch import fetch_reference
from mlctl.services.models.select import resolve_model
from mlctl.serving.endpoint_folder import EndpointFolder
from mlctl.settings import Settings

POLL_INTERVAL_S = 1.0
FETCH_INTERVAL_S = 15.0  # before the next attempt to fetch a version that could not be fetched


class RegistryFollower:
    """Compares the version that MODEL means with the one that was announced last."""

    def __init__(self, settings: Settings, model: str, version: str, folder: EndpointFolder) -> None:
        self._settings = settings
        self._model = model
        self._version = version
        self._folder = folder
        self._outage = ""

    def check(self) -> float:
        """Announce another version, if there is one; return the seconds until the next check."""
        # a store that was opened earlier would keep reading a database file that has been replaced
        store = TrackingStore(self._settings.tracking_uri)
        try:
            reference = resolve_model(store, self._model)
        except (MlctlError, OSError) as error:
            if str(error) != self._outage:
                self._outage = str(error)
                print(f"the registry cannot be read at the moment: {error}", file=sys.stderr, flush=True)
            return POLL_INTERVAL_S
        self._outage = ""
        newest = reference.version or ""
        if newest == self._version:
            return POLL_INTERVAL_S
        try:
            incoming = self._folder.new_incoming()
            served = fetch_reference(store, reference, self._model, incoming)
        except (MlctlError, OSError) as error:
            self._folder.clear_incoming()
            print(json.dumps({"version": newest, "failure": str(error)}), flush=True)
            return FETCH_INTERVAL_S
        if not any(incoming.iterdir()):  # the model lies elsewhere
            shutil.rmtree(incoming)
        self._version = newest
        print(json.dumps(asdict(served)), flush=True)
        return POLL_INTERVAL_S


def follow(model: str, version: str, folder: Path) -> None:
    """Check the registry once a second until stdin is closed."""
    follower = RegistryFollower(configuration.load(), model, version, EndpointFolder(folder))
    wait_s = POLL_INTERVAL_S
    while not select.select([sys.stdin], [], [], wait_s)[0]:
        wait_s = follower.check()


if __name__ == "__main__":
    follow(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
